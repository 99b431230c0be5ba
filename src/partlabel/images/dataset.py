"""Images as a torch dataset: (epoch, index) in, the wanted views out, the same bits in any worker."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypedDict, overload

import pyarrow
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from partlabel.errors import ImageError
from partlabel.images.decode import decode
from partlabel.images.limits import DEFAULT_LIMITS, Limits
from partlabel.images.paths import image_root, resolve
from partlabel.images.randomness import item_randomness
from partlabel.images.views import ViewSettings, build_view


class Sample(TypedDict):
    """One image; torch's default collation makes of several the same with a batch axis, `index` as int64 `[B]`."""

    views: dict[str, Float[Tensor, "3 h w"]]
    index: int


class UnreadableImageError(ImageError):
    """An image that failed while training.

    A DataLoader rebuilds a worker's exception from a text that ends with the worker's traceback; this one keeps of it
    the sentence, which is the last line.
    """

    def __init__(self, message: str) -> None:
        last_line = message.rstrip("\n").rpartition("\n")[2]
        super().__init__(last_line.partition(f"{type(self).__name__}: ")[2] if last_line != message else message)


class SharedNames(Sequence[str]):
    """Names in one buffer, which forked workers share; every worker would come to own a copy of Python's texts, because
    reading one writes its count of references.
    """

    def __init__(self, names: Iterable[str]) -> None:
        # Bytes, because a file's name may be no text that Arrow takes.
        encoded = [name.encode("utf-8", "surrogatepass") for name in names]
        self._names = pyarrow.array(encoded, pyarrow.large_binary())

    def __len__(self) -> int:
        return len(self._names)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        """One name, or several as a tuple."""
        if isinstance(index, slice):
            return tuple(self[row] for row in range(*index.indices(len(self))))
        name: bytes = self._names[int(index)].as_py()
        return name.decode("utf-8", "surrogatepass")


class ImageDataset(Dataset[Sample]):
    """The images of a table, each as the wanted views.

    An item is asked for by (epoch, index), because the draws of a view follow from (seed, epoch, name of the image,
    kind of view) alone. Where fixed strong views are cached, the number k of the view takes the place of the epoch.

    Args:
        root: the image folder.
        names: names of the images under it, in the order of the table's rows.
        views: kinds of views, from `VIEW_KINDS`.
        settings: size, normalisation and augmentation.
        seed: seed of the run.
        limits: what an image file may be.

    Raises:
        ImageError: the image folder does not exist.
        UsageError: there is no such kind of view.
    """

    def __init__(
        self,
        root: Path | str,
        names: Sequence[str],
        views: Sequence[str],
        settings: ViewSettings,
        seed: int,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self.root = image_root(root)
        self.names = SharedNames(names)
        self.settings = settings
        self.seed = seed
        self.limits = limits
        self.views = {kind: build_view(kind, settings) for kind in views}
        self.at_least = settings.plain_side if set(views) == {"plain"} else settings.decode_side

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, item: tuple[int, int]) -> Sample:
        """The views of image `index` in `epoch`, given as the pair (epoch, index).

        Raises:
            UnreadableImageError: the image is missing, broken, too large or outside the image folder.
        """
        epoch, index = item
        try:
            image = self.decoded(index)
        except ImageError as error:
            raise UnreadableImageError(str(error)) from error
        return {"views": {kind: self.view(kind, image, epoch, index) for kind in self.views}, "index": int(index)}

    def decoded(self, index: int, content: bytes | None = None) -> Image.Image:
        """An image, from its file or from the file's bytes.

        Raises:
            ImageError: it is missing, broken, too large or outside the image folder.
        """
        path = resolve(self.root, self.names[index])
        return decode(path, limits=self.limits, at_least=self.at_least, content=content)

    def view(self, kind: str, image: Image.Image, epoch: int, index: int) -> Float[Tensor, "3 h w"]:
        """One view of an image; not in several threads at once, unless it is the plain one."""
        if kind == "plain":  # draws nothing
            return self.views[kind](image)
        with item_randomness(self.seed, epoch, self.names[index], kind):
            return self.views[kind](image)
