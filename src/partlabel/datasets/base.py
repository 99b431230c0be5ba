"""What a published data set is to this library: official files on disk, read into a table and its official splits."""

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from partlabel.errors import LabelError
from partlabel.labels import LabelTable
from partlabel.progress import Tick
from partlabel.wording import amount

OWN = "write each name on a line of its own, once"
"""What to do about a list that the user made."""

_OFFICIAL = "unpack the official file again"

Options = Mapping[str, str]
"""The value of every option of a data set, defaults included."""


@dataclass(frozen=True)
class Option:
    """A choice in how a data set is read.

    Args:
        name: the name in `NAME:DIR,name=value`.
        default: the value where none is given; empty for a file that need not be given.
        meanings: what each value means; empty where any text may be given.
        help: what a free value is.
    """

    name: str
    default: str
    meanings: Mapping[str, str] = field(default_factory=dict)
    help: str = ""


@dataclass(frozen=True)
class Published:
    """A count that a paper or the makers of the data set state.

    Args:
        images: number of images.
        options: the options for which it holds.
        source: who states it.
    """

    images: int
    options: Options
    source: str


class Dataset(ABC):
    """A data set, as its makers give it out. Instances stand in `partlabel.datasets.catalogue.DATASETS`.

    Attributes:
        name: the key there, and the word before the colon in `NAME:DIR`.
        title: its name in print.
        states: which cells are present, absent and unknown, and why.
        files: the files that are expected, and what each is.
        options: how it may be read.
        classes: published number of classes; None where a file that the user names decides.
        published: published numbers of images.
        version: counts changes of the reader, so that tables cached by an earlier one are read anew.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    states: ClassVar[str]
    files: ClassVar[tuple[tuple[str, str], ...]]
    options: ClassVar[tuple[Option, ...]]
    classes: ClassVar[int | None] = None
    published: ClassVar[tuple[Published, ...]] = ()
    version: ClassVar[int] = 1

    def root(self, folder: Path) -> Path:
        """The folder that image names are relative to, given the folder that the user names."""
        return folder

    @abstractmethod
    def sources(self, root: Path, options: Options) -> Sequence[Path]:
        """The files that `read` will read; the first one lists the images.

        Raises:
            LabelError: a list that names further files is missing.
        """

    @abstractmethod
    def read(self, root: Path, options: Options, tick: Tick) -> LabelTable:
        """The table, images in the published order.

        Args:
            root: what `root` says.
            options: all of them, checked.
            tick: told how far the reading is.

        Raises:
            LabelError: a file is missing or broken.
        """

    def layout(self, root: Path) -> str:
        """What beside the files decides the names of images; a change makes a cached table stale."""
        return ""

    def side_information(self, root: Path) -> dict[str, str] | None:
        """The category of each image, if the data set tells one beside its classes; such as the species of a bird."""
        return None

    def notes(self, table: LabelTable, root: Path, options: Options) -> list[str]:
        """A sentence for each count that differs from the published one."""
        listed = os.path.relpath(self.sources(root, options)[0], root)
        free = any(options[option.name] != option.default for option in self.options if not option.meanings)
        found = []
        for stated in () if free else self.published:
            if all(options[name] == value for name, value in stated.options.items()) and stated.images != len(table):
                found.append(
                    f"{self.name}: {listed} gives {amount(len(table), 'image')} where {stated.images:,} are published "
                    f"({stated.source}); the file may be cut short or altered"
                )
        if self.classes is not None and not free and len(table.classes) != self.classes:
            found.append(
                f"{self.name}: {amount(len(table.classes), 'class', 'classes')} where {self.classes:,} are published; "
                "a file may be cut short or altered"
            )
        return found


def read_text(path: Path) -> str:
    """A text file of a data set.

    Raises:
        LabelError: it is missing or no UTF-8 text.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise LabelError(f"{path} is no text; it may be damaged: {_OFFICIAL}") from error
    except OSError as error:
        raise LabelError(f"{path} cannot be read ({error.strerror}); {_OFFICIAL}") from error
    if "\0" in text:  # what a disk or a copy that broke off leaves where text should be
        raise LabelError(f"{path} is no text, it holds zero bytes; it may be damaged: {_OFFICIAL}")
    return text


def read_lines(path: Path, advice: str = _OFFICIAL) -> list[str]:
    """The lines of a list, without outer white space; blank lines do not count.

    Raises:
        LabelError: it is missing, no text, or empty; ends with `advice`.
    """
    lines = [line.strip() for line in read_text(path).splitlines()]
    lines = [line for line in lines if line]
    if not lines:
        raise LabelError(f"{path} is empty; {advice}")
    return lines


def read_json(path: Path, hook: Callable[[dict[str, Any]], Any] | None = None) -> Any:
    """A JSON file of a data set; `hook` may shrink each object as soon as it is read.

    Raises:
        LabelError: it is missing, cut short or no JSON.
    """
    text = read_text(path)
    try:
        return json.loads(text, object_hook=hook)
    except (ValueError, RecursionError) as error:
        raise LabelError(f"{path} is no complete JSON ({error}); it may be cut short: unpack it again") from error


def check_unique(names: Sequence[str], path: Path, advice: str = _OFFICIAL) -> None:
    """Refuse a list that names an image or a class twice.

    Raises:
        LabelError: it does; ends with `advice`.
    """
    if len(set(names)) < len(names):
        seen: set[str] = set()
        twice = next(name for name in names if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise LabelError(f"{path} lists {twice!r} twice; {advice}")
