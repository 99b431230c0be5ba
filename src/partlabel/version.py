"""The version of this package, on the ground floor: no module imports the package for it."""

__version__ = "0.1.0"
