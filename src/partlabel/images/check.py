"""Finding every missing or unreadable image before training does."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, NamedTuple

from partlabel.errors import ImageError
from partlabel.images.decode import ImageTooLargeError, MissingImageError, decode
from partlabel.images.limits import DEFAULT_LIMITS, Limits
from partlabel.images.paths import image_root, resolve

# Names handed to the threads at a time: a million pending results would take a gigabyte.
_BATCH = 1024


class Problem(NamedTuple):
    """An image that cannot be used: its name in the table, one sentence, and what sort of trouble it is."""

    image: str
    reason: str
    kind: Literal["missing", "broken", "too large", "outside"]


def check_images(
    root: Path | str,
    names: Sequence[str],
    *,
    limits: Limits = DEFAULT_LIMITS,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Problem]:
    """Decode every image to its last byte and report those that fail, in the order of `names`.

    JPEGs are decoded at an eighth of their size, which reads and checks the same bytes in less time.

    Args:
        root: the image folder.
        names: names of images under it.
        limits: what an image may be.
        workers: threads; by default one a processor, at most eight.
        progress: called with (done, total) after each image, from the calling thread.

    Raises:
        ImageError: the image folder does not exist.
    """
    folder = image_root(root)
    problems: list[Problem] = []
    with ThreadPoolExecutor(workers or min(8, os.cpu_count() or 1)) as pool:
        for start in range(0, len(names), _BATCH):
            found = pool.map(lambda name: _problem(folder, name, limits), names[start : start + _BATCH])
            for done, problem in enumerate(found, start + 1):
                if problem is not None:
                    problems.append(problem)
                if progress is not None:
                    progress(done, len(names))
    return problems


def _problem(folder: Path, name: str, limits: Limits) -> Problem | None:
    try:
        path = resolve(folder, name)
    except ImageError as error:
        return Problem(name, str(error), "outside")
    try:
        decode(path, limits=limits, at_least=1)
    except MissingImageError as error:
        return Problem(name, str(error), "missing")
    except ImageTooLargeError as error:
        return Problem(name, str(error), "too large")
    except ImageError as error:
        return Problem(name, str(error), "broken")
    return None
