"""CUB-200-2011 (Wah et al., 2011): 312 attributes of birds, and as side information their species.

What the files state: for each image and attribute whether it is present, and how certain the person was: not visible,
guessing, probably, definitely. "Not visible" says that nobody could know: such cells are unknown, unless `certainty`
says otherwise. IMCL takes every answer as it stands (`certainty=stated`).

Species are no classes here. `partlabel datasets cub200_2011:DIR --side FILE` writes a table of image and category for
methods that use side information (`interactive`).

IMCL splits by species as zero-shot learning does (its reference 48); that list is not among the official files:
`split=all,species=FILE` takes the species that a file names.
"""

from codecs import BOM_UTF8
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from partlabel.datasets.base import OWN, Dataset, Option, Options, Published, check_unique, read_lines
from partlabel.errors import LabelError
from partlabel.labels import LabelTable, State
from partlabel.progress import Tick
from partlabel.wording import amount

_LEAST_CERTAINTY = {"stated": 0, "visible": 2, "probably": 3, "definitely": 4}
_TICK_LINES = 1 << 16


class Cub200(Dataset):
    """The attributes."""

    name = "cub200_2011"
    title = "CUB-200-2011, 312 attributes"
    states = "present and absent: as answered; unknown: not visible (or less certain than `certainty`), or not asked"
    files = (
        ("images.txt", "number and name of each image"),
        ("train_test_split.txt", "whether it is a training image"),
        ("classes.txt", "number and name of each species"),
        ("image_class_labels.txt", "the species of each image"),
        ("attributes/image_attribute_labels.txt", "image, attribute, present, certainty, time"),
        ("attributes/attributes.txt", "number and name of each attribute (also beside the folder CUB_200_2011)"),
        ("images/SPECIES/NAME.jpg", "the images"),
    )
    options = (
        Option(
            "split",
            "train",
            {"train": "the official training images", "test": "the official test images", "all": "all images"},
        ),
        Option(
            "certainty",
            "visible",
            {
                "stated": "every answer counts, also where the part was not visible (IMCL)",
                "visible": "answers on what was not visible are unknown",
                "probably": "guesses are unknown too",
                "definitely": "only what is definite counts",
            },
        ),
        Option("species", "", help="a file of the species to take, one name a line as in classes.txt"),
    )
    classes = 312
    version = 2
    published = (
        Published(11_788, {"split": "all"}, "the description of the data"),
        Published(5_994, {"split": "train"}, "the official split"),
        Published(5_794, {"split": "test"}, "the official split"),
    )

    def root(self, folder: Path) -> Path:
        """The folder CUB_200_2011, also where the folder above it is given."""
        return folder / "CUB_200_2011" if (folder / "CUB_200_2011").is_dir() else folder

    def sources(self, root: Path, options: Options) -> Sequence[Path]:
        """Six lists, and the one that the user gives."""
        given = [Path(options["species"])] if options["species"] else []
        return [root / name for name, _ in self.files[:5]] + [_attributes(root), *given]

    def read(self, root: Path, options: Options, tick: Tick) -> LabelTable:
        """The images of the split, then every answer."""
        images_path, split_path, classes_path, species_path, answers, attributes, *given = self.sources(root, options)
        images, training = _pairs(images_path), _pairs(split_path)
        check_unique(list(images.values()), images_path)
        _check_same(images_path, images, split_path, training)
        if strange := next((value for value in training.values() if value not in {"0", "1"}), None):
            raise LabelError(f"{split_path}: {strange!r} is neither 0 nor 1; unpack the official file again")
        wanted = {"train": {"1"}, "test": {"0"}, "all": {"0", "1"}}[options["split"]]
        kept = [key for key in images if training[key] in wanted]
        if given:
            species = _species(images_path, images, classes_path, species_path)
            taken = set(read_lines(given[0], OWN))
            if unknown := taken - set(_pairs(classes_path).values()):
                raise LabelError(f"{given[0]} names {min(unknown)!r}, which is no species of {classes_path}")
            kept = [key for key in kept if species[key] in taken]
        names = _pairs(attributes)
        check_unique(list(names.values()), attributes)
        cells = _answers(answers, list(images), kept, list(names), _LEAST_CERTAINTY[options["certainty"]], tick)
        try:
            return LabelTable.from_cells([f"images/{images[key]}" for key in kept], list(names.values()), *cells)
        except LabelError as error:
            raise LabelError(f"{answers}: {error}; unpack the official file again") from error

    def side_information(self, root: Path) -> dict[str, str]:
        """The species of every image."""
        images = _pairs(root / "images.txt")
        species = _species(root / "images.txt", images, root / "classes.txt", root / "image_class_labels.txt")
        return {f"images/{name}": species[key] for key, name in images.items()}


