"""CUB-200-2011 (Wah et al., 2011): 312 attributes of birds, and as side information their species.

What the files state: for each image and attribute whether it is present, and how certain the person was: not visible,
guessing, probably, definitely. "Not visible" says that nobody could know: such cells are unknown, unless `certainty`
says otherwise. IMCL takes every answer as it stands (`certainty=stated`).

Species are no classes here. `partlabel datasets cub200_2011:DIR --side FILE` writes a table of image and category for
methods that use side information (`interactive`).

IMCL splits by species as zero-shot learning does (its reference 48); that list is not among the official files:
`split=all,species=FILE` takes the species that a file names.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from partlabel.datasets.base import Dataset, Option, Options, Published, check_unique, read_lines
from partlabel.errors import LabelError
from partlabel.labels import LabelTable, State
from partlabel.progress import Tick

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
    published = (Published(11_788, {"split": "all"}, "the description of the data"),)

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
        kept = [
            key
            for key in images
            if options["split"] == "all" or (training.get(key) == "1") == (options["split"] == "train")
        ]
        if lacking := images.keys() - training.keys():
            raise LabelError(f"{split_path} lacks image {min(lacking)}; unpack the official file again")
        if given:
            names, of_image = _pairs(classes_path), _pairs(species_path)
            wanted = set(read_lines(given[0]))
            if unknown := wanted - set(names.values()):
                raise LabelError(f"{given[0]} names {min(unknown)!r}, which is no species of {classes_path}")
            kept = [key for key in kept if names.get(of_image.get(key, "")) in wanted]
        attribute_names = _pairs(attributes)
        rows = {key.encode(): row for row, key in enumerate(kept)}
        columns = {key.encode(): column for column, key in enumerate(attribute_names)}
        known = frozenset(key.encode() for key in images)
        cells = _answers(answers, rows, columns, known, _LEAST_CERTAINTY[options["certainty"]], tick)
        return LabelTable.from_cells([f"images/{images[key]}" for key in kept], list(attribute_names.values()), *cells)

    def side_information(self, root: Path) -> dict[str, str]:
        """The species of every image."""
        images, names = _pairs(root / "images.txt"), _pairs(root / "classes.txt")
        of_image = _pairs(root / "image_class_labels.txt")
        try:
            return {f"images/{name}": names[of_image[key]] for key, name in images.items()}
        except KeyError as error:
            raise LabelError(
                f"{root / 'image_class_labels.txt'} and classes.txt do not belong together: {error} is missing"
            ) from error


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


def _answers(
    path: Path,
    rows: dict[bytes, int],
    columns: dict[bytes, int],
    known: frozenset[bytes],
    least: int,
    tick: Tick,
) -> tuple[list[int], list[int], NDArray[np.int8]]:
    """Cells of the answers. Some official lines have stray numbers behind the certainty: they do not count."""
    image_index: list[int] = []
    class_index: list[int] = []
    states: list[int] = []
    size, done = path.stat().st_size, 0
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            done += len(line)
            words = line.split()
            if not words:
                continue
            if not _is_answer(words) or words[0] not in known or words[1] not in columns:
                raise LabelError(
                    f"{path}, line {number}: {line.decode(errors='replace').strip()!r} is not image, attribute, 0 or "
                    "1, certainty; unpack the official file again"
                )
            row = rows.get(words[0])
            if row is not None and int(words[3]) >= least:
                image_index.append(row)
                class_index.append(columns[words[1]])
                states.append(State.PRESENT if words[2] == b"1" else State.ABSENT)
            if not number % _TICK_LINES:
                tick(done, size)
    return image_index, class_index, np.asarray(states, np.int8)


def _is_answer(words: list[bytes]) -> bool:
    return len(words) >= 4 and words[2] in {b"0", b"1"} and words[3].isdigit()
