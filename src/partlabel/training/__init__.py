"""Training: the Lightning adapter, item order, checkpoints, averaging, cached maps and the run folder."""
