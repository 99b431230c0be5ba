"""The method contract.

A method is an `nn.Module` around a tagger that knows nothing of the training loop. `forward` runs the network on the views that
the method asks for; `objective` turns its outputs and the labels into named losses. They are apart, so that the mathematics can
be fed any logits in a test.
"""

from collections.abc import Mapping
from typing import ClassVar, Generic, NamedTuple, TypeVar

from jaxtyping import Int8, Int64
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from partlabel.models.heads import HeadSpec, Logits
from partlabel.models.tagger import Tagger

Outputs = Mapping[str, Tensor]
Labels = Int8[Tensor, "batch classes"]
Index = Int64[Tensor, "batch"]


class Clock(NamedTuple):
    """Where training stands: epoch and step from 0, and how many of each there will be."""

    epoch: int
    step: int
    epochs: int
    steps: int


class MethodConfig(BaseModel):
    """Settings of a method. Every default says where it comes from."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


_Config = TypeVar("_Config", bound=MethodConfig)


class Method(nn.Module, Generic[_Config]):
    """Base of all methods.

    Subclasses set the class attributes and implement `objective`; most need no `forward` of their own.

    Attributes:
        Config: the type of the settings.
        learns_from_unknown: whether the gradient may reach logits of unknown cells.
        needs_backbone: whether the method changes or differentiates the whole backbone, so that it cannot train on cached maps.
        batch_global: names of the statistics that are taken over the whole batch, across processes; gradient accumulation is
            refused where there is any, because it would take them over a part.
        class_axis: parameters with one row a class, so that classes can be permuted, added or dropped.
    """

    Config: ClassVar[type[MethodConfig]] = MethodConfig
    learns_from_unknown: ClassVar[bool] = False
    needs_backbone: ClassVar[bool] = False
    batch_global: ClassVar[tuple[str, ...]] = ()
    class_axis: ClassVar[tuple[str, ...]] = ("tagger.head.linear.weight", "tagger.head.linear.bias")

    def __init__(self, tagger: Tagger, config: _Config) -> None:
        super().__init__()
        self.tagger = tagger
        self.config = config

    @classmethod
    def head(cls, config: _Config) -> HeadSpec:
        """The head this method puts on the backbone; plain average pooling unless overridden."""
        return HeadSpec(kind="pooled")

    @property
    def views(self) -> tuple[str, ...]:
        """Names of the views a training batch must hold ("plain", "weak", "strong")."""
        return ("weak",)

    def forward(self, views: Mapping[str, Tensor]) -> Outputs:
        """Run the network: views to outputs, among them `logits` `[B, C]`."""
        return {"logits": self.tagger(views["weak"]).logits}

    def objective(self, outputs: Outputs, labels: Labels, index: Index, clock: Clock) -> dict[str, Tensor]:
        """Named scalar losses, among them `total`, which is minimised; a name that ends in `_share` is for the log only.

        Args:
            outputs: what `forward` returned.
            labels: int8 `[B, C]`: +1 present, -1 absent, 0 unknown.
            index: int64 `[B]`, the stable number of each image in the label table.
            clock: where training stands.
        """
        raise NotImplementedError

    def scores(self, pictures: Tensor) -> Logits:
        """Logits by which pictures are tagged at test time."""
        return self.tagger(pictures).logits  # type: ignore[no-any-return]
