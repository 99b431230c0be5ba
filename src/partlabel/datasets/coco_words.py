"""MS-COCO 2014 with the most frequent words of its captions as classes, as in IMCL (CVPR 2020), section 4.1.

Paper: "1000 most frequent words in captions are considered as training labels", present or absent "in the image
caption": so a word that none of an image's captions has is absent. Official code: vocabulary and labels are ready files
of another project, and how captions were cut into words or ties broken is not told. Ours: lower case, runs of letters
and digits with inner apostrophes; ties in alphabetical order; counted in the training captions for both splits. Who has
the published vocabulary gives it (`vocabulary`), and the part of val2014 that was tested on (`list`). In its smoothness
terms the official code takes absent words as unknown: `unlisted=unknown`.
"""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from partlabel.datasets.base import OWN, Dataset, Option, Options, Published, check_unique, read_lines
from partlabel.datasets.coco import SPLITS, check_entries, image_names, in_order, read_coco
from partlabel.errors import LabelError, UsageError
from partlabel.labels import LabelTable, State
from partlabel.progress import Tick

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")


class Coco2014Words(Dataset):
    """Words of captions."""

    name = "coco2014_words"
    title = "MS-COCO 2014, words of captions"
    states = "present: a caption of the image has the word; absent: none has; unknown only with unlisted=unknown"
    files = (
        ("annotations/captions_SPLIT2014.json", "the images and captions of a split"),
        ("annotations/captions_train2014.json", "from which the vocabulary is counted, unless it is given"),
        ("SPLIT2014/COCO_SPLIT2014_ID.jpg", "the images"),
    )
    options = (
        Option("split", "train", SPLITS),
        Option("words", "1000", help="how many of the most frequent words of the training captions are classes"),
        Option("vocabulary", "", help="a file with one word a line, to take instead"),
        Option("list", "", help="a file of the images to take: one name or id a line, or a COCO file that lists them"),
        Option(
            "unlisted",
            "absent",
            {"absent": "a word that no caption has is absent (paper)", "unknown": "it is unknown (code, partly)"},
        ),
        Option(
            "order",
            "file",
            {
                "file": "images as the caption file lists them",
                "image_id": "by image id",
                "annotation": "as the captions first name them",
            },
        ),
    )
    published = (
        Published(82_783, {"split": "train"}, "Table 1 of CSL"),
        Published(40_504, {"split": "val"}, "Table 1 of CSL"),
    )

    def sources(self, root: Path, options: Options) -> Sequence[Path]:
        """Captions of the split; training captions or the given vocabulary; the given list."""
        captions = root / "annotations" / f"captions_{options['split']}2014.json"
        vocabulary = Path(options["vocabulary"] or root / "annotations" / "captions_train2014.json")
        return [captions, vocabulary, *([Path(options["list"])] if options["list"] else [])]

    def read(self, root: Path, options: Options, tick: Tick) -> LabelTable:
        """Count the vocabulary, then look for its words in the captions of each image."""
        path, vocabulary, *lists = self.sources(root, options)
        content = read_coco(path)
        tick(1, 3)
        if options["vocabulary"]:
            classes = read_lines(vocabulary, OWN)
            check_unique(classes, vocabulary, OWN)
        else:
            counted = content if vocabulary == path else read_coco(vocabulary)
            classes = _most_frequent(counted, options["words"], vocabulary)
        tick(2, 3)
        names = image_names(content, options["split"], path)
        check_entries(content, "annotations", {"image_id": int}, path)
        columns = {word: column for column, word in enumerate(classes)}
        found: dict[int, set[int]] = {}
        for entry in content["annotations"]:
            words = _words(entry, path)
            found.setdefault(entry.get("image_id"), set()).update(columns[word] for word in words if word in columns)
        if strange := found.keys() - names.keys():
            raise LabelError(f"{path}: a caption has image {strange.pop()!r}, which the file does not list")
        order = in_order(names, found, options["order"])
        if lists:
            order = _chosen(lists[0], names)
        rows = [row for row, image in enumerate(order) for _ in found.get(image, ())]
        cells = [column for image in order for column in found.get(image, ())]
        tick(3, 3)
        background = State.UNKNOWN if options["unlisted"] == "unknown" else State.ABSENT
        return LabelTable.from_cells(
            [names[image] for image in order], classes, rows, cells, [State.PRESENT] * len(rows), background=background
        )


def _words(entry: dict[str, Any], path: Path) -> list[str]:
    if not isinstance(entry.get("caption"), str):
        raise LabelError(f"{path}: an annotation has no caption; it is no file of captions: unpack the official one")
    return _WORD.findall(entry["caption"].lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))


def _most_frequent(content: dict[str, Any], words: str, path: Path) -> list[str]:
    if not words.isdecimal() or not int(words):
        raise UsageError(f"coco2014_words: words {words!r} is not a whole number above 0")
    counts = Counter(word for entry in content["annotations"] for word in _words(entry, path))
    return sorted(counts, key=lambda word: (-counts[word], word))[: int(words)]


def _chosen(path: Path, names: dict[int, str]) -> list[int]:
    """Ids of the listed images, in the order of the list."""
    is_coco = path.suffix == ".json"
    listed = [str(entry.get("id")) for entry in read_coco(path)["images"]] if is_coco else read_lines(path, OWN)
    by_name = {name.rpartition("/")[2].removesuffix(".jpg"): image for image, name in names.items()}
    ids = []
    for one in listed:
        stem = one.rpartition("/")[2].removesuffix(".jpg")
        image = by_name.get(stem, int(stem) if stem.isdecimal() else -1)
        if image not in names:
            raise LabelError(f"{path} lists {one!r}, which is no image of this split")
        ids.append(image)
    return list(dict.fromkeys(ids))
