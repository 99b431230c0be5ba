"""`add-class`: a class that nobody looked for when the table was made, and what a trained run can say of it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from partlabel.errors import LabelError, UsageError
from partlabel.formats import write_table
from partlabel.formats.catalogue import written_format
from partlabel.labels import LabelTable, State
from partlabel.names import alike_across, names_alike, not_a_name, told_apart
from partlabel.opening import ReadArguments, Table, image_folder, open_table, refuse_to_overwrite
from partlabel.progress import SILENT, Reporter
from partlabel.recovery.ranking_file import Ranking, ranking, write_rankings
from partlabel.runs.folder import RunFolder
from partlabel.wording import amount, percent

if TYPE_CHECKING:  # they bring torch, which a new column does not need
    from partlabel.inference.new_class import NewClasses
    from partlabel.methods.tools.word_ridge import WordRidge
    from partlabel.models.extend import AddedRow

Run = Path | str | RunFolder


@dataclass(frozen=True)
class AddedClasses:
    """A table with new classes, and their queues.

    Args:
        table: with the new classes last.
        rankings: the images to ask about, of each class that was named, in their order; none without a run.
        written: the files and folders that were written.
    """

    table: LabelTable
    rankings: tuple[Ranking, ...] = ()
    written: tuple[Path, ...] = ()


def add_class(
    table: Table,
    names: Sequence[str],
    *,
    out: Path | str | None = None,
    run: Run | None = None,
    images: Path | str | None = None,
    label_vectors: str = "minilm",
    queue: Path | str | None = None,
    top: int = 200,
    model: Path | str | None = None,
    max_image_mb: float | None = None,
    reporter: Reporter = SILENT,
    read: ReadArguments | None = None,
) -> AddedClasses:
    """Add classes to a table, unknown in every image; all other cells stay as they are.

    With a run, images are ranked for them. A class of which the table knows a present image, as after a review, is
    fitted to its known cells; any other is told by its name alone, from what the run's classes look like and how alike
    the names are (`methods.tools.word_ridge`). Such a score ranks, and is no probability.

    Args:
        table: label table, the path of a label file, or `NAME:DIR` of a published data set; it is not changed.
        names: of the classes. With a run, a name may be there already, if the run does not know it.
        out: label file to write, with the new classes.
        run: a finished run whose head is one linear layer on pooled features.
        images: folder that the image names are relative to, of the table and of the run.
        label_vectors: where vectors of the names come from: `models.label_text.label_vectors` says which there are.
        queue: CSV file of the images to ask about, for `review`; by default beside `out`.
        top: how many images of each class the queue has, at most.
        model: folder to write the run's bundle to, with the new classes; logits of the others stay the same to the
            last bit. A class that is told by its name alone is never tagged by it.
        max_image_mb: most memory, in MB, that decoding one image may take; None: as in the run's training.
        reporter: where progress and findings go.
        read: how to read the label file.

    Raises:
        LabelError: the file cannot be read, or a name is there already, looks like one that is, or is none.
        UsageError: an argument cannot be used, a file to write is there, or the run cannot be given a class.
        RunError: the run is not finished, or none of its images is there.
        ImageError: an image cannot be read.
        StorageError: a file cannot be written.
    """
    queue = f"{out}.queue.csv" if queue is None and run is not None and out is not None else queue
    inputs = [table, *(one for one in ((read or {}).get("rename"), (read or {}).get("relations")) if one is not None)]
    if Path(label_vectors).is_file():
        inputs.append(label_vectors)
    _check_written(inputs, out, run, queue, model)
    if top < 1:
        raise UsageError(f"top {top} is below 1; give how many images of each class to ask about")
    labels, _ = open_table(table, reporter, read or {})
    wider = with_classes(labels, names, may_be_there=run is not None)
    written = tuple(Path(path) for path in (out, queue, model) if path is not None)
    if run is None:
        write_table(wider, written[0])
        return AddedClasses(wider, (), written)
    folder = run if isinstance(run, RunFolder) else RunFolder.open(run)
    _refuse_known(names, folder)
    from partlabel.inference.new_class import NewClasses

    root = Path(image_folder(images, table))
    asked = NewClasses.open(folder, wider, root, reporter, max_image_mb)
    rows = _rows(asked, names, label_vectors, reporter)
    rankings = tuple(ranking(wider, row.name, asked.scores(row), top) for row in rows)
    if out is not None:
        write_table(wider, out)
    if queue is not None:
        write_rankings(queue, rankings)
    if model is not None:
        _write_model(asked, rows, Path(model))
    return AddedClasses(wider, rankings, written)


def with_classes(table: LabelTable, names: Sequence[str], *, may_be_there: bool = False) -> LabelTable:
    """The table with further classes, unknown in every image.

    Args:
        table: the table.
        names: of the classes.
        may_be_there: whether a name of the table is left as it is, in place of refused.

    Raises:
        LabelError: a name is there already, looks like one that is, or is none.
    """
    if not names:
        raise UsageError("no class was named; give one name or more")
    for name in names:
        if name != name.strip() or not name or not_a_name(name):
            raise LabelError(f"{name!r} is no name of a class; give a word without white space around it")
    if len(set(names)) < len(names) or names_alike(names):
        raise LabelError(f"two of the names {', '.join(map(repr, names))} are one class; name it once")
    there = [name for name in names if name in table.class_positions]
    if there and not may_be_there:
        raise LabelError(
            f"class {there[0]!r} is in the table already; to rank images for it, give a run that does not know it "
            "(--run RUN)"
        )
    _refuse_alike(table.classes, names, "the table")
    new = [name for name in names if name not in table.class_positions]
    background = np.concatenate([table.background, np.full(len(new), State.UNKNOWN, np.int8)])
    return replace(table, classes=(*table.classes, *new), background=background)


def _refuse_alike(classes: Sequence[str], names: Sequence[str], whose: str) -> None:
    if pairs := alike_across(classes, names):
        mine, new = told_apart(*pairs[0])
        raise LabelError(
            f"class {new} looks like {mine} of {whose} and differs: take that name, or one that nobody confuses with it"
        )


def _refuse_known(names: Sequence[str], run: RunFolder) -> None:
    classes = run.labels().classes
    if known := [name for name in names if name in classes]:
        raise UsageError(f"{run.path} was trained on class {known[0]!r} already; leave it out")
    _refuse_alike(classes, names, f"the run {run.path}")


def _check_written(
    inputs: Sequence[Table], out: Path | str | None, run: Run | None, queue: Path | str | None, model: Path | str | None
) -> None:
    """Refuse what cannot be written, before anything is computed."""
    if run is None and (queue is not None or model is not None):
        raise UsageError("a queue and a model come from a trained run; name one (--run RUN)")
    if out is None and queue is None and model is None:
        raise UsageError(
            "nothing would be written; name a file for the table (--out), the queue (--queue) or the model"
        )
    files = [Path(path) for path in (out, queue) if path is not None]
    refuse_to_overwrite(files, *inputs)
    if out is not None:
        written_format(Path(out), None)
    folders = [Path(model).resolve()] if model is not None else []
    if len({*(path.resolve() for path in files), *folders}) < len(files) + len(folders):
        raise UsageError("two things would be written to one place; give each a name of its own")
    if run is not None:
        folders.append((run.path if isinstance(run, RunFolder) else Path(run)).resolve())
    for path in files:
        if inside := next((folder for folder in folders if folder in path.resolve().parents), None):
            raise UsageError(f"{path} is inside {inside}, which is a run or a model; name a file elsewhere")
    if queue is not None and Path(queue).exists():
        raise UsageError(f"{queue} is there already, and somebody may be reviewing it; name another file (--queue)")
    if model is not None and Path(model).exists() and (not Path(model).is_dir() or any(Path(model).iterdir())):
        raise UsageError(f"{model} is there already; name a new folder for the model (--model)")


def _rows(asked: "NewClasses", names: Sequence[str], source: str, reporter: Reporter) -> list["AddedRow"]:
    """The row of each class, in the order of the names."""
    counts = asked.table.counts_by_class()
    seen = {name: int(counts.present[asked.table.class_positions[name]]) for name in names}
    shown = [name for name in names if seen[name]]
    rows = {row.name: row for row in asked.by_labels(shown, reporter)} if shown else {}
    for name, row in rows.items():
        absent = int(counts.absent[asked.table.class_positions[name]])
        only = (
            ""
            if row.prior is None
            else "; it ranks, and no image is tagged by it until somebody has stated absent ones"
        )
        reporter.say(f"{name!r}: fitted to {seen[name]:,} present and {absent:,} absent cells{only}")
    by_name = [name for name in names if name not in rows]
    if by_name:
        rows |= {row.name: row for row in _by_words(asked, by_name, source, reporter)}
    return [rows[name] for name in names]


def _by_words(asked: "NewClasses", names: list[str], source: str, reporter: Reporter) -> list["AddedRow"]:
    from partlabel.models.label_text import label_vectors

    if source in {"learned", "auto"}:
        raise UsageError(
            f"label_vectors {source!r} may give no vectors for a new name; take minilm, or a file of words"
        )
    vectors = label_vectors(source, (*asked.labels.classes, *names))
    found = asked.by_words(names, vectors, reporter)
    reporter.say(vectors.origin)
    reporter.say(
        f"{amount(len(names), 'class', 'classes')} without a known present image, told by the name alone: a score "
        f"ranks and is no probability, and no image is tagged by it. {_trust(found.ridge)}"
    )
    return found.rows


def _trust(ridge: "WordRidge") -> str:
    """How far one may trust the names, as the run's own classes show it."""
    if math.isnan(ridge.left_out_mAP):
        return "Too little is known to say how good it is"
    return (
        f"Classes of the run, each left out, are ranked so with a mean average precision of "
        f"{percent(ridge.left_out_mAP)} (in random order {percent(ridge.chance)})"
    )


def _write_model(asked: "NewClasses", rows: list["AddedRow"], folder: Path) -> None:
    from partlabel.models.bundle import save_bundle
    from partlabel.models.extend import extended

    save_bundle(folder, *extended(asked.tagger, asked.info, rows))
