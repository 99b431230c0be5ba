"""`predict`: probabilities and tags of single pictures."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.csv
import pyarrow.parquet
import torch

from partlabel.errors import PictureError, UsageError
from partlabel.files import atomic_path
from partlabel.models.bundle import load_bundle
from partlabel.progress import SILENT, Reporter
from partlabel.recovery.calibrate import Calibration
from partlabel.training.data import picture_source, view_settings
from partlabel.training.scoring import score

_PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}


def predict(
    run: Path | str, pictures: Sequence[Path | str], *, out: Path | str | None = None, reporter: Reporter = SILENT
) -> pyarrow.Table:
    """Tag pictures.

    Args:
        run: a run folder, or a bundle (its `model` folder) copied anywhere.
        pictures: files, or folders that are searched for pictures.
        out: a .csv or .parquet file to write as well.
        reporter: where progress goes.

    Returns:
        Columns image, class, probability, logit and predicted, one row a picture and class. The probability is calibrated
        where the run held out cells of both signs; predicted compares the logit with the threshold set on those cells, else
        with 0.

    Raises:
        PictureError: no such picture, or one cannot be read.
    """
    out = None if out is None else Path(out)
    if out is not None and out.suffix not in {".csv", ".parquet"}:
        raise UsageError(f"{out}: the name must end in .csv or .parquet")
    folder = Path(run)
    tagger, info = load_bundle(folder / "model" if (folder / "model").is_dir() else folder)
    files = _expand(pictures)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    top = Path.cwd().anchor
    names = [str(file.absolute().relative_to(top)) for file in files]
    source = picture_source(Path(top), names, ("plain",), view_settings(info.backbone), 0)
    with reporter.track("tagging pictures") as tick:
        logits = score(tagger.to(device), source, len(files), device=device, tick=tick)
    wide = logits.astype(np.float64)
    probability = Calibration.from_json(info.calibration).probability(wide) if info.calibration else 1 / (1 + np.exp(-wide))
    thresholds = np.asarray(info.thresholds) if info.thresholds else np.zeros(len(info.classes))
    table = pyarrow.table(
        {
            "image": np.repeat([str(file) for file in files], len(info.classes)),
            "class": np.tile(np.asarray(info.classes), len(files)),
            "probability": probability.ravel(),
            "logit": logits.ravel(),
            "predicted": (wide >= thresholds).ravel(),
        }
    )
    if out is not None:
        _write(table, out)
    return table


def _expand(pictures: Sequence[Path | str]) -> list[Path]:
    files: list[Path] = []
    for given in map(Path, pictures):
        if given.is_dir():
            found = sorted(path for path in given.rglob("*") if path.suffix.casefold() in _PICTURES)
            if not found:
                raise PictureError(f"no picture in folder {given}")
            files += found
        else:
            files.append(given)
    if not files:
        raise UsageError("no picture given")
    return files


def _write(table: pyarrow.Table, out: Path) -> None:
    with atomic_path(out) as temporary:
        if out.suffix == ".parquet":
            pyarrow.parquet.write_table(table, temporary)
        else:
            pyarrow.csv.write_csv(table, temporary)
