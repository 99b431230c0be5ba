"""Methods that transfer labels between classes and images, by features of each class in an image."""

from partlabel.methods.catalogue.entry import Entry

TRANSFER: dict[str, Entry] = {}
