"""Interactive learning of similarities and network (IMCL).

Source
Huynh, Elhamifar: Interactive Multi-Label CNN Learning with Partial Labels, CVPR 2020.

Objective
L = L_c + λ_y ‖y_i - tanh(Σ_j c_ji A y_j)‖² + λ_f ‖f_i - Σ_j c̄_ji f_j‖². L_c is BCE of known cells, f are pooled
features, y holds 1 and -1/c where the label is known and the squashed logit where not, A is a graph over labels. Two
steps alternate within each mini-batch. First the network stands still and each image gets up to k similar images j with
coefficients c, c̄ >= 0, by joint matching pursuit in a dictionary (`losses.matching_pursuit`). Then these are
constants, and one gradient step moves the network and A. Images are tagged by the linear head alone.
Gradients reach the linear layer and A through the predictions of the image and its neighbours; where the backbone is
trained, they reach it through both with `dictionary="batch"`, and through the image but not its cached neighbours
otherwise.

Unknown cells
Predicted, and kept smooth over similar images and related labels. A known label of a neighbour stands for itself: A
mixes predictions only. Both signs must be known.

Settings
All published runs start from a trained logistic model: train `bce`, then give that run as `init`.
Published λ_y, λ_f, k: Open Images 1, 0.5, 5; CUB 2, 0.5, 5; COCO 0.5, 0.5, 3.
Rows of the paper's Table 4 (what "fixed" means there is our reading):
    no graphs              lambda_y=0 lambda_f=0
    fixed image graph      dictionary="fixed"
    fixed label graph      learn_graph=False
    both learned           the defaults; graph="PATH" for another graph
Other experiments: CUB has graph="identity", learn_graph=False and side information; COCO has c=1.
Official code: dictionary="cache" slope=2 reconstruction="linear" clamp=False scale="loss_ratio", on Open Images also
balance=True threshold=1e-3.

Known deviations
- Cached features stay constants where the code forwards the chosen images again with the batch.
- An image is kept from choosing itself by its number, and any other image within the code's distance of 0.001.
- f lacks the code's constant 1.
- A mixes predictions, as in the code, where the paper multiplies all of y_j by it.
- l_y and l_f are means over entries by default (`scale`), as L_c is a mean over cells.
- Where the paper is silent: an image without neighbours adds nothing (else its predictions would be drawn to 0).
- Side classes are tagged and learned like others.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from partlabel.errors import UsageError
from partlabel.losses.bce import bce_cells
from partlabel.losses.matching_pursuit import Pursuit, joint_matching_pursuit, near_pairs
from partlabel.losses.normalization import Normalization
from partlabel.losses.precision import at_least_float32
from partlabel.losses.smoothness import fill_unknown, reconstruct, smoothness, squash
from partlabel.methods.base import Clock, Context, Index, Labels, Method, MethodConfig, Outputs, Seen
from partlabel.methods.tools.distributed import gather_batch, per_process_total
from partlabel.methods.tools.feature_cache import FeatureCache
from partlabel.models.graphs.smoothing_graph import COUNTED, graph_of_file, smoothing_graph
from partlabel.models.tagger import Tagger

_SAME_IMAGE = 1e-3


class InteractiveConfig(MethodConfig):
    """Settings of `interactive`."""

    lambda_y: float = Field(default=1.0, ge=0)
    """Weight of label smoothness, in the loss and in the choice of similar images. Paper, Open Images: 1."""
    lambda_f: float = Field(default=0.5, ge=0)
    """Weight of feature smoothness, likewise. Paper, Open Images: 0.5 (official code: 0)."""
    k: int = Field(default=5, ge=1)
    """Most similar images that an image may have. Paper, Open Images: 5 (official code: 3)."""
    threshold: float = Field(default=1e-6, ge=0)
    """What a score must exceed; λ are divided by their maximum before. Official code: 1e-6 on CUB, 1e-20 on COCO."""
    balance: bool = False
    """Divide the scores of labels and features by their maxima. Paper: no; official code: on Open Images only."""
    clamp: bool = True
    """Coefficients are not below 0. Paper: yes; official code: no."""
    dictionary: Literal["batch", "cache", "fixed"] = "batch"
    """Where similar images come from: the mini-batch (paper), or cached features of training images (official code);
    "fixed" is such a cache whose similarities are computed once, before the first step, from features alone."""
    dictionary_size: int = Field(default=10_000, ge=1)
    """Images in the cache. Official code, COCO: 10,000."""
    refresh_every: int = Field(default=250, ge=1)
    """Steps between refreshes of the cache, a pass over the training images each. Official code, Open Images: 250."""
    c: float = Field(default=2.0, gt=0)
    """Labels lie in [-1/c, 1]. Paper, Open Images and CUB: 2; COCO: 1."""
    slope: float = Field(default=1.0, gt=0)
    """Steepness of the squashed logit: 1 makes it 2p - 1 for c = 1 (paper), 2 is the official code's."""
    reconstruction: Literal["tanh", "linear"] = "tanh"
    """Whether tanh is taken of what neighbours make of a label (paper) or not (official code)."""
    graph: str = "co_occurrence"
    """A: "co_occurrence" of known labels, "identity", or the path of a CSV file with the columns from, to, weight."""
    graph_top: int = Field(default=50, ge=1)
    """Classes that go into each class's prediction, by co-occurrence. Paper, COCO: 50."""
    learn_graph: bool = True
    """Train the weights that A has; those it lacks stay 0."""
    scale: Literal["plain", "norm", "loss_ratio"] = "plain"
    """What λ weighs: means over entries ("plain", ours, as L_c is a mean), squared norms as the paper writes them,
    which are C and d times as large ("norm"), or means times the ratio of L_c to them in the first step (official
    code). The ratio means something for a trained model; from random weights it is several times too large."""
    side_classes: tuple[str, ...] = ()
    """Classes whose known labels help to find similar images and are not smoothed. CUB: the bird species."""
    side_magnitude: float = Field(default=10.0, gt=0)
    """What their presence counts. Paper, CUB: 10."""
    normalization: Normalization = "batch"
    """What L_c is divided by. Official code: the known cells of the batch."""


