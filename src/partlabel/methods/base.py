"""The method contract.

A method is an `nn.Module` around a tagger that knows nothing of the training loop. `forward` runs the network on the
views that the method asks for; `objective` turns its outputs and the labels into named losses. They are apart, so that
the mathematics can be fed any logits in a test.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Generic, NamedTuple, Protocol, TypeVar

import torch
from jaxtyping import Bool, Float, Int8, Int64
from torch import Tensor, nn

from partlabel.labels import LabelTable
from partlabel.losses.normalization import Normalization, normalize
from partlabel.methods.config import LinearConfig, MethodConfig, PoolConfig, PooledConfig
from partlabel.methods.tools.distributed import per_process_total, process_count
from partlabel.models.heads import HeadSpec
from partlabel.models.tagger import Tagger
from partlabel.progress import SILENT, Reporter

__all__ = [
    "IMAGE_ASSETS",
    "Clock",
    "Context",
    "Index",
    "Labels",
    "LearnedGraph",
    "LinearConfig",
    "Look",
    "Method",
    "MethodConfig",
    "OptimizerRule",
    "Outputs",
    "PoolConfig",
    "PooledConfig",
    "Seen",
]

Outputs = Mapping[str, Tensor]
Labels = Int8[Tensor, "batch classes"]
Index = Int64[Tensor, "batch"]


class Clock(NamedTuple):
    """Where training stands: epoch and step from 0, and how many of each there will be."""

    epoch: int
    step: int
    epochs: int
    steps: int

    @property
    def starts_epoch(self) -> bool:
        """Whether this is the first step of an epoch; all epochs have as many steps."""
        return self.step % (self.steps // self.epochs) == 0


class OptimizerRule(NamedTuple):
    """How the optimizer treats some parameters: factor of the learning rate, and whether weight decay applies at
    all; `lr` takes the place of the training's learning rate and follows the same schedule.
    """

    lr_factor: float = 1.0
    decay: bool = True
    lr: float | None = None


@dataclass(frozen=True)
class Seen:
    """Some training images as the network sees their plain view now, in eval mode, without gradient.

    Args:
        index: int64 `[n]`, ascending numbers in the label table.
        features: float32 `[n, d]`, spatial means of the maps.
        logits: float32 `[n, C]`.
    """

    index: Index
    features: Float[Tensor, "batch features"]
    logits: Float[Tensor, "batch classes"]


class LearnedGraph(NamedTuple):
    """Weights between classes, float32 `[C, C]`, row "from", column "to": when training began, and now."""

    start: Float[Tensor, "classes classes"]
    now: Float[Tensor, "classes classes"]


class Look(Protocol):
    """Starts a pass of the network over training images."""

    def __call__(self, index: Index | None = None) -> Iterator[Seen]:
        """A batch at a time, over all images or over those with these numbers, which ascend; none else is looked at."""


IMAGE_ASSETS = frozenset({"side", "prior"})
"""Names of the assets of a context that have a row for each image."""


@dataclass(frozen=True)
class Context:
    """What is known before the first step.

    Args:
        labels: the table that will be trained on, without the held-out cells.
        assets: tensors that were read or computed once from something outside the table, and are kept with a run so
            that resuming it needs nothing but the run: "label_vectors", float32 `[C, d_t]`, a vector for the text of
            each class; "label_graph", float32 `[C, C]`, a graph that the settings name by its path; "side", float32
            `[N]`, the number of each image's category, -1 for none, for the images of `labels`; "prior", float32
            `[N, C]`, scores of another tagger, NaN where it says nothing; "class_texts", float32 `[C, d]`, vectors of
            the classes in the space of images.
        backbone: by its name, for methods that need the text tower beside it.
    """

    labels: LabelTable
    assets: Mapping[str, Tensor] = field(default_factory=dict)
    backbone: str = ""

    @property
    def label_vectors(self) -> Float[Tensor, "classes text_features"] | None:
        """Vectors of the class names; None: they are learned, or not used."""
        return self.assets.get("label_vectors")


_Config = TypeVar("_Config", bound=MethodConfig)


class Method(nn.Module, Generic[_Config]):
    """Base of all methods.

    Subclasses set the class attributes and implement `objective`; most need no `forward` of their own.

    Attributes:
        Config: the type of the settings.
        learns_from_unknown: whether the gradient may reach logits of unknown cells; of a class, with default settings.
        needs_backbone: whether the method changes or differentiates the whole backbone, so that it cannot train on
            cached maps.
        networks: how many networks train side by side, 1 or 2; two have a backbone each where it is trained.
        batch_global: names of the statistics that are taken over the whole batch, across processes; gradient
            accumulation is refused where there is any, because it would take them over a part.
    """

    Config: ClassVar[type[MethodConfig]] = MethodConfig
    learns_from_unknown: bool = False
    needs_backbone: ClassVar[bool] = False
    networks: ClassVar[int] = 1
    batch_global: ClassVar[tuple[str, ...]] = ()

    def __init__(self, tagger: Tagger, config: _Config, context: Context) -> None:
        super().__init__()
        self.tagger = tagger
        self.config = config

    @classmethod
    def label_vectors(cls, config: _Config) -> str | None:
        """Where vectors of the class names are to come from (see `models.label_text`), or None if it needs none."""
        return None

    @classmethod
    def own_assets(cls, config: _Config, labels: LabelTable, reporter: Reporter = SILENT) -> dict[str, Tensor]:
        """Assets of the context that the method reads itself, from files that its settings name.

        Args:
            config: the settings.
            labels: the table of the run, with all images and classes that its phases train on.
            reporter: where it goes what a user should know of the files.

        Raises:
            PartlabelError: a file is missing, or does not hold what it should.
        """
        return {}

    @classmethod
    def tower_assets(cls, config: _Config, labels: LabelTable, backbone: str) -> dict[str, Tensor]:
        """Assets of the context that the method takes from the text tower beside the backbone.

        Args:
            config: the settings.
            labels: the table of the run.
            backbone: by its name.

        Raises:
            PartlabelError: it has none, or it cannot be loaded.
        """
        return {}

    @classmethod
    def head(cls, config: _Config, context: Context) -> HeadSpec:
        """The head this method puts on the backbone; unless overridden, the one that its settings name, and global
        pooling with a linear layer where they name none.
        """
        return config.spec if isinstance(config, PooledConfig) else HeadSpec(kind="pooled")

    @property
    def class_axes(self) -> dict[str, tuple[int, ...]]:
        """For each parameter or buffer that has classes along some axes, which axes; those of the tagger included."""
        return {f"tagger.{name}": axes for name, axes in self.tagger.class_axes.items()}

    @property
    def optimizer_rules(self) -> dict[str, OptimizerRule]:
        """Rules for the parameters that need their own, by what their names begin with; the longest beginning
        counts.
        """
        return {}

    @property
    def views(self) -> tuple[str, ...]:
        """Names of the views a training batch must hold ("plain", "weak", "strong")."""
        return ("weak",)

    def forward(self, views: Mapping[str, Tensor]) -> Outputs:
        """Run the network: views to outputs, among them `logits` `[B, C]`."""
        return {"logits": self.tagger(views["weak"]).logits}

    def objective(self, outputs: Outputs, labels: Labels, index: Index, clock: Clock) -> dict[str, Tensor]:
        """Named scalar losses, among them `total`, which is minimised; a name that ends in `_share` is for the log
        only.

        Args:
            outputs: what `forward` returned.
            labels: int8 `[B, C]`: +1 present, -1 absent, 0 unknown.
            index: int64 `[B]`, the stable number of each image in the label table.
            clock: where training stands.
        """
        raise NotImplementedError

    def settle(self) -> None:
        """Bring the tagger up to date with what is trained beside it; called before the tagger is judged or kept."""

    def set_aside(self, outputs: Outputs, labels: Labels, clock: Clock) -> dict[str, Bool[Tensor, "batch classes"]]:
        """Masks of the unknown cells that the objective sets aside from the others in a batch, by a name each: for the
        log, which counts them against the truth where there is one. It changes nothing; every process must call it.
        """
        return {}

    def reduce(
        self,
        cells: Tensor,
        counted: Tensor | None = None,
        by: Normalization = "class",
        *,
        g: tuple[float, float, float] = (-4.45, 5.45, 1.0),
    ) -> Tensor:
        """From the cell losses of this process to the loss of the batch of all processes (see `losses.normalization`).

        Gradients are averaged over processes; with this, their average is the gradient of one process with the whole
        batch, however the cells that count are shared out. Every process must call it.

        Args:
            cells: float `[B, C]`, loss of every cell.
            counted: bool `[B, C]`, the cells that count; all of them if not given.
            by: what the sum is divided by; "class" with all cells is their mean.
            g: coefficients of "partial_bce".

        Returns:
            A scalar.
        """
        counted = torch.ones_like(cells, dtype=torch.bool) if counted is None else counted
        if by == "batch":
            return normalize(cells, counted, by, batch_total=per_process_total(counted.sum()))
        loss = normalize(cells, counted, by, g=g)
        if process_count() == 1:
            return loss
        if by in {"sum", "image_sum"}:
            return loss * process_count()
        images = torch.full((), float(len(cells)), device=cells.device)
        return loss * (images / per_process_total(images)).to(loss.dtype)

    def learned_graph(self) -> LearnedGraph | None:
        """The label graph that the method learns, which the run keeps for people to look at; None if it learns none."""
        return None

    def refresh_due(self, clock: Clock) -> bool:
        """Whether `refresh` is to be called before this step."""
        return False

    def refresh(self, clock: Clock, images: Look) -> None:
        """Bring pseudo-labels, prototypes or dictionaries up to date; what is kept belongs in buffers.

        Args:
            clock: where training stands.
            images: starts a pass over all training images, in order, or over the wanted ones alone.
        """
