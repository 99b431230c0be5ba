"""What a label format is, and a label file that is about to be read."""

from abc import ABC, abstractmethod
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal

from partlabel.formats.header import Columns, columns_of, refuse_other_separators
from partlabel.formats.options import ReadOptions
from partlabel.formats.reading import Reading, WriteOptions
from partlabel.formats.text import TextFile, cell_name, examine, records
from partlabel.labels import LabelTable


class Source:
    """A file or folder of labels. What formats look at to know their own is read once, and shared.

    Args:
        path: the file or folder; it is there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.suffix = path.suffix.casefold()

    @cached_property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return self.path.is_dir()

    @cached_property
    def text(self) -> TextFile:
        """The encoding of the file, every byte of which is checked.

        Raises:
            LabelError: the file is no text.
        """
        return examine(self.path)

    def columns(self, options: ReadOptions) -> Columns:
        """The columns of a CSV.

        Raises:
            LabelError: the file is no text, its columns are not separated by commas, or it lacks columns of `where` or
                `ignore`.
        """
        refuse_other_separators(self.path, self._header, unless_comma=options.format is not None)
        return columns_of(self.path, self._header, options.where, options.ignore)

    @cached_property
    def _header(self) -> list[str]:
        return [cell_name(name.strip()) for name in next(records(self.text))[1]]


class Format(ABC):
    """A label format. Its instances stand in `partlabel.formats.FORMATS`.

    Attributes:
        name: the key in `FORMATS`.
        suffixes: endings of names, in lower case; one ending may belong to several formats.
        takes: whether the labels are in one file or in a folder.
        options: the read options that it uses beyond those that all formats use.
        written_with: the options of `write_table` that it uses.
    """

    name: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]]
    takes: ClassVar[Literal["file", "folder"]] = "file"
    options: ClassVar[frozenset[str]] = frozenset()
    written_with: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def sniff(self, source: Source, options: ReadOptions) -> bool:
        """Whether the content looks like this format; asked where a suffix belongs to several."""

    @abstractmethod
    def read(self, source: Source, options: ReadOptions) -> Reading:
        """Read the labels.

        Raises:
            LabelError: they cannot be read; names file, line and column.
        """

    @abstractmethod
    def write(self, table: LabelTable, path: Path, options: WriteOptions) -> None:
        """Write a table that has images and classes, whole or not at all.

        Raises:
            LabelError: the table cannot be kept in this format; says why.
        """
