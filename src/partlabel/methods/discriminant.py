"""Semi-supervised linear discriminant: a method of our own, in closed form.

Fisher: The use of multiple measurements in taxonomic problems, Annals of Eugenics 1936 (the discriminant). Friedman:
Regularized discriminant analysis, JASA 1989 (the shrunk covariance). Ledoit and Wolf, JMVA 2004 (the same form). Cai,
He, Han: Semi-supervised discriminant analysis, ICCV 2007 (unlabelled images in it). No paper has it as it stands here.

With f the pooled features of a frozen backbone, or their square roots, S the covariance of f over all images, m⁺ and m⁻
the means of f over the images where a class is known present and known absent (over all images where none is):
    w(λ) = S(λ)⁻¹ (m⁺ - m⁻), scaled to wᵀ S w = 1,  S(λ) = (1 - λ) S + λ (tr S / d) I,  z = wᵀ (f - m)
Then once more, with unknown cells in the two means: present by ω σ(a z + b), absent by ω (1 - σ(a z + b)), where b
brings the mean over the unknown cells of the class to the share of present among its known cells, and a is how far
known present images lie above known absent ones. The logit of a class is a line of the last scores, fitted to its known
cells as the other folds score them and shrunk to the common line (`class_lines`); for a class without both signs it is
a z + b once more, b for all images.

λ of either pass, ω and the transform are chosen by the mean average precision of known training cells in folds of
images: of a fold's images a class's means hold no label.
Assumes of labels: known present cells. Where no absent cell of a class is known, m⁻ of the first pass is the mean of
all images, and its prevalence is taken to be the share of known present cells among all. Where none of any class is
known, unknown cells stand in for absent ones in the choices. docs/discriminant.md has the reasons, and when it fails.
"""

from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from partlabel.errors import UsageError
from partlabel.methods.base import Context, PoolConfig
from partlabel.methods.fitted import Chosen, Fit, FittedMethod
from partlabel.methods.tools.class_lines import class_lines, separation
from partlabel.methods.tools.feature_passes import FeaturePasses, contrasted
from partlabel.methods.tools.fold_sums import (
    FoldSums,
    added,
    fold_sums,
    known_differences,
    mean_over_classes,
    scores_of,
    scores_of_folds,
    without_each,
)
from partlabel.methods.tools.moments import ClassSums, mean_differences, rounded_weights
from partlabel.methods.tools.score_histogram import ScoreHistogram
from partlabel.models.heads import HeadSpec
from partlabel.models.heads.pooled import Transform, pooled_spec
from partlabel.models.tagger import Tagger

SHRINKAGES = (1.0, 0.99, 0.97, 0.95, 0.9, 0.8, 0.5, 0.2, 0.05)
"""Values of λ that are tried; of equally good ones the first is taken."""
STAGE_WEIGHTS = (0.35, 0.7, 1.4)
"""Weights of the features of the stage before the last that are tried, beside 1 for the last one."""
SOFT_WEIGHT = 0.5
"""ω, where soft labels help."""
_FIRST = "_of_first_pass"


class DiscriminantConfig(PoolConfig):
    """Settings of `discriminant`."""

    transform: Transform | Literal["auto"] = "auto"
    """What becomes of pooled features: "none", their "sqrt", or what is better by folds. Ours."""
    shrinkage: float | None = Field(default=None, ge=1e-6, le=1)
    """λ of both passes; None: chosen by folds. Ours."""
    soft_weight: float | None = Field(default=None, ge=0, le=1)
    """ω of unknown cells in the second pass; 0: no second pass; None: 0.5 unless folds are better without. Ours."""
    stage_weight: float | None = Field(default=None, gt=0)
    """Weight of the features of the stage before the last, where the backbone gives two (`stages`), of equal variance
    before; None: chosen by folds. Ours.
    """
    folds: int = Field(default=5, ge=2, le=100)
    """Folds of images that the choices are made by. Ours."""


class _Pass(NamedTuple):
    """What one of the two passes came to: its λ, a, and the mean average precision of known cells of folds left out."""

    shrinkage: float
    slope: float
    folds_mAP: float


class _LeftOut(NamedTuple):
    """Scores of images by what the other folds tell, float32 `[n, C]`, and their states, int8."""

    scores: NDArray[np.float32]
    states: NDArray[np.int8]


