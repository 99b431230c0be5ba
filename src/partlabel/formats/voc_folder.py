"""Reading a PASCAL VOC folder: which lists it has, and what they or its annotations say."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from xml.etree.ElementTree import Element, ParseError

from defusedxml.ElementTree import fromstring

from partlabel.errors import LabelError
from partlabel.file_tree import file_tree
from partlabel.formats.base import Source
from partlabel.formats.folder import Folder, is_image
from partlabel.formats.listing import Listing
from partlabel.formats.options import ReadOptions
from partlabel.formats.reading import Reading
from partlabel.labels import State

MAIN, IMAGES, ANNOTATIONS, LABEL_MAP = "ImageSets/Main", "JPEGImages", "Annotations", "labelmap.txt"
_SPLITS = ("train", "val", "trainval", "test")
_STATES = {"1": State.PRESENT, "+1": State.PRESENT, "-1": State.ABSENT, "0": State.UNKNOWN}


class _Lists(NamedTuple):
    """The files of `ImageSets/Main`: by split, and by class and split."""

    images: Mapping[str, Path]
    classes: Mapping[tuple[str, str], Path]

    @property
    def splits(self) -> list[str]:
        """All splits, the usual ones first."""
        known = {*self.images, *(split for _, split in self.classes)}
        return [*(name for name in _SPLITS if name in known), *sorted(known - {*_SPLITS})]


def read_folder(source: Source, options: ReadOptions, format: str) -> Reading:
    """Read lists of classes, or annotations where there are none.

    Raises:
        LabelError: something cannot be read; names file and line.
    """
    listing = Listing(source, options, format, unit="line")
    lists = _lists_in(source.path / MAIN)
    splits = _chosen(lists, listing)
    folder = Folder(source.path)
    names = _Names(source.path)
    images = {name: None for split in splits if split in lists.images for _, name in folder.lines(lists.images[split])}
    if any(split in splits for _, split in lists.classes):
        _read_lists(
            listing, folder, names, images, {key: path for key, path in lists.classes.items() if key[1] in splits}
        )
    elif (source.path / ANNOTATIONS).is_dir():
        _read_annotations(listing, folder, names, images or None)
    else:
        raise LabelError(
            f"{source.path} has neither lists of classes ({MAIN}/CLASS_SPLIT.txt) nor {ANNOTATIONS}; give the folder "
            f"in which they are, such as VOC2012"
        )
    return listing.finish()


class _Names:
    """Names of images from listed names, by the files that are there."""

    def __init__(self, root: Path) -> None:
        self._inside = (root / IMAGES).is_dir()
        self.files: dict[str, str] = {}
        for name in file_tree(root / IMAGES).files:
            bare = str(PurePosixPath(name).with_suffix(""))
            if is_image(name) and (bare not in self.files or name == f"{bare}.jpg"):
                self.files[bare] = name

    def image(self, listed: str, ending: str = ".jpg") -> str:
        """The image that a list or an annotation means; `ending` is that of one whose file is not there."""
        name = self.files.get(listed) or (listed if is_image(listed) else listed + ending)
        return f"{IMAGES}/{name}" if self._inside else name


def _lists_in(folder: Path) -> _Lists:
    """A list is one of a class where its name ends in `_SPLIT`, of a split that has a list or a usual name."""
    stems = [name[:-4] for name in file_tree(folder, deep=False).files if name.endswith(".txt")]
    splits = [stem for stem in stems if not any(stem.endswith(f"_{other}") for other in {*stems, *_SPLITS})]
    classes: dict[tuple[str, str], Path] = {}
    for stem in stems:
        ends = [split for split in {*splits, *_SPLITS} if stem.endswith(f"_{split}") and len(stem) > len(split) + 1]
        if ends and stem not in splits:
            split = max(ends, key=len)
            classes[stem.removesuffix(f"_{split}"), split] = folder / f"{stem}.txt"
    return _Lists({split: folder / f"{split}.txt" for split in splits}, classes)


def _chosen(lists: _Lists, listing: Listing) -> Sequence[str]:
    """The splits to read: the one asked for, `trainval`, or all."""
    splits, where = lists.splits, listing.options.where
    if where:
        wanted = where.get("split")
        if len(where) > 1 or wanted not in splits:
            raise LabelError(
                f"{listing.path}: of a VOC folder --where chooses a split, as in --where split=train; it has "
                f"{', '.join(splits) or 'no splits'}"
            )
        return [wanted]
    chosen = ["trainval"] if "trainval" in splits else splits
    if len(splits) > 1:
        left = [split for split in splits if split not in chosen]
        listing.note(
            f"of the splits {', '.join(splits)} "
            + (f"trainval was read; {left[-1]} is read with --where split={left[-1]}" if left else "all were read")
        )
    return chosen


def _class_order(folder: Folder, found: Iterable[str]) -> list[str]:
    """Classes in the order of the label map; those that it does not have come after it, in alphabetical order."""
    found, path = set(found), folder.root / LABEL_MAP
    ordered: dict[str, None] = {}
    for number, line in folder.lines(path) if path.is_file() else ():
        name = line.split(":")[0].strip()
        if line[0] == "#" or (name == "background" and name not in found):
            continue
        if not name:
            raise LabelError(f"{path}, line {number} names no class; it begins with the name, then a colon")
        ordered[name] = None
    return [*ordered, *sorted(found - {*ordered})]


def _read_lists(
    listing: Listing, folder: Folder, names: _Names, images: dict[str, None], classes: Mapping[tuple[str, str], Path]
) -> None:
    ordered = _class_order(folder, (name for name, _ in classes))
    columns = {name: listing.declare(name, number) for number, name in enumerate(ordered, 1)}
    rows = {name: listing.image(names.image(name), number) for number, name in enumerate(images, 1)}
    for (name, _), path in classes.items():
        for number, listed, state in _cells(path, folder):
            row = rows.get(listed)
            if row is None:
                row = rows[listed] = listing.image(names.image(listed), number)
            listing.cell(row, columns[name], state, number)


def _cells(path: Path, folder: Folder) -> Iterator[tuple[int, str, State]]:
    for number, line in folder.lines(path):
        name, *state = line.rsplit(None, 1)
        if not state or state[0] not in _STATES:
            raise LabelError(
                f"{path}, line {number}: {line[:80]!r} is no image with 1 (present), -1 (absent) or 0 (unknown) behind "
                f"it; correct the line, or rename the file if it is no list of a class"
            )
        yield number, name, _STATES[state[0]]


def _read_annotations(listing: Listing, folder: Folder, names: _Names, images: Iterable[str] | None) -> None:
    place = folder.root / ANNOTATIONS
    annotated = {name[:-4] for name in file_tree(place).files if name.endswith(".xml")}
    listed = list(images) if images is not None else sorted(annotated | {*names.files})
    found = {name: _objects(place / f"{name}.xml", folder) for name in listed if name in annotated}
    ordered = _class_order(folder, (name for objects, _ in found.values() for name in objects))
    columns = {name: listing.declare(name, number) for number, name in enumerate(ordered, 1)}
    for number, name in enumerate(listed, 1):
        objects, ending = found.get(name, ({}, ".jpg"))
        row = listing.image(names.image(name, ending), number)
        if name not in found:
            listing.nobody_looked(row)
        for label, easy in objects.items():
            listing.cell(row, columns[label], State.PRESENT if easy else State.UNKNOWN, number)
    difficult = sum(not easy for objects, _ in found.values() for easy in objects.values())
    if difficult:
        listing.note(f"{difficult:,} cells rest on difficult boxes alone and are left unknown")
    if len(found) < len(listed):
        listing.note(f"{len(listed) - len(found):,} of {len(listed):,} images have no annotation, and stay unknown")
    if images is not None and (left := len(annotated - {*listed})):
        listing.note(f"{left:,} annotations are of images that the splits do not list, and were left out")


def _objects(path: Path, folder: Folder) -> tuple[dict[str, bool], str]:
    """The classes that an annotation has boxes of, each with whether one is not difficult; and the ending of its image.

    Raises:
        LabelError: it is no VOC annotation.
    """
    content = folder.bytes(path)
    try:
        annotation: Element = fromstring(content)
    except (ParseError, ValueError, LookupError, RecursionError) as error:  # bombs and wrong encodings are ValueErrors
        raise LabelError(f"{path} is no complete XML ({error}); export it again") from error
    if annotation.tag != "annotation":
        raise LabelError(f"{path} is no VOC annotation: it has <{annotation.tag[:40]}> in place of <annotation>")
    easy: dict[str, bool] = {}
    for number, box in enumerate(annotation.findall("object"), 1):
        name, difficult = (box.findtext("name") or "").strip(), (box.findtext("difficult") or "0").strip()
        if not name:
            raise LabelError(f"{path}: object {number} has no name; say which class it is")
        if difficult not in {"0", "1"}:
            raise LabelError(f"{path}: object {number} is difficult {difficult[:40]!r}; write 0 or 1")
        easy[name] = easy.get(name, False) or difficult == "0"
    image = PurePosixPath((annotation.findtext("filename") or "").strip())
    return easy, image.suffix if image.stem == path.stem and is_image(image.name) else ".jpg"