class _Images(NamedTuple):
    """Some images: their numbers, labels, features and logits."""

    numbers: Tensor
    labels: Tensor
    features: Tensor
    logits: Tensor


class Interactive(Method[InteractiveConfig]):
    """BCE of known cells, and smoothness over similar images and related labels."""

    Config = InteractiveConfig
    learns_from_unknown = True
    batch_global = ("number of known cells", "dictionary")

    graph: Tensor
    graph_support: Tensor
    side: Tensor
    label_ratio: Tensor
    feature_ratio: Tensor
    cache: FeatureCache | None
    neighbours: Tensor
    coefficients: Tensor

    def __init__(self, tagger: Tagger, config: InteractiveConfig, context: Context) -> None:
        super().__init__(tagger, config, context)
        classes = context.labels.classes
        absent = [name for name in config.side_classes if name not in classes]
        if absent:
            raise UsageError(f"side_classes: {absent[0]!r} is no class of the label table")
        if set(config.side_classes) == set(classes):
            raise UsageError("side_classes: all classes are named, so that none is left to be smoothed")
        self.register_buffer("side", torch.tensor([name in config.side_classes for name in classes]))
        graph = context.assets.get("label_graph")
        if graph is None:
            graph = smoothing_graph(config.graph, context.labels, config.graph_top)
        self.register_buffer("graph_support", graph != 0)
        if config.learn_graph and config.lambda_y > 0:
            self.graph = nn.Parameter(graph)
        else:
            self.register_buffer("graph", graph)
        self.register_buffer("label_ratio", torch.zeros(()))
        self.register_buffer("feature_ratio", torch.zeros(()))
        self.cache = None
        if config.dictionary != "batch":
            self.cache = FeatureCache(context.labels, config.dictionary_size, tagger.backbone.num_features)
        if config.dictionary == "fixed":
            self.register_buffer("neighbours", torch.full((len(context.labels), config.k), -1))
            self.register_buffer("coefficients", torch.zeros(len(context.labels), config.k))

    @classmethod
    def own_assets(cls, config: InteractiveConfig, classes: tuple[str, ...]) -> dict[str, Tensor]:
        """The label graph, where it is read from a file."""
        return {} if config.graph in COUNTED else {"label_graph": graph_of_file(config.graph, classes)}

    @property
    def class_axes(self) -> dict[str, tuple[int, ...]]:
        """Those of the tagger, of the graph and of cached labels."""
        own: dict[str, tuple[int, ...]] = {"graph": (0, 1), "graph_support": (0, 1), "side": (0,)}
        return {**super().class_axes, **own, **({"cache.labels": (1,)} if self.cache is not None else {})}

    def forward(self, views: Mapping[str, Tensor]) -> Outputs:
        """Logits, and the pooled features."""
        maps = self.tagger.features(views["weak"]).maps
        return {"logits": self.tagger.head(maps).logits, "features": maps.mean((2, 3))}

    def refresh_due(self, clock: Clock) -> bool:
        """Every `refresh_every` steps from the first on; a fixed dictionary before the first step only."""
        if self.cache is None or not self._smooths:
            return False
        return clock.step % self.config.refresh_every == 0 if self.config.dictionary == "cache" else clock.step == 0

    def refresh(self, clock: Clock, images: Callable[[], Iterator[Seen]]) -> None:
        """Fill the cache; if it is fixed, choose the similar images of every image too, in a second pass."""
        assert self.cache is not None
        self.cache.fill(images())
        if self.config.dictionary == "fixed":
            nothing = torch.zeros_like(self.cache.features[:, :1])
            for seen in images():
                features = seen.features.to(nothing.dtype)
                found = self._pursue(
                    seen.index,
                    nothing[:1].expand(len(features), 1),
                    features,
                    self.cache.index,
                    nothing,
                    self.cache.features,
                )
                self.neighbours[seen.index], self.coefficients[seen.index] = found.indices, found.feature_coefficients

    def objective(self, outputs: Outputs, labels: Labels, index: Index, clock: Clock) -> dict[str, Tensor]:
        """`supervised` on known cells, `label_smoothness` and `feature_smoothness` before they are weighed."""
        known = labels != 0
        cells = bce_cells(outputs["logits"], labels)
        supervised = self.reduce(cells, known, self.config.normalization)
        if not self._smooths:
            return {"total": supervised}
        with torch.autocast(labels.device.type, enabled=False):  # half precision would choose other images
            batch = _Images(index, labels, at_least_float32(outputs["features"]), at_least_float32(outputs["logits"]))
            of_labels, of_features, found = self._smoothness(batch)
        total = supervised + self.config.lambda_y * self._ratio(self.label_ratio, supervised, of_labels) * of_labels
        total = total + self.config.lambda_f * self._ratio(self.feature_ratio, supervised, of_features) * of_features
        return {
            "total": total,
            "supervised": supervised,
            "label_smoothness": of_labels,
            "feature_smoothness": of_features,
            "neighbour_share": (found >= 0).to(torch.float32).mean(),
        }

    @property
    def _smooths(self) -> bool:
        return self.config.lambda_y > 0 or self.config.lambda_f > 0

    def _smoothness(self, batch: _Images) -> tuple[Tensor, Tensor, Tensor]:
        """Smoothness of labels and of features, and who the neighbours are."""
        if self.cache is None:
            batch = _Images(*(gather_batch(tensor) for tensor in batch))
        y = self._filled(squash(batch.logits, self.config.c, self.config.slope), batch.labels)
        found, near_y, near_f = self._neighbours(batch, y)
        of_labels = reconstruct(near_y, found.label_coefficients)
        if self.config.reconstruction == "tanh":
            of_labels = torch.tanh(of_labels)
        smoothed = ~self.side
        entries = (int(smoothed.sum()), batch.features.shape[1]) if self.config.scale == "norm" else (1, 1)
        return (
            entries[0] * smoothness(y[:, smoothed], of_labels[:, smoothed], found.indices),
            entries[1] * smoothness(batch.features, reconstruct(near_f, found.feature_coefficients), found.indices),
            found.indices,
        )

    def _neighbours(self, batch: _Images, y: Tensor) -> tuple[Pursuit, Tensor, Tensor]:
        """Similar images of each one, with label vectors `[B, k, C]` and features `[B, k, d]`."""
        if self.cache is None:
            atoms_y = self._as_atoms(batch.logits, batch.labels)
            found = self._pursue(batch.numbers, y, batch.features, batch.numbers, atoms_y, batch.features)
            rows = found.indices.clamp(min=0)
            return found, atoms_y[rows], batch.features[rows]
        if self.config.dictionary == "fixed":
            coefficients = self.coefficients[batch.numbers]
            found = Pursuit(self.neighbours[batch.numbers], coefficients, coefficients)
        else:
            with torch.no_grad():
                atoms_y = self._as_atoms(self._logits(self.cache.features), self.cache.labels)
            found = self._pursue(batch.numbers, y, batch.features, self.cache.index, atoms_y, self.cache.features)
        rows = found.indices.clamp(min=0)
        near_f = self.cache.features[rows]
        near_y = self._as_atoms(self._logits(near_f.flatten(0, 1)), self.cache.labels[rows].flatten(0, 1))
        return found, near_y.view(*rows.shape, -1), near_f

    def _pursue(
        self, numbers: Tensor, y: Tensor, f: Tensor, atom_numbers: Tensor, atom_y: Tensor, atom_f: Tensor
    ) -> Pursuit:
        config = self.config
        lambda_y, lambda_f = (0.0, 1.0) if config.dictionary == "fixed" else (config.lambda_y, config.lambda_f)
        largest = max(lambda_y, lambda_f)
        return joint_matching_pursuit(
            y,
            f,
            atom_y,
            atom_f,
            lambda_y=lambda_y / largest,
            lambda_f=lambda_f / largest,
            steps=config.k,
            excluded=(numbers[:, None] == atom_numbers) | near_pairs(f, atom_f, _SAME_IMAGE),
            threshold=config.threshold,
            clamp=config.clamp,
            balance=config.balance,
        )

    def _logits(self, features: Tensor) -> Tensor:
        """Logits of pooled features."""
        return self.tagger.head(features[:, :, None, None]).logits  # type: ignore[no-any-return]

    def _as_atoms(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Label vectors of similar images: predictions are mixed by the graph, then known labels stand for
        themselves.
        """
        mixed = squash(logits, self.config.c, self.config.slope) @ (self.graph * self.graph_support).to(logits.dtype)
        return self._filled(mixed, labels)

    def _filled(self, predictions: Tensor, labels: Tensor) -> Tensor:
        return fill_unknown(predictions, labels, self.config.c, self.side, self.config.side_magnitude)

    def _ratio(self, kept: Tensor, supervised: Tensor, smoothness: Tensor) -> Tensor | float:
        """L_c / l as it was in the first step where both were positive; 1 before."""
        if self.config.scale != "loss_ratio":
            return 1.0
        if not kept:
            parts = (
                part.detach().clone() for part in (supervised, smoothness)
            )  # clones, since they are summed in place
            ratio = torch.div(*(per_process_total(part) for part in parts))
            if not (torch.isfinite(ratio) and ratio > 0):
                return 1.0
            kept.copy_(ratio)
        return kept