class Discriminant(FittedMethod[DiscriminantConfig]):
    """Semi-supervised linear discriminant."""

    Config = DiscriminantConfig
    learns_from_unknown = True

    def __init__(self, tagger: Tagger, config: DiscriminantConfig, context: Context) -> None:
        super().__init__(tagger, config, context)
        if config.stage_weight is not None and len(tagger.backbone.stage_features) == 1:
            raise UsageError("stage_weight has no effect on features of one stage; set stages to 2, or leave it out")

    @classmethod
    def head(cls, config: DiscriminantConfig, context: Context) -> HeadSpec:
        """A linear layer; a transform that is chosen later takes its place then."""
        return pooled_spec(config.pool, "none" if config.transform == "auto" else config.transform)

    def fit(self, data: Fit) -> Chosen:
        """Set the linear layer."""
        passes = FeaturePasses(data, self.config.folds)
        self._tell_of_classes(data)
        sums, first, left_out = self._first_pass(passes)
        differences, best, weight = known_differences(sums)[-1], first, 0.0
        soft_weight = data.chosen.get("soft_weight", self.config.soft_weight)
        if soft_weight != 0:
            weight = float(soft_weight or SOFT_WEIGHT)
            soft = _softened(passes, sums, first, weight)
            second, of_second = self._judged(passes, sums, soft, "")
            if soft_weight is not None or not second.folds_mAP < first.folds_mAP:
                differences, best, left_out = soft[-1], second, of_second
            else:
                weight = 0.0
        if self.config.transform == "auto":
            self.tagger.replace_head(pooled_spec(self.config.pool, sums.transform))
        self._set_head(passes, sums, best, left_out, sums.directions(differences, [best.shrinkage])[0])
        stage_weight = {"stage_weight": sums.stage_weight} if len(self.tagger.backbone.stage_features) > 1 else {}
        return {
            "transform": sums.transform,
            **stage_weight,
            "soft_weight": weight,
            **{f"{name}{_FIRST}": value for name, value in first._asdict().items()},
            **best._asdict(),
        }

    def _first_pass(self, passes: FeaturePasses) -> tuple[FoldSums, _Pass, _LeftOut]:
        """Sums of the features as they are best transformed and weighted, and what known cells alone come to."""
        largest, transform = passes.largest(), passes.data.chosen.get("transform", self.config.transform)
        names = get_args(Transform) if transform == "auto" else (transform,)
        best: tuple[FoldSums, _Pass, _LeftOut] | None = None
        for name in names:
            for sums in self._by_stage(fold_sums(passes, name, largest), passes.data.chosen):
                found = self._judged(passes, sums, known_differences(sums), _FIRST)
                if best is None or np.nan_to_num(found[0].folds_mAP, nan=-1.0) > np.nan_to_num(
                    best[1].folds_mAP, nan=-1.0
                ):
                    best = (sums, *found)
        assert best is not None
        return best

    def _tell_of_classes(self, data: Fit) -> None:
        """Say for how many classes a probability is none."""
        counts = data.labels.counts_by_class()
        without = int(((counts.absent == 0) & (counts.present > 0)).sum())
        if without:
            data.reporter.say(
                f"no absent cell is known of {without} of {len(data.labels.classes)} classes: their probabilities are "
                "those of being known to be present, too low because of what is missing; their ranking does not depend "
                "on it"
            )

    def _by_stage(self, sums: FoldSums, chosen: Chosen) -> list[FoldSums]:
        """With each weight of a second stage that is tried; of one stage as they are."""
        stages = self.tagger.backbone.stage_features
        weight = chosen.get("stage_weight", self.config.stage_weight)
        weights = STAGE_WEIGHTS if weight is None else (float(weight),)
        return [sums.scaled(stages, weight) for weight in weights] if len(stages) > 1 else [sums]

    def _judged(
        self, passes: FeaturePasses, sums: FoldSums, differences: list[Tensor], which: str
    ) -> tuple[_Pass, _LeftOut]:
        """The best λ for the mean differences without each fold, by what they make of the images of that fold; or λ and
        a that an earlier fit chose for this pass.
        """
        chosen = {name: passes.data.chosen.get(f"{name}{which}") for name in ("shrinkage", "slope")}
        fixed = self.config.shrinkage if chosen["shrinkage"] is None else float(chosen["shrinkage"])
        candidates = SHRINKAGES if fixed is None else (fixed,)
        rows = passes.judged(len(candidates))
        labels = passes.judging
        weights = [sums.directions(one, candidates).flatten(0, 1).float() for one in differences[: passes.folds]]
        scores = scores_of_folds(passes, sums, rows, weights).reshape(len(rows), len(candidates), -1)
        states = contrasted(labels, rows)
        values = [mean_over_classes(scores[:, place], states) for place in range(len(candidates))]
        best = int(np.argmax(np.nan_to_num(values, nan=-1.0)))
        if np.isnan(values[best]) and fixed is None:
            best = candidates.index(0.95)
        left_out = _LeftOut(scores[:, best].copy(), labels.rows(rows))
        slope = separation(*left_out) if chosen["slope"] is None else float(chosen["slope"])
        return _Pass(candidates[best], slope, values[best]), left_out

    def _set_head(
        self, passes: FeaturePasses, sums: FoldSums, best: _Pass, left_out: _LeftOut, directions: Tensor
    ) -> None:
        """Logits by the lines of classes; without one a z + b, where b brings their mean probability over all images to
        the prevalence.
        """
        histogram = ScoreHistogram(len(directions))
        for block in passes.blocks(sums.transform, sums.moments.step):
            histogram.add(scores_of(block.features, sums, directions), torch.ones_like(block.states, dtype=torch.bool))
        present, absent = added(sums.present), added(sums.absent)
        images = torch.full_like(present.weight, float(sums.moments.images))
        lines = class_lines(*left_out, best.slope)
        given = torch.from_numpy(np.isfinite(lines.slope))
        offsets = histogram.offsets(best.slope, _prevalence(present, absent, images))
        offsets = torch.where(given, torch.from_numpy(lines.offset), offsets)
        weight = torch.where(given, torch.from_numpy(lines.slope), best.slope)[:, None] * directions
        linear = self.tagger.head.get_submodule("linear")
        with torch.no_grad():
            linear.get_parameter("weight").copy_(weight)
            linear.get_parameter("bias").copy_(offsets - weight @ sums.moments.mean)


