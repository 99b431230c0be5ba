"""What every encoder offers: feature maps of images, in a frozen and a trainable part, and how it wants its images."""

from typing import Annotated, Any, Literal, NamedTuple

from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from partlabel.images.views import ViewSettings

Pool = Literal["avg", "max"]
TrainParts = Literal["all", "last_stage"]
Preprocessing = Literal["backbone", "imagenet"]
JointSpace = Literal["off", "projected", "plain", "attended"]
"""What becomes of the places of a map in the space that images and texts share (`encoders.joint_space`)."""

LARGEST_SIZE = 4096
"""Largest side of an input image, in pixels; the weights of a network say nothing about it."""

_Channel = Annotated[float, Field(ge=-1000, le=1000)]
_Spread = Annotated[float, Field(gt=1e-6, le=1000)]


class BackboneSpec(BaseModel):
    """All that is needed to build the same architecture again without its pretrained weights, and to feed it images."""

    model_config = ConfigDict(frozen=True)

    architecture: str
    model_args: dict[str, Any] = {}
    size: int = Field(ge=1, le=LARGEST_SIZE)
    mean: tuple[_Channel, _Channel, _Channel]
    std: tuple[_Spread, _Spread, _Spread]
    interpolation: str = "bicubic"
    local_global: bool = False
    """Whether the 3 × 3 convolutions have a global branch (`encoders.local_global`)."""
    joint_space: JointSpace = "off"
    joint_features: int = Field(default=0, ge=0, le=16384)
    """Channels of the joint space; 0 where it is off."""
    joint_linear: bool = True
    """Whether the joint space is behind a projection that is built as a classifier is; SigLIP has none."""
    stages: int = Field(default=1, ge=1, le=2)
    """How many of the last stages give features: 2 puts those of the stage before the last behind its own."""
    copies: int = Field(default=1, ge=1, le=2)
    """2 for a `TwinBackbone`."""


class Features(NamedTuple):
    """What an encoder makes of images.

    Args:
        maps: float `[B, d, h, w]`, the features of each place.
        image: float `[B, d]`, a vector of the whole image in the space of the maps, from encoders that have one beside
            them (`Backbone.has_image_vector`); a head that only wants a mean takes it of the maps.
    """

    maps: Float[Tensor, "batch features h w"]
    image: Float[Tensor, "batch features"] | None = None


class Backbone(nn.Module):
    """Images to feature maps `[B, d, h, w]`, split into a frozen `trunk` and a trainable `tail`.

    The protocol of all encoders. It is a class because a tagger holds its backbone as a module; it has no state.

    Attributes:
        spec: what to build again, and how images are fed.
        num_features: channels d of the maps.
        has_image_vector: whether there is a vector of the whole image beside the maps.
        freeze: whether the trunk is the network, but for its last `train_last` stages; else the trunk is empty.
        train_last: how many of the last stages of a frozen network are trained.
        trunk_pool: the pooling that a wholly frozen trunk does already; None: none.
    """

    spec: BackboneSpec
    num_features: int
    has_image_vector: bool = False
    freeze: bool
    train_last: int
    trunk_pool: Pool | None

    @property
    def stage_features(self) -> tuple[int, ...]:
        """Channels of the maps by the stage that they come from, the last stage first."""
        return (self.num_features,)

    def forward(self, images: Float[Tensor, "batch 3 height width"]) -> Features:
        """Features of normalised images."""
        return self.tail(self.trunk(images))

    def trunk(self, images: Float[Tensor, "batch 3 height width"]) -> Tensor:
        """The frozen part: features, the input of the trainable stages, or the images themselves."""
        raise NotImplementedError

    def tail(self, trunk_output: Tensor) -> Features:
        """The trainable part, from what `trunk` returns to features."""
        raise NotImplementedError

    def trunk_state(self) -> dict[str, Tensor]:
        """Weights and statistics of the frozen part; all of them if nothing is left trainable."""
        raise NotImplementedError


def view_settings(spec: BackboneSpec, **random: Any) -> ViewSettings:
    """Views as a backbone wants its images; `random` are the fields of `ViewSettings` that random views depend on."""
    return ViewSettings(
        size=spec.size,
        mean=spec.mean,
        std=spec.std,
        interpolation="bilinear" if spec.interpolation == "bilinear" else "bicubic",
        **random,
    )


def plain_name(name: str) -> str:
    """Name of a tensor as it is without a global branch or low-rank change beside it, which put it one level deeper."""
    return name.replace(".local_conv.", ".").replace(".parametrizations.weight.original", ".weight")


def name_in_single(name: str) -> str:
    """Name that a tensor of one of two backbones has where there is one."""
    return name.replace("backbone.first.", "backbone.").replace("backbone.second.", "backbone.")
