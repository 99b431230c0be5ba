"""Methods on the towers of a model that was trained on images with texts."""

from partlabel.methods.catalogue.entry import Entry

VISION_LANGUAGE: dict[str, Entry] = {}
