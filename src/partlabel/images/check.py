"""Finding every missing or unreadable image before training does."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, NamedTuple, cast

from partlabel.errors import ImageError
from partlabel.images.decode import Decoded, ImageTooLargeError, MissingImageError, decode_with_depth
from partlabel.images.limits import DEFAULT_LIMITS, Limits
from partlabel.images.paths import LinkedOutError, image_root, resolve
from partlabel.wording import amount

# Names handed to the threads at a time: a million pending results would take a gigabyte.
_BATCH = 1024
_QUARTER = 64


class Problem(NamedTuple):
    """An image that cannot be used: its name in the table, one sentence, and what sort of trouble it is.

    Both "outside" and "linked" lead out of the image folder: by the name itself, or by a link inside the folder.
    """

    image: str
    reason: str
    kind: Literal["missing", "broken", "too large", "outside", "linked"]


class Depth(NamedTuple):
    """How many images have 16 bits per channel, and the largest value in any of them, scaled to 0..255."""

    images: int = 0
    largest: int = 0

    @classmethod
    def of(cls, decoded: Decoded) -> "Depth":
        """Of one image."""
        if not decoded.from_16_bit:
            return cls()
        extremes = cast(tuple[tuple[int, int], ...], decoded.image.getextrema())
        return cls(1, max(high for _, high in extremes))

    def and_of(self, other: "Depth") -> "Depth":
        """Of the images of both."""
        return Depth(self.images + other.images, max(self.largest, other.largest))

    @property
    def trouble(self) -> str | None:
        """One sentence if 16 bits are announced and fewer are used, as 12-bit cameras and satellites do."""
        if not self.images or self.largest >= _QUARTER:
            return None
        verb = "uses" if self.images == 1 else "use"
        return (
            f"{amount(self.images, 'image')} of 16 bits per channel {verb} less than a "
            f"quarter of the range: no value is above {(self.largest + 1) * 257:,} of 65,535, and a network sees them "
            f"nearly black; if they hold 12 bits, multiply their values by 16 and save them again"
        )


def check_images(
    root: Path | str,
    names: Sequence[str],
    *,
    limits: Limits = DEFAULT_LIMITS,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> list[Problem]:
    """Decode every image to its last byte and report those that fail, in the order of `names`.

    JPEGs are decoded at an eighth of their size, which reads and checks the same bytes in less time.

    Args:
        root: the image folder.
        names: names of images under it.
        limits: what an image may be.
        workers: threads; by default one a processor, at most eight.
        progress: called with (done, total) after each image, from the calling thread.
        say: called once with a sentence if 16-bit images use a small part of their range.

    Raises:
        ImageError: the image folder does not exist.
    """
    folder = image_root(root)
    problems: list[Problem] = []
    depth = Depth()
    with ThreadPoolExecutor(workers or min(8, os.cpu_count() or 1)) as pool:
        for start in range(0, len(names), _BATCH):
            found = pool.map(lambda name: _checked(folder, name, limits), names[start : start + _BATCH])
            for done, (problem, of_image) in enumerate(found, start + 1):
                if problem is not None:
                    problems.append(problem)
                depth = depth.and_of(of_image)
                if progress is not None:
                    progress(done, len(names))
    if say is not None and depth.trouble:
        say(depth.trouble)
    return problems


def _checked(folder: Path, name: str, limits: Limits) -> tuple[Problem | None, Depth]:
    try:
        path = resolve(folder, name)
    except LinkedOutError as error:
        return Problem(name, str(error), "linked"), Depth()
    except ImageError as error:
        return Problem(name, str(error), "outside"), Depth()
    try:
        return None, Depth.of(decode_with_depth(path, limits=limits, at_least=1))
    except MissingImageError as error:
        return Problem(name, str(error), "missing"), Depth()
    except ImageTooLargeError as error:
        return Problem(name, str(error), "too large"), Depth()
    except ImageError as error:
        return Problem(name, str(error), "broken"), Depth()
