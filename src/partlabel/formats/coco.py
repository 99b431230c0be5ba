"""COCO: instances of categories in images, as one JSON object of lists (Lin et al., ECCV 2014).

An annotation makes its category present in its image, also where it is a region of a crowd. What is not annotated is
unknown, unless the user declares the annotations complete. Images without annotations are images like others.

A written file has one annotation per present cell, with the ids of image and category and `iscrowd` 0. It has no
bbox, area or segmentation, since a table knows no places: a box of no size, or of the whole image, would be a false
one. Programs that ask which category is in which image (pycocotools, torchvision, Datumaro as `coco_labels`) open it;
those that draw or measure boxes cannot. Width and height of images, which a table does not know, are left out too.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from partlabel.errors import LabelError
from partlabel.formats.base import Format, Source
from partlabel.formats.coco_lists import Instances, is_lvis, write_lists
from partlabel.formats.listing import Listing
from partlabel.formats.options import ReadOptions
from partlabel.formats.reading import Reading, WriteOptions
from partlabel.labels import LabelTable, State

_LISTS = re.compile(r'"images"\s*:\s*\[')
_OTHER_LISTS = re.compile(r'"(annotations|categories|category_id)"\s*:')
_DETECTION = re.compile(r'"image_id"\s*:')
_CATEGORY = re.compile(r'"(category_id|caption|segments_info)"\s*:')


class Coco(Format):
    """Instances in images: what is annotated is present."""

    name = "coco"
    title = "COCO instances"
    states = "an annotation is present; the rest is unknown, or absent with --unlisted absent"
    suffixes = (".json",)
    two_states = True
    options = frozenset({"unlisted"})

    def sniff(self, source: Source, options: ReadOptions) -> bool:
        """Whether it has lists of images and of annotations or categories, and nothing of LVIS."""
        text = source.ends
        if is_lvis(text):
            return False
        if text.lstrip()[:1] == "{" and _LISTS.search(text) and _OTHER_LISTS.search(text):
            return True
        return bool(_DETECTION.search(text) and _CATEGORY.search(text))

    def read(self, source: Source, options: ReadOptions) -> Reading:
        """Read the lists in one pass, in any order; a gigabyte takes far less memory than that.

        Raises:
            LabelError: it is no complete file of instances; names list and entry.
        """
        _refuse_detections(source)
        listing = Listing(source, options, self.name)
        instances = Instances(listing, _file_name)
        instances.read(source.path, source.tick)
        if "annotations" not in instances.keys:
            if options.background == State.ABSENT:
                raise LabelError(
                    f"{source.path} has no list 'annotations', so that --unlisted absent would make every class "
                    f"absent in every image; leave --unlisted out"
                )
            listing.note("it has no list 'annotations', so that nothing is known of any image")
        found = instances.annotated()
        states = np.full(found.rows.size, State.PRESENT, np.int8)
        listing.many(found.rows, found.columns, states, found.first)
        return listing.finish(instances.image_count)

    def write(self, table: LabelTable, path: Path, options: WriteOptions) -> None:
        """Write the lists, with an annotation that has no box per present cell."""
        write_lists(path, ({"id": number, "file_name": name} for number, name in enumerate(table.images, 1)), table)


def _file_name(entry: Mapping[str, Any], place: str) -> Any:
    if "file_name" not in entry:
        raise LabelError(f"{place} has no 'file_name'; say which image it is")
    return entry["file_name"]


def _refuse_detections(source: Source) -> None:
    if source.ends.lstrip()[:1] == "[":
        raise LabelError(
            f"{source.path} is a list, as of what a model detected, and no file of instances; labels have the lists "
            f"'images', 'annotations' and 'categories'"
        )
