"""States of image files in label tables, whose names are relative to a folder."""

import os
import posixpath
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from partlabel.errors import LabelError, UsageError
from partlabel.images.paths import image_root
from partlabel.labels import Int8Array, LabelTable, State
from partlabel.opening import ReadArguments, Table, open_table, published_root
from partlabel.progress import Reporter
from partlabel.runs.folder import RunFolder
from partlabel.wording import readable_name


class FileStates:
    """States of image files in a label table; files are found by their place under a folder.

    Args:
        table: the labels.
        root: the folder that its image names are relative to.
        classes: C class names, in the order wanted.
    """

    def __init__(self, table: LabelTable, root: Path, classes: Sequence[str]) -> None:
        self.table, self.root = table, root
        self.rows = {_plain(name): row for row, name in enumerate(table.images)}
        columns = np.asarray([table.class_positions.get(name, -1) for name in classes])
        self.shared, self.columns = columns >= 0, columns[columns >= 0]

    def row(self, file: Path) -> int | None:
        """Row of a file; None if the table lacks it."""
        for of in (os.path.abspath, os.path.realpath):
            found = self.rows.get(_plain(os.path.relpath(of(file), of(self.root))))
            if found is not None:
                return found
        return None

    def __call__(self, file: Path) -> Int8Array | None:
        """States, int8 `[C]`, unknown where the table lacks the class; None if it lacks the image."""
        row = self.row(file)
        if row is None:
            return None
        states = np.full(self.shared.size, State.UNKNOWN, np.int8)
        states[self.shared] = self.table.rows([row])[0, self.columns]
        return states


def given_labels(
    run: Path | str | RunFolder,
    table: Table | None,
    truth: Table | None,
    images: Path | str | None,
    classes: tuple[str, ...],
    files: Sequence[Path],
    reporter: Reporter,
    read: ReadArguments,
) -> tuple[FileStates | None, FileStates | None]:
    """What training knew and what is true, as far as they are given; the run's own labels if there is no other table.

    Raises:
        UsageError: labels are given, but nothing tells which folder their names are relative to.
        LabelError: table or truth has none of the files, or none of the classes.
    """
    path = run.path if isinstance(run, RunFolder) else Path(run)
    folder = RunFolder.open(path) if (path / "run.json").is_file() else None
    trained_on = None if folder is None else Path(folder.inputs["images"])
    root = trained_on if images is None else image_root(images)
    states: list[FileStates | None] = []
    both = table is not None and truth is not None
    for given, what in ((table, "the table"), (truth, "the truth")):
        if given is None:
            states.append(None)
            continue
        of_names = published_root(given) if images is None else root
        of_names = of_names or root
        if of_names is None:
            raise UsageError(
                "a model folder does not tell where its images were; give the folder of the label names with --images"
            )
        found = FileStates(open_table(given, reporter, read, shared=both)[0], of_names, classes)
        _check_covered(found, what, files, reporter)
        states.append(found)
    if table is None and folder is not None and trained_on is not None and folder.labels_path.is_file():
        moved_to = None if trained_on.is_dir() else root  # then --images tells where the training images are now
        states[0] = FileStates(folder.labels(), moved_to or trained_on, classes)
    return states[0], states[1]


def _check_covered(states: FileStates, what: str, files: Sequence[Path], reporter: Reporter) -> None:
    if not states.columns.size:
        raise LabelError(f"{what} has none of the classes of the model; give labels of the same classes")
    missing = [file for file in files if states.row(file) is None]
    if len(missing) == len(files):
        raise LabelError(
            f"{what} has none of the {len(files)} images, first: {readable_name(missing[0])}; give labels that hold "
            f"some of them, or, if its names are not relative to {states.root}, the right folder with --images"
        )
    if missing:
        reporter.say(f"{len(missing)} of {len(files)} images are not in {what}, first: {readable_name(missing[0])}")


def _plain(name: str) -> str:
    return posixpath.normpath(name.replace("\\", "/"))
