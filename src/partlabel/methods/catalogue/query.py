"""Methods whose head asks the map one question per class or group of classes."""

from partlabel.methods.catalogue.entry import Entry

QUERY: dict[str, Entry] = {}
