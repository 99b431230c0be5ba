"""`predict`: probabilities and tags of single pictures."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.csv
import pyarrow.parquet
import torch
from numpy.typing import NDArray

from partlabel.errors import PictureError, UsageError
from partlabel.files import atomic_path
from partlabel.images.check import check_pictures
from partlabel.models.bundle import BundleInfo, load_bundle
from partlabel.models.tagger import Tagger
from partlabel.progress import SILENT, Reporter
from partlabel.recovery.calibrate import Calibration
from partlabel.training.data import picture_source, view_settings
from partlabel.training.run_folder import RunFolder
from partlabel.training.scoring import score

_PICTURES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}


def predict(
    run: Path | str | RunFolder,
    pictures: Sequence[Path | str] | Path | str,
    *,
    out: Path | str | None = None,
    broken: str = "fail",
    reporter: Reporter = SILENT,
) -> pyarrow.Table:
    """Tag pictures.

    Args:
        run: a run, or a bundle (its `model` folder) copied anywhere.
        pictures: files, or folders that are searched for pictures.
        out: a .csv or .parquet file to write as well.
        broken: what to do about pictures that cannot be read: "fail" names them, "skip" leaves them out and says so.
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
    tagger, info = open_model(run)
    files = picture_files(pictures)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    top = Path.cwd().anchor
    files = readable_pictures(files, top, broken, reporter)
    names = [str(file.absolute().relative_to(top)) for file in files]
    source = picture_source(Path(top), names, ("plain",), view_settings(info.backbone), 0)
    with reporter.track("tagging pictures") as tick:
        logits = score(tagger.to(device), source, len(files), device=device, tick=tick)
    probability, predicted = judged(logits, info)
    table = pyarrow.table(
        {
            "image": np.repeat([str(file) for file in files], len(info.classes)),
            "class": np.tile(np.asarray(info.classes), len(files)),
            "probability": probability.ravel(),
            "logit": logits.ravel(),
            "predicted": predicted.ravel(),
        }
    )
    if out is not None:
        _write(table, out)
    return table


def open_model(run: Path | str | RunFolder) -> tuple[Tagger, BundleInfo]:
    """The tagger of a run, or of a bundle copied anywhere."""
    folder = run.path if isinstance(run, RunFolder) else Path(run)
    return load_bundle(folder / "model" if (folder / "model").is_dir() else folder)


def judged(logits: NDArray[np.float32], info: BundleInfo) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Of logits `[N, C]` the probabilities, and which classes are predicted."""
    wide = logits.astype(np.float64)
    probability = Calibration.from_json(info.calibration).probability(wide) if info.calibration else 1 / (1 + np.exp(-wide))
    thresholds = np.asarray(info.thresholds) if info.thresholds else np.zeros(len(info.classes))
    return probability, wide >= thresholds


def picture_files(pictures: Sequence[Path | str] | Path | str) -> list[Path]:
    """The files themselves, and the pictures below the folders.

    Raises:
        PictureError: a file or folder does not exist, or a folder holds no picture.
        UsageError: nothing was given.
    """
    files: list[Path] = []
    for given in map(Path, [pictures] if isinstance(pictures, Path | str) else pictures):
        if given.is_dir():
            found = sorted(path for path in given.rglob("*") if path.suffix.casefold() in _PICTURES)
            if not found:
                raise PictureError(f"no picture in folder {given}")
            files += found
        elif given.exists():
            files.append(given)
        else:
            raise PictureError(f"folder or picture {str(given)!r} does not exist")
    if not files:
        raise UsageError("no picture given")
    return files


def readable_pictures(files: list[Path], top: str, broken: str, reporter: Reporter) -> list[Path]:
    """The pictures that can be read, if the others are to be skipped.

    Raises:
        PictureError: one cannot be read and `broken` is "fail", or none can.
        UsageError: `broken` is neither "fail" nor "skip".
    """
    if broken not in {"fail", "skip"}:
        raise UsageError(f"broken {broken!r} is not 'fail' or 'skip'")
    with reporter.track("checking pictures") as tick:
        problems = check_pictures(top, [str(file.absolute().relative_to(top)) for file in files], progress=tick)
    if not problems:
        return files
    if broken == "fail" or len(problems) == len(files):
        shown = ", ".join(f"/{problem.image}" for problem in problems[:5]) + (", ..." if len(problems) > 5 else "")
        raise PictureError(
            f"{len(problems)} of {len(files)} pictures cannot be read: {shown}; leave them out with --broken skip"
        )
    for problem in problems:
        reporter.say(f"left out: {problem.reason}")
    bad = {problem.image for problem in problems}
    return [file for file in files if str(file.absolute().relative_to(top)) not in bad]


def _write(table: pyarrow.Table, out: Path) -> None:
    with atomic_path(out) as temporary:
        if out.suffix == ".parquet":
            pyarrow.parquet.write_table(table, temporary)
        else:
            pyarrow.csv.write_csv(table, temporary)
