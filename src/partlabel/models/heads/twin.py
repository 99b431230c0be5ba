"""Two networks that learn side by side: two heads, each with a backbone of its own unless they share a frozen one."""

from collections.abc import Mapping
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor

from partlabel.errors import UsageError
from partlabel.models.encoders.base import Features
from partlabel.models.heads.base import Head, HeadOutput, HeadSpec, ImageVector, Maps

Network = Literal["first", "second", "mean"]
"""Which network tags an image: one of the two, or the mean of their logits."""


class TwinHead(Head):
    """Two heads of one kind with different first weights.

    Maps of a backbone that both share have d channels, those of a `TwinBackbone` 2 d: the first network's, then the
    second's. Logits are those of the network that `report` names; `extra` holds both, under `first` and `second`.

    Args:
        features: channels d of one network's maps.
        classes: number of classes C.
        head: spec of each head.
        report: which network's logits are reported.
    """

    def __init__(self, features: int, classes: int, head: Mapping[str, Any], report: Network = "mean") -> None:
        super().__init__()
        from partlabel.models.heads import build_head

        if report not in {"first", "second", "mean"}:
            raise UsageError(f"report {report!r} is not 'first', 'second' or 'mean'")
        spec = HeadSpec.model_validate(head)
        if spec.kind == "twin":
            raise UsageError("a twin head holds two heads of another kind")
        self.features, self.report = features, report
        self.first = build_head(spec, features, classes)
        self.second = build_head(spec, features, classes)
        self.pool = self.first.pool
        self.scales = dict(self.first.scales)
        self.has_class_maps = self.first.has_class_maps
        self.needs_image_vector = self.first.needs_image_vector

    @property
    def class_axes(self) -> dict[str, tuple[int, ...]]:
        """Those of both heads."""
        return {
            f"{which}.{name}": axes for which in ("first", "second") for name, axes in self.first.class_axes.items()
        }

    def reads_alike(self, other: Head, mine: int, theirs: int) -> bool:
        """As of the first head; both are of one kind."""
        return not isinstance(other, TwinHead) or self.first.reads_alike(other.first, mine, theirs)

    def forward(self, maps: Float[Tensor, "batch features h w"], image: ImageVector = None) -> HeadOutput:
        """Logits of both."""
        for_first, for_second = self._parts(maps, image)
        first, second = self.first(*for_first).logits, self.second(*for_second).logits
        logits = {"first": first, "second": second, "mean": (first + second) / 2}[self.report]
        return HeadOutput(logits, {"first": first, "second": second})

    def class_maps(self, maps: Float[Tensor, "batch features h w"], image: ImageVector = None) -> Maps:
        """Those of the reported network, or the mean of both."""
        for_first, for_second = self._parts(maps, image)
        if self.report == "mean":
            return (self.first.class_maps(*for_first) + self.second.class_maps(*for_second)) / 2
        return self.first.class_maps(*for_first) if self.report == "first" else self.second.class_maps(*for_second)

    def _parts(self, maps: Tensor, image: ImageVector) -> tuple[Features, Features]:
        if maps.shape[1] == self.features:
            return Features(maps, image), Features(maps, image)
        first, second = maps.chunk(2, dim=1)
        if image is None:
            return Features(first), Features(second)
        of_first, of_second = image.chunk(2, dim=1)
        return Features(first, of_first), Features(second, of_second)
