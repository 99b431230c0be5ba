"""Multi-label image recognition from incomplete labels."""

__version__ = "0.1.0"
