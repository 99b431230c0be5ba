"""Zero-shot: images by what their classes are called, without a label.

Source
Radford et al.: Learning Transferable Visual Models from Natural Language Supervision, ICML 2021 (prompt templates,
softmax over classes); Zhai et al.: Sigmoid Loss for Language Image Pre-Training, ICCV 2023 (a sigmoid for each class).

What it does
The vector t_k of a class is the direction of the mean over the templates of the text vectors of its name. With the
vector f of an image, all of length 1, z_k = scale · <f, t_k> + bias, and the logit of a class is z_k or that of its
share in a softmax over the classes (`models.heads.zero_shot`). Nothing is trained.

Unknown cells
No label is read, known or unknown. So a model of a table without a single known cell can be had, and it is judged by
whatever cells are known.

Settings
scale and bias are those that the towers were trained with. A softmax shares one image out among the classes: it ranks
the images of a class by how much more it fits than other classes; the sigmoid of SigLIP judges each class by itself.
Towers are frozen: freeze=true.
"""

from typing import Literal

import torch
from pydantic import Field, field_validator
from torch.nn import functional

from partlabel.labels import LabelTable
from partlabel.methods.base import Context, MethodConfig
from partlabel.methods.fitted import Chosen, Fit, FittedMethod
from partlabel.models.encoders.text_tower import load_text_tower
from partlabel.models.heads import HeadSpec
from partlabel.models.heads.zero_shot import ZeroShotHead
from partlabel.models.label_text import spaced
from partlabel.models.tagger import Tagger


class ZeroShotConfig(MethodConfig):
    """Settings of `zero_shot`."""

    templates: tuple[str, ...] = ("a photo of a {}.",)
    """Sentences with {} where the name of a class goes; vectors are averaged over them. CLIP's first one."""
    scoring: Literal["auto", "softmax", "sigmoid"] = "auto"
    """ "softmax" over the classes, "sigmoid" of each class; "auto": as the towers were trained."""
    temperature: float | None = Field(default=None, gt=0)
    """What cosines are divided by. Default: as the towers were trained (CLIP: 0.01)."""

    @field_validator("templates")
    @classmethod
    def _with_a_place(cls, templates: tuple[str, ...]) -> tuple[str, ...]:
        if not templates or any(template.count("{}") != 1 for template in templates):
            raise ValueError("each template holds {} once, where the name of a class goes")
        return templates


class ZeroShot(FittedMethod[ZeroShotConfig]):
    """Text vectors of the classes as a classifier."""

    Config = ZeroShotConfig

    def __init__(self, tagger: Tagger, config: ZeroShotConfig, context: Context) -> None:
        super().__init__(tagger, config, context)
        assert isinstance(tagger.head, ZeroShotHead)
        tagger.head.text.copy_(context.assets["class_texts"])

    @classmethod
    def tower_assets(cls, config: ZeroShotConfig, labels: LabelTable, backbone: str) -> dict[str, torch.Tensor]:
        """Vectors of the classes, and how cosines are scored: scale, bias, and 1 for a sigmoid."""
        tower, names = load_text_tower(backbone), [spaced(name) for name in labels.classes]
        vectors = [tower.encode([template.replace("{}", name) for name in names]) for template in config.templates]
        scoring = "softmax" if tower.bias is None else "sigmoid"
        scoring = scoring if config.scoring == "auto" else config.scoring
        scale = tower.scale if config.temperature is None else 1 / config.temperature
        return {
            "class_texts": functional.normalize(torch.stack(vectors).mean(0), dim=1),
            "scoring": torch.tensor([scale, tower.bias or 0.0, float(scoring == "sigmoid")]),
        }

    @classmethod
    def head(cls, config: ZeroShotConfig, context: Context) -> HeadSpec:
        """The text vectors as a classifier."""
        scale, bias, sigmoid = context.assets["scoring"].tolist()
        settings = {"scoring": "sigmoid" if sigmoid else "softmax", "scale": scale, "bias": bias}
        return HeadSpec(kind="zero_shot", settings=settings)

    def fit(self, data: Fit) -> Chosen:
        """Nothing is left to do."""
        return {}
