"""What reports, grids, explanations and reviews are drawn with."""
