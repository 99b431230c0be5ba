"""Tagger: backbone + head. What is trained, shipped and asked."""

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from partlabel.errors import UsageError
from partlabel.models.encoders.base import Backbone, Features
from partlabel.models.heads import HeadOutput, HeadSpec, Maps, build_head


class Tagger(nn.Module):
    """Images to logits.

    Args:
        backbone: source of maps.
        head: which head to put on it.
        classes: class names, in the order of the logits.

    Attributes:
        takes_trunk_output: whether it is given what `backbone.trunk` returns in place of images.
        frozen_head_norm: whether batch norms of the head keep their running statistics in training too; their scale and
            shift are still trained.

    Raises:
        UsageError: no such head, or the head needs an image vector that the backbone does not have.
    """

    def __init__(self, backbone: Backbone, head: HeadSpec, classes: tuple[str, ...]) -> None:
        super().__init__()
        self.classes = classes
        self.head_spec = head
        self.backbone = backbone
        self.head = build_head(head, backbone.num_features, len(classes))
        if self.head.needs_image_vector and not backbone.has_image_vector:
            raise UsageError(
                f"head {head.kind!r} with these settings uses the image vector of an encoder, and "
                f"{backbone.spec.architecture} has none; a CLIP ResNet has one with joint_space"
            )
        self.takes_trunk_output = False
        self.frozen_head_norm = False

    @property
    def class_axes(self) -> dict[str, tuple[int, ...]]:
        """For each parameter or buffer that has classes along some axes, which axes."""
        return {f"head.{name}": axes for name, axes in self.head.class_axes.items()}

    def replace_head(self, head: HeadSpec) -> None:
        """Put another head on the backbone, of new weights, where the old one is; with the pooling that the trunk does
        already, if it does any.
        """
        device = next(self.head.parameters()).device
        self.head_spec = head
        self.head = build_head(head, self.backbone.num_features, len(self.classes)).to(device)

    def use_trunk_output(self) -> None:
        """From now on take what `backbone.trunk` returns, which may be cached, in place of images."""
        self.takes_trunk_output = True
        if self.backbone.freeze and not self.backbone.train_last:
            self.backbone.trunk_pool = self.head.pool

    def train(self, mode: bool = True) -> "Tagger":
        """Training mode, but for frozen norms."""
        super().train(mode)
        for module in self.head.modules() if self.frozen_head_norm else ():
            if isinstance(module, _BatchNorm):
                module.training = False
        return self

    def forward(self, view: Tensor) -> HeadOutput:
        """Logits `[B, C]` of normalised images `[B, 3, S, S]`, or of trunk output."""
        return self.head(*self.features(view))  # type: ignore[no-any-return]

    def features(self, view: Tensor) -> Features:
        """What the backbone makes of a view."""
        return self.backbone.tail(view) if self.takes_trunk_output else self.backbone(view)

    def class_maps(self, view: Tensor) -> Maps:
        """Class maps `[B, C, h, w]` of a view."""
        return self.head.class_maps(*self.features(view))
