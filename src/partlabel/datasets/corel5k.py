"""Corel5k (Duygulu et al., ECCV 2002): keywords of photographs, from the text files that the authors gave out.

What the files state: one to five keywords an image. Nobody was asked about the other keywords: they are unknown, unless
`unlisted=absent` says what most papers do.

The images are not part of the official files; where yours lie is the option `pattern`.
"""

from collections.abc import Sequence
from pathlib import Path

from partlabel.datasets.base import Dataset, Option, Options, Published, check_unique, read_lines
from partlabel.errors import LabelError, UsageError
from partlabel.labels import LabelTable, State
from partlabel.progress import Tick
from partlabel.wording import amount

_PADDING = -99


class Corel5k(Dataset):
    """The word lists."""

    name = "corel5k"
    version = 2
    title = "Corel5k, keywords"
    states = "present: a keyword of the image; everything else is unknown, or absent with unlisted=absent"
    files = (
        ("words", "the vocabulary, one word a line"),
        ("document_words", "numbers of the words of each training image, from 1, and test_1_document_words"),
        ("image_nums", "the Corel number of each training image, and test_1_image_nums"),
        ("images/NUMBER.jpeg", "the images, which are not given out with the lists"),
    )
    options = (
        Option("split", "train", {"train": "document_words", "test": "test_1_document_words"}),
        Option(
            "unlisted",
            "unknown",
            {"unknown": "words that an image does not have are unknown", "absent": "they are absent"},
        ),
        Option("pattern", "images/{}.jpeg", help="name of an image under the image folder, {} for its number"),
    )
    published = (
        Published(4500, {"split": "train"}, "the description of the data"),
        Published(500, {"split": "test"}, "the description of the data"),
    )

    def sources(self, root: Path, options: Options) -> Sequence[Path]:
        """Numbers of the images, their words, the vocabulary."""
        before = "" if options["split"] == "train" else "test_1_"
        return [root / f"{before}image_nums", root / f"{before}document_words", root / "words"]

    def read(self, root: Path, options: Options, tick: Tick) -> LabelTable:
        """Line by line."""
        numbers_path, words_path, vocabulary = self.sources(root, options)
        if options["pattern"].count("{}") != 1:
            raise UsageError(f"{self.name}: pattern {options['pattern']!r} has no single {{}} for the number")
        classes, numbers, lines = read_lines(vocabulary), read_lines(numbers_path), read_lines(words_path)
        check_unique(classes, vocabulary)
        if len(numbers) != len(lines):
            raise LabelError(
                f"{words_path} has {amount(len(lines), 'line')} and {numbers_path} {len(numbers):,}; one is cut short: "
                "unpack them again"
            )
        if wrong := next((number for number in numbers if not number.isdecimal()), None):
            raise LabelError(f"{numbers_path}: {wrong!r} is no number of an image; unpack the official file again")
        rows: list[int] = []
        columns: list[int] = []
        for row, line in enumerate(lines):
            try:
                found = {float(number) for number in line.split()} - {_PADDING}
            except ValueError:
                found = {0.0}
            if not all(1 <= number <= len(classes) and number.is_integer() for number in found):
                raise LabelError(
                    f"{words_path}, line {row + 1}: {line!r} holds something else than numbers of the {len(classes)} "
                    "words; unpack the file again"
                )
            rows += [row] * len(found)
            columns += [int(number) - 1 for number in found]
        names = [options["pattern"].replace("{}", number) for number in numbers]
        check_unique(names, numbers_path)
        tick(1, 1)
        background = State.ABSENT if options["unlisted"] == "absent" else State.UNKNOWN
        return LabelTable.from_cells(names, classes, rows, columns, [State.PRESENT] * len(rows), background=background)