def _softened(passes: FeaturePasses, sums: FoldSums, first: _Pass, weight: float) -> list[Tensor]:
    """The same with soft labels for unknown cells, those without a fold from its labels alone; two passes."""
    present, absent, unknown = (without_each(part) for part in (sums.present, sums.absent, sums.unknown))
    directions = [sums.directions(one, [first.shrinkage])[0] for one in known_differences(sums)]
    histograms = [ScoreHistogram(len(directions[0])) for _ in directions]
    for block in passes.blocks(sums.transform, sums.moments.step):
        for fold, (direction, histogram) in enumerate(zip(directions, histograms, strict=True)):
            seen = block.fold != fold
            histogram.add(scores_of(block.features[seen], sums, direction), block.states[seen] == 0)
    offsets = [
        histogram.offsets(first.slope, _prevalence(known, not_known, known.weight + not_known.weight + rest.weight))
        for histogram, known, not_known, rest in zip(histograms, present, absent, unknown, strict=True)
    ]
    soft = [ClassSums.none(*direction.shape) for direction in directions]
    for block in passes.blocks(sums.transform, sums.moments.step):
        for fold, (direction, offset) in enumerate(zip(directions, offsets, strict=True)):
            seen = block.fold != fold
            likely = torch.sigmoid(first.slope * scores_of(block.features[seen], sums, direction) + offset)
            likely = rounded_weights(torch.where(block.states[seen] == 0, likely, 0.0))
            soft[fold] += ClassSums.of(likely, block.features[seen])
    differences = [
        mean_differences(sums.moments, known + likely.times(weight), not_known + (rest - likely).times(weight))
        for known, not_known, rest, likely in zip(present, absent, unknown, soft, strict=True)
    ]
    return [  # soft labels of a class that is nowhere known to be present would follow no label at all
        torch.where(known.weight[:, None] > 0, difference, 0.0)
        for known, difference in zip(present, differences, strict=True)
    ]


def _prevalence(present: ClassSums, absent: ClassSums, images: Float[Tensor, " classes"]) -> Tensor:
    """Share of present cells among the known ones, with half a cell of each added; among all images where no absent
    cell is known.
    """
    cells = torch.where(absent.weight > 0, present.weight + absent.weight, images)
    return (present.weight + 0.5) / (cells + 1)
