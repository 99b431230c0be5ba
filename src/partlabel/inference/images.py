"""The images that a model is asked about: files and folders, checked before the model sees one."""

import os
from collections.abc import Sequence
from pathlib import Path

from partlabel.errors import ImageError, PartlabelError, UsageError
from partlabel.images import kinds
from partlabel.images.check import check_images
from partlabel.images.limits import DEFAULT_LIMITS, Limits, limits_of
from partlabel.progress import SILENT, Reporter
from partlabel.runs.folder import RunFolder
from partlabel.wording import amount

Paths = Sequence[Path | str] | Path | str


def image_files(images: Paths, reporter: Reporter = SILENT) -> list[Path]:
    """The files themselves, and the images below the folders; what of a folder is left out is reported.

    Raises:
        ImageError: a file or folder does not exist, or a folder holds no image.
        UsageError: nothing was given, or something that is no path.
    """
    files: list[Path] = []
    for given in map(_path, [images] if isinstance(images, Path | str) or not isinstance(images, Sequence) else images):
        if given.is_dir():
            found, left_out = kinds.image_files(given)
            if not found:
                holds = f"; it holds {kinds.others(left_out)}" if left_out else ""
                raise ImageError(f"no image in folder {str(given)!r}{holds}")
            if left_out:
                reporter.say(f"{amount(len(found), 'image')} in {given}; left out: {kinds.others(left_out)}")
            files += [given / name for name in found]
        elif given.exists():
            files.append(given)
        else:
            raise ImageError(f"folder or image {str(given)!r} does not exist")
    if not files:
        raise UsageError("no image given")
    return files


def readable_images(files: list[Path], broken: str, reporter: Reporter, limits: Limits = DEFAULT_LIMITS) -> list[Path]:
    """The images that can be read, if the others are to be skipped.

    Raises:
        ImageError: one cannot be read and `broken` is "fail", or none can.
        UsageError: `broken` is neither "fail" nor "skip".
    """
    if broken not in {"fail", "skip"}:
        raise UsageError(f"broken {broken!r} is not 'fail' or 'skip'")
    top, names = below_top(files)
    with reporter.track("checking images") as tick:
        problems = check_images(top, names, limits=limits, progress=tick, say=reporter.say)
    if not problems:
        return files
    reasons = "; ".join(problem.reason for problem in problems[:3]) + ("; ..." if len(problems) > 3 else "")
    if len(problems) == len(files):
        raise ImageError(f"none of the {amount(len(files), 'image')} can be read: {reasons}")
    if broken == "fail":
        raise ImageError(
            f"{len(problems)} of {len(files)} images cannot be read: {reasons}; leave them out with --broken skip"
        )
    for problem in problems:
        reporter.say(f"left out: {problem.reason}")
    bad = {problem.image for problem in problems}
    return [file for file, name in zip(files, names, strict=True) if name not in bad]


def image_limits(run: Path | str | RunFolder, max_image_mb: float | None) -> Limits:
    """What an image may be: as given, else as the run was trained, else the default.

    Raises:
        UsageError: `max_image_mb` is no positive number.
    """
    if max_image_mb is not None:
        return limits_of(max_image_mb)
    folder = run if isinstance(run, RunFolder) else RunFolder(run)
    try:
        return limits_of(folder.settings.max_image_mb)
    except (OSError, PartlabelError, ValueError):  # a bundle alone, or beside damaged settings, which it does not need
        return DEFAULT_LIMITS


def below_top(files: Sequence[Path]) -> tuple[Path, list[str]]:
    """The top of the file system, and the names of files relative to it: what datasets take.

    Links among the folders are followed first, so that `link/../a.jpg` is what the system takes it for.
    """
    top = Path(Path.cwd().anchor)
    return top, [os.path.relpath(os.path.join(os.path.realpath(file.parent), file.name), top) for file in files]


def _path(given: object) -> Path:
    if isinstance(given, str) and "://" in given:
        raise UsageError(f"{given!r} is an address, and nothing is downloaded; give a file or folder")
    if isinstance(given, str | Path):
        return Path(given)
    raise UsageError(f"an image is given by its path, not as {type(given).__name__}; save it to a file first")
