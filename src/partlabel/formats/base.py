"""What a label format is, and a label file that is about to be read."""

import shutil
import tempfile
import weakref
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from partlabel.formats.header import Columns, columns_of
from partlabel.formats.options import ReadOptions
from partlabel.formats.reading import Reading, WriteOptions
from partlabel.formats.spreadsheet import SUFFIXES, write_as_csv
from partlabel.formats.suggested import Suggested
from partlabel.formats.text import DELIMITED, TextFile, as_table, cell_name, examine, records
from partlabel.labels import LabelTable
from partlabel.progress import Tick, unheard

_END = 1_000_000  # bytes


class Source:
    """A file or folder of labels. What formats look at to know their own is read once, and shared.

    Args:
        path: the file or folder; it is there.
        tick: told how many megabytes of a large file are read.
    """

    def __init__(self, path: Path, tick: Tick = unheard) -> None:
        self.path, self.tick = path, tick
        self.suffix = path.suffix.casefold()

    @cached_property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return self.path.is_dir()

    @cached_property
    def ends(self) -> str:
        """The first and the last million bytes of a file as text, to know a large JSON document by its keys; empty for
        a folder, and where the file cannot be read.
        """
        if self.is_folder:
            return ""
        try:
            with self.path.open("rb") as file:
                head = file.read(_END)
                file.seek(max(len(head), self.path.stat().st_size - _END))
                return (head + file.read(_END)).decode("utf-8-sig", "replace")
        except OSError:
            return ""

    @cached_property
    def text(self) -> TextFile:
        """The encoding of the file, every byte of which is checked, and the delimiter of a table.

        Raises:
            LabelError: the file is no text.
            UsageError: it is a workbook, and what reads those is not installed.
        """
        if self.suffix in SUFFIXES:
            folder = tempfile.mkdtemp(prefix="partlabel-")
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
            content = Path(folder) / "sheet.csv"
            write_as_csv(self.path, content)
            return examine(self.path, content)
        text = examine(self.path)
        return as_table(text) if self.suffix in DELIMITED else text

    def columns(self, options: ReadOptions) -> Columns:
        """The columns of a CSV.

        Raises:
            LabelError: the file is no text, or it lacks columns of `where`, `ignore` or `columns`.
        """
        return columns_of(self.path, self._header, options.where, options.ignore, options.roles)

    @cached_property
    def _header(self) -> list[str]:
        return [cell_name(name.strip()) for name in next(records(self.text))[1]]


class Format(ABC):
    """A label format. Its instances stand in `partlabel.formats.FORMATS`.

    Attributes:
        name: the key in `FORMATS`.
        title: what it is, in a few words.
        states: how it tells present, absent and unknown apart.
        suffixes: endings of names, in lower case; one ending may belong to several formats.
        read_only: those of the endings that tables are not written with.
        takes: whether the labels are in a file, in a folder, or in either.
        writes: whether tables are written in this format; one that does not has a `states` that says why.
        keeps_sources: whether a written file says where each label came from.
        keeps_unsure: whether a written file tells what somebody could not decide from what nobody looked at.
        advice: what to do with a written file, for its owner.
        two_states: a written file tells one state from another, but not three; the user says which one is given up.
        options: the read options that it uses beyond those that all formats use.
        written_with: the options of `write_table` that it uses, such as `suggested` where it holds suggestions.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    states: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]]
    read_only: ClassVar[tuple[str, ...]] = ()
    takes: ClassVar[frozenset[str]] = frozenset({"file"})
    writes: ClassVar[bool] = True
    keeps_sources: ClassVar[bool] = False
    keeps_unsure: ClassVar[bool] = False
    advice: ClassVar[str] = ""
    two_states: ClassVar[bool] = False
    options: ClassVar[frozenset[str]] = frozenset()
    written_with: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def sniff(self, source: Source, options: ReadOptions) -> bool:
        """Whether the content looks like this format; asked where a suffix belongs to several, and of every folder.

        It is asked of hostile files too, and must neither fail nor take long.
        """

    @abstractmethod
    def read(self, source: Source, options: ReadOptions) -> Reading:
        """Read the labels.

        Raises:
            LabelError: they cannot be read; names file, line and column.
        """

    def write(self, table: LabelTable, path: Path, options: WriteOptions) -> None:
        """Write a table that has images and classes, whole or not at all. What `losses` names is lost, nothing else.

        Raises:
            LabelError: the table cannot be kept in this format; says why.
        """
        raise NotImplementedError

    def suggestions_alone(
        self, source: Source, options: ReadOptions, images: Sequence[str], suggested: Suggested
    ) -> tuple[str, tuple[str, ...]] | None:
        """Suggestions without labels, for the project that a file was exported from to take up beside what it has.

        Args:
            source: the exported file.
            options: how it was read.
            images: names of its images, in the order in which they first come.
            suggested: what is suggested of them.

        Returns:
            The text of a file, and what its owner should know, a sentence each; None where the format has no such
            form, or the file was not exported.

        Raises:
            LabelError: they cannot be taken up; says why.
        """
        return None

    def companions(self, path: Path) -> tuple[Path, ...]:
        """The files that are written beside a file of this name."""
        return ()

    def losses(self, table: LabelTable) -> Mapping[str, str]:
        """What of this table the format cannot hold: a word for `lose` (images, classes, order), and a phrase with
        counts that says what becomes of it. States are a matter of `two_states`.
        """
        return {}
