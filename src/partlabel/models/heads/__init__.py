"""Heads by kind, and how to build one."""

import math

from partlabel.errors import UsageError
from partlabel.models.heads.base import Head, HeadOutput, HeadSpec, Logits, Maps
from partlabel.models.heads.cnn_rnn import CNNRNNHead
from partlabel.models.heads.colearning import CoLearningHead
from partlabel.models.heads.dual import DualHead
from partlabel.models.heads.extended import ExtendedHead
from partlabel.models.heads.fast0tag import Fast0TagHead
from partlabel.models.heads.latent_noise import LatentNoiseHead
from partlabel.models.heads.low_rank import LowRankHead
from partlabel.models.heads.ml_decoder import MLDecoderHead
from partlabel.models.heads.ml_gcn import MLGCNHead
from partlabel.models.heads.pooled import PooledHead
from partlabel.models.heads.query2label import Query2LabelHead
from partlabel.models.heads.saliency import SaliencyHead
from partlabel.models.heads.ssgrl import SSGRLHead
from partlabel.models.heads.twin import TwinHead
from partlabel.models.heads.zero_shot import ZeroShotHead

__all__ = ["HEADS", "Head", "HeadOutput", "HeadSpec", "Logits", "Maps", "build_head"]

HEADS: dict[str, type[Head]] = {
    "pooled": PooledHead,
    "extended": ExtendedHead,
    "saliency": SaliencyHead,
    "ssgrl": SSGRLHead,
    "ml_gcn": MLGCNHead,
    "low_rank": LowRankHead,
    "fast0tag": Fast0TagHead,
    "latent_noise": LatentNoiseHead,
    "cnn_rnn": CNNRNNHead,
    "twin": TwinHead,
    "colearning": CoLearningHead,
    "zero_shot": ZeroShotHead,
    "dual": DualHead,
    "ml_decoder": MLDecoderHead,
    "query2label": Query2LabelHead,
}


def build_head(spec: HeadSpec, features: int, classes: int) -> Head:
    """Build a head from its spec.

    Raises:
        UsageError: unknown kind or setting.
    """
    if spec.kind not in HEADS:
        raise UsageError(f"no head {spec.kind!r}; heads are {', '.join(HEADS)}")
    for name, value in spec.settings.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise UsageError(f"head {spec.kind!r}: {name} is not a finite number")
    try:
        return HEADS[spec.kind](features, classes, **spec.settings)
    except TypeError as error:
        reason = str(error).partition("\n")[0]
        raise UsageError(f"head {spec.kind!r} does not take these settings: {reason}") from error
