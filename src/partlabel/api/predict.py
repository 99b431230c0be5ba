"""`predict`: probabilities and tags of single images."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.csv
import pyarrow.parquet
import torch
from numpy.typing import NDArray

from partlabel.errors import ImageError, UsageError
from partlabel.files import atomic_path
from partlabel.images.check import check_images
from partlabel.models.bundle import BundleInfo, load_bundle
from partlabel.models.tagger import Tagger
from partlabel.progress import SILENT, Reporter
from partlabel.recovery.calibrate import Calibration
from partlabel.runs.folder import RunFolder
from partlabel.training.data import image_source, view_settings
from partlabel.training.scoring import score

_IMAGES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}


def predict(
    run: Path | str | RunFolder,
    images: Sequence[Path | str] | Path | str,
    *,
    out: Path | str | None = None,
    broken: str = "fail",
    reporter: Reporter = SILENT,
) -> pyarrow.Table:
    """Tag images.

    Args:
        run: a run, or a bundle (its `model` folder) copied anywhere.
        images: files, or folders that are searched for images.
        out: a .csv or .parquet file to write as well.
        broken: what to do about images that cannot be read: "fail" names them, "skip" leaves them out and says so.
        reporter: where progress goes.

    Returns:
        Columns image, class, probability, logit and predicted, one row an image and class. The probability is
        calibrated where the run held out cells of both signs; predicted compares the logit with the threshold set on
        those cells, else with 0.

    Raises:
        ImageError: no such image, or one cannot be read.
    """
    out = None if out is None else Path(out)
    if out is not None and out.suffix not in {".csv", ".parquet"}:
        raise UsageError(f"{out}: the name must end in .csv or .parquet")
    tagger, info = open_model(run)
    files = image_files(images)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    top = Path.cwd().anchor
    files = readable_images(files, top, broken, reporter)
    names = [str(file.absolute().relative_to(top)) for file in files]
    source = image_source(Path(top), names, ("plain",), view_settings(info.backbone), 0)
    with reporter.track("tagging images") as tick:
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
    probability = (
        Calibration.from_json(info.calibration).probability(wide) if info.calibration else 1 / (1 + np.exp(-wide))
    )
    thresholds = np.asarray(info.thresholds) if info.thresholds else np.zeros(len(info.classes))
    return probability, wide >= thresholds


def image_files(images: Sequence[Path | str] | Path | str) -> list[Path]:
    """The files themselves, and the images below the folders.

    Raises:
        ImageError: a file or folder does not exist, or a folder holds no image.
        UsageError: nothing was given.
    """
    files: list[Path] = []
    for given in map(Path, [images] if isinstance(images, Path | str) else images):
        if given.is_dir():
            found = sorted(path for path in given.rglob("*") if path.suffix.casefold() in _IMAGES)
            if not found:
                raise ImageError(f"no image in folder {given}")
            files += found
        elif given.exists():
            files.append(given)
        else:
            raise ImageError(f"folder or image {str(given)!r} does not exist")
    if not files:
        raise UsageError("no image given")
    return files


def readable_images(files: list[Path], top: str, broken: str, reporter: Reporter) -> list[Path]:
    """The images that can be read, if the others are to be skipped.

    Raises:
        ImageError: one cannot be read and `broken` is "fail", or none can.
        UsageError: `broken` is neither "fail" nor "skip".
    """
    if broken not in {"fail", "skip"}:
        raise UsageError(f"broken {broken!r} is not 'fail' or 'skip'")
    with reporter.track("checking images") as tick:
        problems = check_images(top, [str(file.absolute().relative_to(top)) for file in files], progress=tick)
    if not problems:
        return files
    if broken == "fail" or len(problems) == len(files):
        shown = ", ".join(f"/{problem.image}" for problem in problems[:5]) + (", ..." if len(problems) > 5 else "")
        raise ImageError(
            f"{len(problems)} of {len(files)} images cannot be read: {shown}; leave them out with --broken skip"
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
