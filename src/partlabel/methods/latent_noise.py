"""What annotators mention, told apart from what there is to see (Latent Noise).

Misra, Zitnick, Mitchell, Girshick: Seeing through the Human Reporting Bias: Visual Classifiers from Noisy Human-Centric
Labels, CVPR 2016.

Whether a class is listed for an image is h = r(1 | 1)·v + r(1 | 0)·(1 - v): v is the probability that it can be seen, r
that it is mentioned if it can be seen, or if it cannot; all depend on the image (`models.heads.latent_noise`). L = mean
over cells of BCE of h against what is listed. Images are tagged by v, the visual classifier, or by h (`tag_by`). The
two are the rows of Latent Noise in the tables of IMCL.

Unknown cells
Not mentioned, as absent ones: for h they are negatives, which v need not believe. Only known present cells are needed.

Settings
IMCL starts it, as all its peers, from a trained logistic model: train `bce` or, where no absent cell is known,
`assume_negative`, then give that run as `init`; v takes its weights.

Known deviations
- The paper predicts r by four values an image and class, whose softmax is made conditional; that is two sigmoids, which
  is what is learned here.
- r starts the same for every image (see the head), as far as the paper is known to us: ours.
- Classifiers are linear on pooled features; the multiple-instance variant of the paper is left out.
"""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from partlabel.losses.assume_negative import unknown_as_absent
from partlabel.losses.bce import bce_cells
from partlabel.losses.precision import at_least_float32
from partlabel.methods.base import Clock, Context, Index, Labels, Method, Outputs, PoolConfig
from partlabel.models.heads import HeadSpec


class LatentNoiseConfig(PoolConfig):
    """Settings of `latent_noise`."""

    tag_by: Literal["visual", "relevance"] = "visual"
    """Tag by what is seen, or by what would be mentioned."""


class LatentNoise(Method[LatentNoiseConfig]):
    """A visual classifier behind a model of what is mentioned."""

    Config = LatentNoiseConfig
    learns_from_unknown = True

    @classmethod
    def head(cls, config: LatentNoiseConfig, context: Context) -> HeadSpec:
        """What is seen, and what is said of it."""
        return HeadSpec(kind="latent_noise", settings={"tag_by": config.tag_by, "pool": config.pool})

    def forward(self, views: Mapping[str, Tensor]) -> Outputs:
        """Logits by which images are tagged, and `said`, those of what is mentioned."""
        output = self.tagger(views["weak"])
        return {"logits": output.logits, "said": output.extra["said"]}

    def objective(self, outputs: Outputs, labels: Labels, index: Index, clock: Clock) -> dict[str, Tensor]:
        """Mean over all cells; unknown is not mentioned."""
        cells = bce_cells(at_least_float32(outputs["said"]), unknown_as_absent(labels))
        with torch.no_grad():
            hidden = (outputs["logits"] > 0) & (outputs["said"] <= 0)
        return {"total": self.reduce(cells), "seen_not_said_share": hidden.to(torch.float32).mean()}
