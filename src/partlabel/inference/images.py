"""The images that a model is asked about: files and folders, checked before the model sees one."""

from collections.abc import Sequence
from pathlib import Path

from partlabel.errors import ImageError, UsageError
from partlabel.images.check import check_images
from partlabel.progress import Reporter
from partlabel.wording import amount

Paths = Sequence[Path | str] | Path | str

_IMAGES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}


def image_files(images: Paths) -> list[Path]:
    """The files themselves, and the images below the folders.

    Raises:
        ImageError: a file or folder does not exist, or a folder holds no image.
        UsageError: nothing was given, or something that is no path.
    """
    files: list[Path] = []
    for given in map(_path, [images] if isinstance(images, Path | str) or not isinstance(images, Sequence) else images):
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


def readable_images(files: list[Path], broken: str, reporter: Reporter) -> list[Path]:
    """The images that can be read, if the others are to be skipped.

    Raises:
        ImageError: one cannot be read and `broken` is "fail", or none can.
        UsageError: `broken` is neither "fail" nor "skip".
    """
    if broken not in {"fail", "skip"}:
        raise UsageError(f"broken {broken!r} is not 'fail' or 'skip'")
    top, names = below_top(files)
    with reporter.track("checking images") as tick:
        problems = check_images(top, names, progress=tick)
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


def below_top(files: Sequence[Path]) -> tuple[Path, list[str]]:
    """The top of the file system, and the names of files relative to it: what datasets take."""
    top = Path(Path.cwd().anchor)
    return top, [str(file.absolute().relative_to(top)) for file in files]


def _path(given: object) -> Path:
    if isinstance(given, str) and "://" in given:
        raise UsageError(f"{given!r} is an address, and nothing is downloaded; give a file or folder")
    if isinstance(given, str | Path):
        return Path(given)
    raise UsageError(f"an image is given by its path, not as {type(given).__name__}; save it to a file first")
