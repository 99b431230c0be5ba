"""Where in a picture a model sees a class, drawn over the picture."""

import io
from pathlib import Path
from typing import Any

from partlabel.errors import UsageError
from partlabel.images.limits import DEFAULT_LIMITS, Limits
from partlabel.images.paths import resolve


class Evidence:
    """Maps of a run, over the pictures below a folder. The model is opened, and torch imported, when first asked, by
    one thread at a time.

    Args:
        run: a run, or a bundle copied anywhere.
        root: the image folder.
        limits: what a picture may be.
    """

    def __init__(self, run: Path, root: Path, limits: Limits = DEFAULT_LIMITS) -> None:
        self.run, self.root, self.limits = run, root, limits
        self._drawer: Any = None

    def overlay(self, image: str, class_name: str) -> bytes:
        """A PNG of the picture with the map of a class over it.

        Raises:
            UsageError: the model has no such class.
            ImageError: the picture cannot be read.
            RunError: the run cannot be opened.
        """
        path = resolve(self.root, image)
        if self._drawer is None:
            from partlabel.inference.class_overlay import ClassOverlay

            self._drawer = ClassOverlay.open(self.run, self.limits)
        if class_name not in self._drawer.info.classes:
            raise UsageError(f"the model of {self.run} has no class {class_name!r}, so that it has no map of it")
        drawn = self._drawer(path, class_name)
        stream = io.BytesIO()
        drawn.save(stream, "PNG", compress_level=1)
        return stream.getvalue()
