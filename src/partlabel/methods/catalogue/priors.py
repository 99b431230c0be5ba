"""Methods that learn from a matrix of scores which another tagger gave the images."""

from partlabel.methods.catalogue.entry import Entry

PRIORS: dict[str, Entry] = {}
