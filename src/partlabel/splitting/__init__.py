"""Splitting a table so that no image, group or copy stands on two sides, and every class is known on each."""

from partlabel.splitting.stratify import stratify
from partlabel.splitting.units import Units, units_of

__all__ = ["Units", "stratify", "units_of"]
