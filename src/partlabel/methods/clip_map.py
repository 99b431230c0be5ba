"""Two learned vectors per class on the locations of a frozen image tower: DualCoOp's head without a text tower.

Source
Rawlekar, Bhatnagar, Ahuja: PositiveCoOp, WACV 2025, where it is the baseline: close to DualCoOp where few labels are
missing, with half the computing and a sixteenth of the parameters, as they find.

Objective
As `dual_coop`, with vectors p_k and q_k that are weights.

Unknown cells
Ignored. Both signs must be known somewhere.

Settings
As `dual_coop`. No text is read, so that any image tower with a joint space will do, of timm too.
Towers are frozen, so that maps are computed once: freeze=true.
"""

from pydantic import Field

from partlabel.methods.base import Context
from partlabel.methods.tools.dual_prompts import Dual, DualConfig
from partlabel.models.heads import HeadSpec


class ClipMapConfig(DualConfig):
    """Settings of `clip_map`."""

    spatial: float = Field(default=20.0, gt=0)
    """T. Public code: 20."""
    scale: float = Field(default=100.0, gt=0)
    """S. Public code: 100, as a product of 5 and 20."""
    image_token: bool = True
    """Whether the vector of the whole image counts as a location. Public code: yes."""


class ClipMap(Dual):
    """Learned vectors for and against each class."""

    Config = ClipMapConfig
    config: ClipMapConfig

    @classmethod
    def head(cls, config: ClipMapConfig, context: Context) -> HeadSpec:  # type: ignore[override]
        """The dual head, with vectors of its own."""
        settings = {
            "spatial": config.spatial,
            "scale": config.scale,
            "image_token": config.image_token,
            "learned": True,
        }
        return HeadSpec(kind="dual", settings=settings)
