"""Data of a grid: complete training labels, test labels, their images, and the masked tables made of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np

from partlabel.datasets.digit_scenes import write_scenes
from partlabel.errors import LabelError, RunError
from partlabel.files import write_json
from partlabel.formats import ReadOptions, read_written, write_table
from partlabel.grids.cell import digest, read_record
from partlabel.grids.claims import Claims
from partlabel.grids.schema import DigitScenes, LabelFiles, Masking
from partlabel.labels import LabelTable
from partlabel.opening import ReadArguments, located, open_table, published_root
from partlabel.progress import SILENT, Reporter
from partlabel.version import __version__


class Loaded(NamedTuple):
    """Data ready to be masked.

    Args:
        images: the folder that image names are relative to.
        train: training labels before masking.
        test: test labels, with the same classes in the same order and none of the same images.
        all_classes: number of classes before `min_present` chose among them.
        min_present: fewest known present training cells of a class.
    """

    images: Path
    train: LabelTable
    test: LabelTable
    all_classes: int
    min_present: int


def load(entry: LabelFiles | DigitScenes, base: Path, out: Path, reporter: Reporter) -> Loaded:
    """Read the labels of one entry of a grid, or make its built-in data.

    Args:
        entry: the entry.
        base: folder that paths of the entry are relative to.
        out: where built-in data go.
        reporter: where progress goes.

    Raises:
        LabelError: the labels cannot be read, train and test do not fit together, or no class is left.
    """
    images, train, test = (
        _from_files(entry, base, reporter) if isinstance(entry, LabelFiles) else _scenes(entry, out, reporter)
    )
    if differing := set(train.classes) ^ set(test.classes):
        name = min(differing)
        lacking = "test" if name in train.class_positions else "training"
        raise LabelError(
            f"the {lacking} labels lack class {name!r}; list `classes` so that training and test labels agree"
        )
    if shared := train.image_positions.keys() & test.image_positions.keys():
        raise LabelError(f"{len(shared)} image(s) are in the training and in the test labels, first: {min(shared)!r}")
    kept = np.flatnonzero(train.counts_by_class().present >= entry.min_present)
    if not kept.size:
        raise LabelError(f"no class has {entry.min_present} known present training cells; lower min_present")
    names = [train.classes[column] for column in kept]
    train, test, every = train.select_classes(names), test.select_classes(names), len(train.classes)
    counts = test.counts_by_class()
    if not ((counts.present > 0) & (counts.absent > 0)).any():
        raise LabelError(
            "no class has a known present and a known absent cell in the test labels, so methods cannot be compared on "
            "them; if what they do not list is absent, declare it with `unlisted`"
        )
    return Loaded(images, train, test, every, entry.min_present)


def masked_path(complete: LabelTable, masking: Masking, seed: int, stem: Path) -> Path:
    """File of the table that a masking makes of a complete one: `stem`, what identifies the table, and .parquet."""
    what = digest({"input": complete.hash, "masking": masking.name, "settings": masking.settings, "seed": seed})
    return stem.with_name(f"{stem.name}--{what[:8]}.parquet")


def make_masked(
    complete: LabelTable, masking: Masking, seed: int, path: Path, hide: Callable[..., LabelTable], reporter: Reporter
) -> None:
    """Make the masked table, or check the one that is there.

    Args:
        complete: what to hide cells of.
        masking: how.
        seed: of the draw.
        path: what `masked_path` says.
        hide: `partlabel.api.hide.hide`.
        reporter: where progress goes.

    Raises:
        PartlabelError: the masking does not fit the table or its settings.
        RunError: the file is not what was written.
    """
    record = Path(f"{path}.json")
    written = read_record(record).get("output_hash")
    if not path.is_file() or written is None:
        hide(complete, masking=masking.name, out=path, seed=seed, reporter=reporter, **masking.settings)
    elif read_written(path).hash != written:
        raise RunError(f"{path} is not the table that {record} describes; delete both, and they are made again")


def lacking(table: LabelTable) -> str:
    """Which known cells a table has none of, in words; empty if it has both signs."""
    counts = table.counts_by_class()
    signs = [sign for sign, count in (("present", counts.present), ("absent", counts.absent)) if not count.any()]
    return f"known {' and '.join(signs)} cells" if signs else ""


def _from_files(entry: LabelFiles, base: Path, reporter: Reporter) -> tuple[Path, LabelTable, LabelTable]:
    read: dict[str, Any] = entry.model_dump(include=set(ReadOptions.model_fields))

    def table(file: str, where: dict[str, str]) -> LabelTable:
        arguments = cast(ReadArguments, {**read, "where": {**entry.where, **where}})
        told = SILENT if published_root(file) is None else reporter
        return open_table(file, told, arguments, shared=True)[0]

    train, test = located(entry.train, base), located(entry.test, base)
    return _images(entry, base, train, test), table(train, entry.where_train), table(test, entry.where_test)


def _images(entry: LabelFiles, base: Path, *tables: str) -> Path:
    """The folder as the entry names it, or the one that both data sets have."""
    if entry.images is not None:
        return base / entry.images
    roots = {published_root(table) for table in tables}
    if len(roots) > 1 or None in roots:
        raise LabelError(
            f"{' and '.join(tables)} have no image folder in common; say `images`, the folder that the image names are "
            "relative to"
        )
    return cast(Path, roots.pop())


def _scenes(entry: DigitScenes, out: Path, reporter: Reporter) -> tuple[Path, LabelTable, LabelTable]:
    """Scenes, composed again only if those there are others; `made.json` is written last."""
    wanted = {**entry.model_dump(exclude={"min_present"}), "partlabel": __version__}
    made, train, test = out / "made.json", out / "train.parquet", out / "test.parquet"
    if read_record(made) != wanted:
        with Claims().in_turn(out, "composes scenes", reporter):
            if read_record(made) != wanted:
                made.unlink(missing_ok=True)
                with reporter.track("composing scenes") as tick:
                    scenes = write_scenes(
                        out, train=entry.train, test=entry.test, size=entry.size, seed=entry.seed, progress=tick
                    )
                write_table(scenes.train, train)
                write_table(scenes.test, test)
                write_json(made, wanted)
    return out / "images", read_written(train), read_written(test)
