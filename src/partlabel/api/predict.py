"""`predict`: probabilities and tags of single images."""

from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.csv
import pyarrow.parquet

from partlabel.errors import UsageError
from partlabel.files import atomic_path
from partlabel.formats.text import formula_safe
from partlabel.inference.decisions import decide, refuse_not_finite
from partlabel.inference.images import Paths, below_top, image_files, image_limits, readable_images
from partlabel.inference.model import any_device, open_model
from partlabel.models.encoders.base import view_settings
from partlabel.progress import SILENT, Reporter
from partlabel.runs.folder import RunFolder
from partlabel.training.data import image_source
from partlabel.training.scoring import score
from partlabel.training.threads import free_threads
from partlabel.wording import readable_name


def predict(
    run: Path | str | RunFolder,
    images: Paths,
    *,
    out: Path | str | None = None,
    broken: str = "fail",
    max_image_mb: float | None = None,
    reporter: Reporter = SILENT,
) -> pyarrow.Table:
    """Tag images.

    The model is loaded at each call; many images in one call are much quicker than many calls. In a process that was
    forked after a first call, one thread is used.

    Args:
        run: a run, or a bundle (its `model` folder) copied anywhere.
        images: files, or folders that are searched for images.
        out: a .csv or .parquet file to write as well.
        broken: what to do about images that cannot be read: "fail" names them, "skip" leaves them out and reports them.
        max_image_mb: most memory, in MB, that decoding one image may take; None: as in the run's training.
        reporter: where progress goes.

    Returns:
        Columns image, class, probability, logit and predicted, one row per image and class. The probability is
        calibrated where the run held out cells of both signs; predicted compares the logit with the threshold set on
        those cells, else with 0.

    Raises:
        ImageError: no such image, or one cannot be read.
        NotFiniteError: the model's weights are damaged.
    """
    out = None if out is None else Path(out)
    if out is not None and out.suffix.casefold() not in {".csv", ".parquet"}:
        raise UsageError(f"{out}: the name must end in .csv or .parquet")
    limits = image_limits(run, max_image_mb)
    files = image_files(images, reporter)
    tagger, info = open_model(run)
    files = readable_images(files, broken, reporter, limits)
    device = any_device()
    top, names = below_top(files)
    source = image_source(top, names, ("plain",), view_settings(info.backbone), 0, limits)
    with free_threads(), reporter.track("tagging images") as tick:
        logits = score(tagger.to(device), source, len(files), device=device, tick=tick)
    refuse_not_finite(logits, files)
    decisions = decide(logits, info.thresholds, info.calibration)
    table = pyarrow.table(
        {
            "image": np.repeat([readable_name(file) for file in files], len(info.classes)),
            "class": np.tile(np.asarray(info.classes), len(files)),
            "probability": decisions.probability.ravel(),
            "logit": logits.ravel(),
            "predicted": decisions.predicted.ravel(),
        }
    )
    if out is not None:
        _write(table, out)
    return table


def _write(table: pyarrow.Table, out: Path) -> None:
    with atomic_path(out) as temporary:
        if out.suffix.casefold() == ".parquet":
            pyarrow.parquet.write_table(table, temporary)
        else:
            for column, name in enumerate(table.column_names[:2]):
                distinct = table[name].combine_chunks().dictionary_encode()
                safe = pyarrow.array([formula_safe(text) for text in distinct.dictionary.to_pylist()])
                table = table.set_column(column, name, safe.take(distinct.indices))
            pyarrow.csv.write_csv(table, temporary)
