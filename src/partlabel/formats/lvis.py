"""LVIS: instances of many categories, of which each image was checked for some (Gupta, Dollár, Girshick, CVPR 2019).

An annotation makes its category present in its image, and `neg_category_ids` of an image are verified to be absent.
`not_exhaustive_category_ids` are present with more instances than are annotated: they are defined for annotated
categories alone, and so one without an annotation stays unknown. Of everything else nothing is known.

A written file has one annotation without a box per present cell, as in `partlabel.formats.coco`, and calls these
categories not exhaustive, since nobody has counted their instances.
"""

from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from partlabel.errors import LabelError
from partlabel.formats.base import Format, Source
from partlabel.formats.coco_lists import Annotated, Instances, is_lvis, write_lists
from partlabel.formats.listing import Listing
from partlabel.formats.options import ReadOptions
from partlabel.formats.reading import Reading, WriteOptions
from partlabel.labels import IntArray, LabelTable, State

NEGATIVE, MORE = "neg_category_ids", "not_exhaustive_category_ids"
_ROWS_AT_ONCE = 1000


class Lvis(Format):
    """Instances in images, and categories that each image was checked for."""

    name = "lvis"
    title = "LVIS instances"
    states = "an annotation is present, neg_category_ids are absent, the rest is unknown"
    suffixes = (".json",)

    def sniff(self, source: Source, options: ReadOptions) -> bool:
        """Whether it has what LVIS adds to the lists of COCO."""
        return source.ends.lstrip()[:1] == "{" and is_lvis(source.ends)

    def read(self, source: Source, options: ReadOptions) -> Reading:
        """Read the lists in one pass, in any order.

        Raises:
            LabelError: it is no complete LVIS file; names list and entry.
        """
        listing = Listing(source, options, self.name)
        checked = {NEGATIVE: _PerImage.none(), MORE: _PerImage.none()}
        instances = Instances(listing, _image_name, lambda *image: _see(instances, checked, *image))
        instances.read(source.path, source.tick)
        found = instances.annotated()
        listing.many(found.rows, found.columns, np.full(found.rows.size, State.PRESENT, np.int8), found.first)
        negative, more = (_cells(instances, key, checked[key]) for key in (NEGATIVE, MORE))
        listing.many(*negative[:2], np.full(negative[0].size, State.ABSENT, np.int8), negative[2])
        _add_not_exhaustive(listing, found, negative, more)
        return listing.finish(instances.image_count)

    def write(self, table: LabelTable, path: Path, options: WriteOptions) -> None:
        """Write the lists: an annotation that has no box per present cell, an id per absent one."""
        write_lists(path, _images(table), table)


class _PerImage(NamedTuple):
    """Cells of one list that every image has: rows, codes of categories, records of images."""

    rows: "array[int]"
    codes: "array[int]"
    records: "array[int]"

    @classmethod
    def none(cls) -> "_PerImage":
        return cls(array("q"), array("q"), array("q"))


def _image_name(entry: Mapping[str, Any], place: str) -> Any:
    """The file name, or the last folder and name of the address, which is all that version 1 has."""
    if "file_name" in entry:
        return entry["file_name"]
    parts = entry["coco_url"].split("/") if isinstance(entry.get("coco_url"), str) else []
    if len(parts) < 2 or not parts[-1]:
        raise LabelError(f"{place} has no 'file_name' and no usable 'coco_url'; say which image it is")
    return "/".join(parts[-2:])


def _see(instances: Instances, checked: Mapping[str, _PerImage], row: int, entry: Mapping[str, Any], at: int) -> None:
    for key, listed in checked.items():
        ids = entry.get(key, [])
        place = instances.place("images", at)
        if not isinstance(ids, list):
            raise LabelError(f"{place}: {key!r} is no list of ids of categories")
        for id in ids:
            listed.codes.append(instances.categories.code(id, lambda: place))  # noqa: B023  # called at once
            listed.rows.append(row)
            listed.records.append(at)


def _cells(instances: Instances, key: str, listed: _PerImage) -> tuple[IntArray, IntArray, IntArray]:
    columns = instances.categories.indices(
        listed.codes, lambda at: f"{instances.place('images', listed.records[at])}, {key}"
    )
    return np.asarray(listed.rows, np.int64), columns, np.asarray(listed.records, np.int64)


def _add_not_exhaustive(
    listing: Listing,
    found: Annotated,
    negative: tuple[IntArray, IntArray, IntArray],
    more: tuple[IntArray, IntArray, IntArray],
) -> None:
    """What is not exhaustive has instances: where it is called negative as well, that is a contradiction."""
    classes = max(len(listing.names.columns), 1)
    keys = more[0] * classes + more[1]
    both = np.isin(keys, negative[0] * classes + negative[1])
    states = np.full(int(both.sum()), State.PRESENT, np.int8)
    listing.many(more[0][both], more[1][both], states, more[2][both])
    alone = np.unique(keys[~both & ~np.isin(keys, found.rows * classes + found.columns)]).size
    if alone:
        listing.note(
            f"{alone:,} times {MORE} names a category without an annotation in the image, which is left unknown"
        )


def _images(table: LabelTable) -> Iterator[Mapping[str, Any]]:
    for start in range(0, len(table), _ROWS_AT_ONCE):
        rows = np.arange(start, min(start + _ROWS_AT_ONCE, len(table)))
        for row, states in zip(rows.tolist(), table.rows(rows), strict=True):
            yield {
                "id": row + 1,
                "file_name": table.images[row],
                NEGATIVE: (np.flatnonzero(states == State.ABSENT) + 1).tolist(),
                MORE: (np.flatnonzero(states == State.PRESENT) + 1).tolist(),
            }
