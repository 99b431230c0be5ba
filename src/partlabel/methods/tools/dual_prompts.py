"""What the methods with learned prompts share: the dual head, the asymmetric loss of known cells, the text tower."""

import torch
from pydantic import Field
from torch import Tensor, nn

from partlabel.errors import RunError
from partlabel.labels import LabelTable
from partlabel.losses.asymmetric import asymmetric_cells
from partlabel.losses.normalization import Normalization
from partlabel.methods.base import Clock, Context, Index, Labels, Method, MethodConfig, Outputs
from partlabel.methods.tools.prompts import Prompts
from partlabel.models.encoders.text_tower import TextTower, load_text_tower
from partlabel.models.heads.dual import ClassVectors, DualHead
from partlabel.models.label_text import spaced


class DualConfig(MethodConfig):
    """Settings of the loss of all methods with the dual head."""

    gamma_positive: float = Field(default=1.0, ge=0)
    """Focusing of present cells. Public code: 1."""
    gamma_negative: float = Field(default=2.0, ge=0)
    """Focusing of absent cells. Public code: 2."""
    clip: float = Field(default=0.05, ge=0, lt=1)
    """Probability margin of absent cells. Public code: 0.05."""
    normalization: Normalization = "batch"
    """What the sum of the cells is divided by. Ours: by the known cells of the batch, so that one learning rate serves
    all shares of known cells. Public code: "sum", with a `loss_weight`.
    """
    loss_weight: float = Field(default=1.0, gt=0)
    """Factor of the loss. Public code of DualCoOp, with the sum: 0.03 for COCO at 50 % known, larger where less is
    known; of DualCoOp++: 0.02.
    """


class PromptConfig(DualConfig):
    """Settings of methods with learned prompts."""

    context: int = Field(default=16, ge=1)
    """Learned words before the name of a class. Public code: 16."""
    per_class: bool = True
    """Whether each class has words of its own. Public code: yes, but where very little is known."""
    start: str = ""
    """A text whose words the learned ones start from; "": draws from N(0, 0.02²), as in the public code."""


class Dual(Method[DualConfig]):
    """Asymmetric loss of known cells; needs a dual head."""

    Config = DualConfig
    batch_global = ("number of known cells",)

    def objective(self, outputs: Outputs, labels: Labels, index: Index, clock: Clock) -> dict[str, Tensor]:
        """Known cells only."""
        config = self.config
        cells = asymmetric_cells(
            outputs["logits"].float(),
            (labels == 1).to(torch.float32),
            gamma_positive=config.gamma_positive,
            gamma_negative=config.gamma_negative,
            clip=config.clip,
        )
        return {"total": config.loss_weight * self.reduce(cells, labels != 0, config.normalization)}


class DualPrompts(Dual):
    """A dual head whose vectors are made by the text tower at each step.

    Subclasses implement `vectors`.
    """

    def vectors(self) -> ClassVectors:
        """Vectors of the classes, through which gradients reach the prompts."""
        raise NotImplementedError

    @classmethod
    def tower_assets(cls, config: DualConfig, labels: LabelTable, backbone: str) -> dict[str, Tensor]:
        """The digest of the text tower, which is not kept with the run itself."""
        return {"text_tower": _digest(load_text_tower(backbone))}

    @property
    def dual_head(self) -> DualHead:
        """The head."""
        assert isinstance(self.tagger.head, DualHead)
        return self.tagger.head

    @property
    def class_axes(self) -> dict[str, tuple[int, ...]]:
        """Those of the tagger, and of the learned words."""
        prompts = {
            f"{name}.{inner}": axes
            for name, module in self.named_modules()
            if isinstance(module, Prompts)
            for inner, axes in module.class_axes.items()
        }
        return {**super().class_axes, **prompts}

    def forward(self, views: dict[str, Tensor]) -> Outputs:  # type: ignore[override]
        """Logits by the vectors of this step, which the head keeps, so that a moving average can follow them."""
        maps, image = self.tagger.features(views["weak"])
        vectors = self.vectors()
        self.dual_head.take(vectors)
        return {"logits": self.dual_head.judge(maps, image, vectors).logits}

    @torch.no_grad()
    def settle(self) -> None:
        """Keep the vectors in the head, which needs no text tower from then on."""
        self.dual_head.take(self.vectors())


def tower_of(context: Context) -> TextTower:
    """The text tower of a run.

    Raises:
        RunError: it is another one than that which the run began with.
    """
    tower, known = load_text_tower(context.backbone), context.assets.get("text_tower")
    if known is not None and not torch.equal(_digest(tower), known):
        raise RunError(
            f"the text tower beside {context.backbone} is not the one that this run began with; restore it or train "
            "anew"
        )
    return tower


def prompts(context: Context, config: PromptConfig, tower: TextTower) -> Prompts:
    """Prompts for the classes of a table."""
    names = [spaced(name) for name in context.labels.classes]
    return Prompts(tower, names, config.context, per_class=config.per_class, start=config.start)


def offsets(classes: int, features: int) -> nn.Parameter:
    """A learned vector per class, from N(0, 1)."""
    return nn.Parameter(torch.randn(classes, features))


def _digest(tower: TextTower) -> Tensor:
    return torch.tensor(list(bytes.fromhex(tower.digest)), dtype=torch.float32)
