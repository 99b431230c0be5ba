"""MS-COCO 2014 (Lin et al., ECCV 2014): 80 classes, from the instance annotations.

What the files state: every instance of the 80 classes is marked, crowds included, so that a class without a mark is
absent. Images without any mark are in the files too; the papers disagree on whether they count (82,783 / 40,504 with
them, 82,081 / 40,137 without).

The classes are in the order of the file. The order of the images is an option, because published masks were drawn
along it.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from partlabel.datasets.base import Dataset, Option, Options, Published, check_unique, read_json
from partlabel.errors import LabelError
from partlabel.labels import LabelTable, State
from partlabel.progress import Tick

SPLITS = {"train": "train2014, to train on", "val": "val2014, which the papers test on"}

_KEPT = ("images", "annotations", "categories", "id", "image_id", "category_id", "file_name", "name", "caption")


class Coco2014(Dataset):
    """The object classes."""

    name = "coco2014"
    title = "MS-COCO 2014, 80 object classes"
    states = "present: an instance or a crowd of the class is marked; absent: none is; no cell is unknown"
    files = (
        ("annotations/instances_SPLIT2014.json", "the images, classes and instances of a split"),
        ("SPLIT2014/COCO_SPLIT2014_ID.jpg", "the images"),
    )
    options = (
        Option("split", "train", SPLITS),
        Option(
            "unannotated",
            "keep",
            {
                "keep": "images without any instance are kept, all classes absent (code of SST, SARB and PU-MLC)",
                "drop": "they are left out (code of CSL, DualCoOp and the ASL family)",
            },
        ),
        Option(
            "order",
            "file",
            {
                "file": "images as the file lists them (code of SST, SARB and PU-MLC)",
                "image_id": "by image id (code of CSL)",
                "annotation": "as the annotations first name them, then the others (code of DualCoOp)",
            },
        ),
    )
    classes = 80
    published = (
        Published(82_783, {"split": "train", "unannotated": "keep"}, "Table 1 of CSL"),
        Published(40_504, {"split": "val", "unannotated": "keep"}, "Table 1 of CSL"),
        Published(82_081, {"split": "train", "unannotated": "drop"}, "the code of CSL"),
        Published(40_137, {"split": "val", "unannotated": "drop"}, "the code of CSL"),
    )

    def sources(self, root: Path, options: Options) -> Sequence[Path]:
        """One annotation file."""
        return [root / "annotations" / f"instances_{options['split']}2014.json"]

    def read(self, root: Path, options: Options, tick: Tick) -> LabelTable:
        """The whole file, of which outlines are dropped while it is read."""
        path = self.sources(root, options)[0]
        content = read_coco(path, "categories")
        by_id = image_names(content, options["split"], path)
        check_entries(content, "categories", {"id": int, "name": str}, path)
        check_entries(content, "annotations", {"image_id": int, "category_id": int}, path)
        columns = {entry["id"]: column for column, entry in enumerate(content["categories"])}
        marked: dict[int, set[int]] = {}
        for mark in content["annotations"]:
            try:
                by_id[mark["image_id"]]
                marked.setdefault(mark["image_id"], set()).add(columns[mark["category_id"]])
            except KeyError as error:
                raise LabelError(
                    f"{path}: an annotation has image or class {error.args[0]!r}, which the file does not list; it may "
                    "be altered: unpack it again"
                ) from error
        order = in_order(by_id, marked, options["order"])
        if options["unannotated"] == "drop":
            order = [image for image in order if image in marked]
        rows = [row for row, image in enumerate(order) for _ in marked.get(image, ())]
        cells = [column for image in order for column in marked.get(image, ())]
        classes = [str(entry["name"]) for entry in content["categories"]]
        names = [by_id[image] for image in order]
        tick(1, 1)
        return LabelTable.from_cells(names, classes, rows, cells, [State.PRESENT] * len(rows), background=State.ABSENT)


def in_order(images: Iterable[int], annotated: Iterable[int], order: str) -> list[int]:
    """Image ids in the wanted order; both arguments are in the order of the file."""
    if order == "image_id":
        return sorted(images)
    if order == "annotation":
        return list(dict.fromkeys((*annotated, *images)))
    return list(images)


def read_coco(path: Path, *needs: str) -> dict[str, Any]:
    """An annotation file without what labels do not need.

    Raises:
        LabelError: it is missing, no JSON, or no such annotation file.
    """
    content: dict[str, Any] = read_json(path, lambda entry: {key: entry[key] for key in _KEPT if key in entry})
    for key in ("images", "annotations", *needs):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise LabelError(f"{path} has no list of {key}; it is no COCO annotation file: unpack the official one")
        check_entries(content, key, {}, path)
    return content


def check_entries(content: Mapping[str, Any], key: str, kinds: Mapping[str, type], path: Path) -> None:
    """Refuse a list of an annotation file whose entries are not objects with values of these types.

    Raises:
        LabelError: they are not; names the first entry.
    """
    for number, entry in enumerate(content[key], start=1):
        wrong = "is no object" if not isinstance(entry, dict) else ""
        for name in kinds:
            if not wrong and type(entry.get(name)) is not kinds[name]:
                wrong = f"has no {name!r} that can be used"
        if wrong:
            raise LabelError(f"{path}: entry {number} of {key} {wrong}; it may be altered: unpack it again")


def image_names(content: Mapping[str, Any], split: str, path: Path) -> dict[int, str]:
    """Names of the images, relative to the data set's folder, by id and in the order of the file.

    Raises:
        LabelError: an id or name is missing or stands twice.
    """
    check_entries(content, "images", {"id": int, "file_name": str}, path)
    names = {entry["id"]: f"{split}2014/{entry['file_name']}" for entry in content["images"]}
    if len(names) < len(content["images"]):
        raise LabelError(f"{path} lists an image id twice; it may be altered: unpack it again")
    check_unique(list(names.values()), path)
    return names