def _attributes(root: Path) -> Path:
    """The makers pack this list beside the folder; many move it into it."""
    places = (root / "attributes" / "attributes.txt", root / "attributes.txt", root.parent / "attributes.txt")
    return next((path for path in places if path.is_file()), places[0])


def _pairs(path: Path) -> dict[str, str]:
    """Number and value of each line, in order."""
    lines = [line.split(maxsplit=1) for line in read_lines(path)]
    if short := next((line for line in lines if len(line) < 2), None):
        raise LabelError(f"{path}: {' '.join(short)!r} is no number with a value; unpack the official file again")
    check_unique([line[0] for line in lines], path)
    return {line[0]: line[1] for line in lines}


def _check_same(path: Path, images: Mapping[str, str], other_path: Path, other: Mapping[str, str]) -> None:
    """Refuse two lists that are not of the same images.

    Raises:
        LabelError: they are not; names an image that only one has.
    """
    for lacking, lacks, lists in (
        (images.keys() - other.keys(), other_path, path),
        (other.keys() - images.keys(), path, other_path),
    ):
        if lacking:
            raise LabelError(f"{lacks} lacks image {min(lacking)}, which {lists} lists; unpack both files again")


def _species(images_path: Path, images: Mapping[str, str], classes_path: Path, path: Path) -> dict[str, str]:
    """The name of each image's species, by the image's number."""
    names, of_image = _pairs(classes_path), _pairs(path)
    _check_same(images_path, images, path, of_image)
    if strange := set(of_image.values()) - names.keys():
        raise LabelError(f"{path} names species {min(strange)}, which {classes_path} lacks; unpack both again")
    return {image: names[number] for image, number in of_image.items()}


def _answers(
    path: Path, images: Sequence[str], kept: Sequence[str], attributes: Sequence[str], least: int, tick: Tick
) -> tuple[list[int], list[int], NDArray[np.int8]]:
    """Cells of the answers. Some official lines have stray numbers behind the certainty: they do not count.

    Args:
        path: the file of the answers.
        images: the numbers of all images, each of which has answers.
        kept: the numbers of those that are rows of the table.
        attributes: the numbers of the attributes.
        least: the certainty from which an answer counts.
        tick: told how much of the file is read.
    """
    rows = {key.encode(): row for row, key in enumerate(kept)}
    columns = {key.encode(): column for column, key in enumerate(attributes)}
    known = frozenset(key.encode() for key in images)
    unanswered = set(known)
    image_index: list[int] = []
    class_index: list[int] = []
    states: list[int] = []
    size, done = path.stat().st_size, 0
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            done += len(line)
            words = (line.removeprefix(BOM_UTF8) if number == 1 else line).split()
            if not words:
                continue
            if not _is_answer(words) or words[0] not in known or words[1] not in columns:
                raise LabelError(
                    f"{path}, line {number}: {line.decode(errors='replace').strip()!r} is not image, attribute, 0 or "
                    "1, certainty, with an image of images.txt and an attribute of attributes.txt; one of the three "
                    "is altered: unpack the official files again"
                )
            unanswered.discard(words[0])
            row = rows.get(words[0])
            if row is not None and int(words[3]) >= least:
                image_index.append(row)
                class_index.append(columns[words[1]])
                states.append(State.PRESENT if words[2] == b"1" else State.ABSENT)
            if not number % _TICK_LINES:
                tick(done, size)
    if unanswered:
        raise LabelError(
            f"{path} has no answer for {amount(len(unanswered), 'image')}, first {min(unanswered).decode()}; it "
            "may be cut short: unpack the official file again"
        )
    return image_index, class_index, np.asarray(states, np.int8)


def _is_answer(words: list[bytes]) -> bool:
    return len(words) >= 4 and words[2] in {b"0", b"1"} and words[3] in {b"0", b"1", b"2", b"3", b"4"}
