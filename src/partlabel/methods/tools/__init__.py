"""What several methods are built with; no papers."""
