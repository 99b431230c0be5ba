"""Folders that are classes: `cat/1.jpg`, or `train/cat/1.jpg`, as for ImageNet, torchvision and YOLO classification.

The name of its folder is the one class that an image is known to have. That it has no other is the user's word, as an
image of a cat may show a dog as well.
"""

from itertools import islice
from pathlib import Path

from partlabel.errors import EmptyTableError, LabelError
from partlabel.formats.base import Format, Source
from partlabel.formats.image_tree import image_tree, some_entries
from partlabel.formats.listing import Listing
from partlabel.formats.options import ReadOptions
from partlabel.formats.reading import Reading
from partlabel.labels import State
from partlabel.names import IMAGE_SUFFIXES
from partlabel.wording import amount

_SPLIT = "split"
_SPLITS = frozenset({"train", "training", "val", "valid", "validation", "dev", "test", "testing"})
_OTHERS = frozenset(
    {"images", "labels", "masks", "annotations", "imagesets", "jpegimages", "segmentationclass", "data"}
)
_TABLES = frozenset({".json", ".jsonl", ".csv", ".xml", ".txt", ".yaml", ".yml", ".parquet", ".arrow", ".xmp"})
_OPENED_AT_MOST = 5  # folders, to see what is in them


class ClassFolders(Format):
    """A folder of class folders."""

    name = "class_folders"
    title = "folder with one folder of images per class (ImageNet, torchvision, YOLO classification)"
    states = "the folder is the one present class, others are unknown; not written, as that would copy images"
    suffixes = ()
    takes = frozenset({"folder"})
    writes = False
    options = frozenset({"unlisted", "where"})

    def sniff(self, source: Source, options: ReadOptions) -> bool:
        """Whether two of its first folders hold images and no labels, and no labels lie beside them."""
        folders, plain = _below(source.path)
        if not plain:
            return False
        if folders and all(folder.name.casefold() in _SPLITS for folder in folders):
            folders, plain = _below(folders[0])
        inside = [_below(folder) for folder in folders[:_OPENED_AT_MOST]]
        return plain and all(fine for _, fine in inside) and sum(map(_holds_images, folders[:_OPENED_AT_MOST])) > 1

    def read(self, source: Source, options: ReadOptions) -> Reading:
        """Read the names of the folders; an image is called by its place below the outermost one.

        Raises:
            LabelError: there are no images in folders, or splits and classes lie side by side.
        """
        if wrong := next((name for name in options.where if name != _SPLIT), None):
            raise LabelError(f"{source.path}: --where chooses a split here (split=train), not {wrong!r}")
        tree = image_tree(source.path, IMAGE_SUFFIXES)
        if not tree.files:
            raise EmptyTableError(f"{source.path} holds no image, in it or in its folders")
        listing = Listing(source, options, self.name, "image", "folders")
        for sentence in tree.notes():
            listing.note(sentence)
        levels = 1 if _has_splits(tree.files, source.path) else 0
        places = [name.split("/")[:-1] for name in tree.files]
        classes = sorted({place[levels] for place in places if len(place) > levels})
        if not classes:
            raise LabelError(f"{source.path} has no folder of images whose name is a class; is this another folder?")
        columns = {name: listing.declare(name, 0) for name in classes}
        homeless = 0
        for record, (name, place) in enumerate(zip(tree.files, places, strict=True), 1):
            if not listing.tally.keeps({_SPLIT: place[0] if levels and place else ""} if options.where else {}):
                continue
            row = listing.image(name, record)
            if len(place) > levels:
                listing.cell(row, columns[place[levels]], State.PRESENT, record)
            else:
                homeless += 1
                listing.nobody_looked(row)
        if homeless:
            listing.note(f"{amount(homeless, 'image')} in no class folder: nothing is known of it")
        if levels:
            listing.note(f"the outer folders are splits: {', '.join(sorted({place[0] for place in places if place}))}")
        return listing.finish(len(tree.files))


def _has_splits(files: tuple[str, ...], path: Path) -> bool:
    """Whether the outer folders are splits with the class folders in them.

    Raises:
        LabelError: some are.
    """
    depth: dict[str, int] = {}
    for name in files:
        outer, *rest = name.split("/")
        if rest:
            depth[outer] = min(depth.get(outer, len(rest)), len(rest))
    splits = sorted(outer for outer, least in depth.items() if outer.casefold() in _SPLITS and least > 1)
    if splits and len(splits) < len(depth):
        other = next(outer for outer in sorted(depth) if outer not in splits)
        raise LabelError(
            f"{path}: the folder {splits[0]!r} looks like a split that holds the classes, and {other!r} beside it does "
            f"not; give one of them, or move what is no split elsewhere"
        )
    return bool(splits)


def _below(folder: Path) -> tuple[list[Path], bool]:
    """The folders in a folder, and whether nothing in it belongs to another format."""
    entries = some_entries(folder)
    folders = [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    tables = any(Path(entry.name).suffix.casefold() in _TABLES for entry in entries if entry.is_file())
    return folders, not tables and not any(inner.name.casefold() in _OTHERS for inner in folders)


def _holds_images(folder: Path) -> bool:
    entries = some_entries(folder)
    deeper = islice((entry for entry in entries if entry.is_dir(follow_symlinks=False)), 1)
    below = [*entries, *(inner for entry in deeper for inner in some_entries(Path(entry.path)))]
    return any(Path(entry.name).suffix.casefold() in IMAGE_SUFFIXES for entry in below)
