"""Interactive learning of similarities and network (IMCL).

Source
Huynh, Elhamifar: Interactive Multi-Label CNN Learning with Partial Labels, CVPR 2020.

Objective
Σ_i [L_c + λ_y ‖y_i - tanh(Σ_j c_ji A y_j)‖² + λ_f ‖f_i - Σ_j c̄_ji f_j‖²] (eqs. 1 to 7). L_c is the sum of BCE over the
known labels of an image, f are pooled features, y holds 1 and -0.5 where the label is known and 1.5p - 0.5 where not, A
is a graph over labels. Two steps alternate within each mini-batch. First the network stands still and each image gets
up to k similar images j with coefficients c, c̄ >= 0, by joint matching pursuit (Algorithm 2, `losses.matching_pursuit`)
among the others of the mini-batch. Then these are constants, and one gradient step moves the network and A. Images are
tagged by the linear head alone.
Gradients reach the linear layer and A through the predictions of the image and its neighbours; where the backbone is
trained, they reach it through both with `dictionary="batch"`, and through the image but not its cached neighbours
otherwise.

Unknown cells
Predicted, and kept smooth over similar images and related labels. Both signs must be known.

Settings
All published runs start from a trained logistic model: train `bce`, then give that run as `init`.
Published λ_y, λ_f, k: Open Images 1, 0.5, 5; CUB 2, 0.5, 5; COCO 0.5, 0.5, 3. They are weights of sums, so that they
mean the same with scale="sum" and "image_mean". Adam and AdamW do not notice a factor of the whole loss; for SGD,
RMSProp with a large epsilon and clip_norm "sum" is a learning rate that grows with the batch.
Rows of the paper's Table 4 (what "fixed" means there is our reading):
    no graphs              lambda_y=0 lambda_f=0
    fixed image graph      dictionary="fixed"
    fixed label graph      learn_graph=False
    both learned           the defaults; graph="PATH" for another graph
CUB: graph="identity" learn_graph=False side="PATH", which names the species of each image.
Official code: candidates="positive" clamp=False dictionary="cache" imputation="phi" graph_mixes="predictions"
reconstruction="linear" scale="loss_ratio" graph_lr=0.5 with optimizer="rmsprop_tf" epsilon=1; on Open Images also
balance=True threshold=1e-3 k=3 lambda_f=0; on COCO lowest=-1, that is no renormalisation.

Known deviations
- The paper's sum over j has no j ≠ i; an image is kept from choosing itself by its number, and any other image within
  0.001 of its features (official code).
- An image for which nothing is chosen adds nothing (ours); eqs. 5 and 6 with empty sums would draw its predictions and
  features to 0.
- A and the network take one gradient step together, as in the official code; Algorithm 1 solves for A first.
- A has 1 on the diagonal and columns that sum to 1 at the start (official code; the paper does not say).
- The part of l_y over side information has no gradient and is left out of the loss. Side information guides the choice
  of similar images and the fit of c. The official code has -1 where the paper has zeros.
- Official code only: it forwards chosen images of its dictionary again with the batch, where cached features stay
  constants here; f has a constant 1; on CUB the scale is a ratio of gradient norms.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from partlabel.labels import LabelTable
from partlabel.losses.bce import bce_cells
from partlabel.losses.matching_pursuit import Candidates, Pursuit, joint_matching_pursuit
from partlabel.losses.normalization import Normalization, normalize
from partlabel.losses.precision import at_least_float32
from partlabel.losses.smoothness import Imputation, fill_unknown, impute, reconstruct, smoothness
from partlabel.methods.base import (
    Clock,
    Context,
    Index,
    Labels,
    LearnedGraph,
    Look,
    Method,
    MethodConfig,
    OptimizerRule,
    Outputs,
)
from partlabel.methods.tools.distributed import gather_batch, per_process_total
from partlabel.methods.tools.feature_cache import FeatureCache
from partlabel.methods.tools.side_information import read_categories, told_of_missing
from partlabel.methods.tools.similar_images import SimilarImages, Vectors
from partlabel.models.graphs.smoothing_graph import COUNTED, graph_of_file, smoothing_graph
from partlabel.models.tagger import Tagger
from partlabel.progress import SILENT, Reporter

_NORMALIZATION: dict[str, Normalization] = {
    "sum": "sum",
    "image_mean": "images",
    "mean": "batch",
    "loss_ratio": "batch",
}


class InteractiveConfig(MethodConfig):
    """Settings of `interactive`."""

    lambda_y: float = Field(default=1.0, ge=0)
    """Weight of label smoothness, in the loss and in the choice of similar images. Paper, Open Images: 1."""
    lambda_f: float = Field(default=0.5, ge=0)
    """Weight of feature smoothness, likewise. Paper, Open Images: 0.5 (official code: 0)."""
    scale: Literal["sum", "image_mean", "mean", "loss_ratio"] = "sum"
    """What λ weighs. "sum": sums over images, known labels and squared norms (paper, eqs. 1 to 7). "image_mean": the
    same divided by the number of images, so that λ means what it does in the paper. "mean" (ours): L_c is divided by
    the known cells of the batch, the squared norms by their entries. "loss_ratio" (official code): those means times
    the ratio of L_c to them in the first step, which is several times too large for a network that has not learned yet.
    """
    k: int = Field(default=5, ge=1)
    """Most similar images that an image may have. Paper, Open Images: 5 (official code: 3)."""
    candidates: Candidates = "all"
    """Among which images each step of the pursuit takes the best: "all", and it ends where a residual's inner product
    with the best one is not positive (paper, Algorithm 2), or only those where both are "positive" (official code).
    """
    threshold: float = Field(default=0.0, ge=0)
    """What a score must exceed; λ are divided by their maximum before. Paper: none; official code: 1e-3 on Open Images,
    1e-6 on CUB, 1e-20 on COCO."""
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
    """Steps between refreshes of the cache, which look at its images alone. Official code, Open Images: 250."""
    imputation: Imputation = "affine"
    """What stands for an unknown label: 2p - 1 moved to [lowest, 1] (paper), or "phi", a squashed logit that is 0 at
    p = 1/2 (official code)."""
    lowest: float = Field(default=-0.5, lt=0)
    """What stands for an absent label, where present is 1. Paper: -0.5; official code: -1 on COCO."""
    slope: float = Field(default=2.0, gt=0)
    """Steepness of "phi". Official code: 2; 1 makes it 2p - 1 for lowest=-1."""
    reconstruction: Literal["tanh", "linear"] = "tanh"
    """Whether tanh is taken of what neighbours make of a label (paper) or not (official code)."""
    graph: str = "co_occurrence"
    """A: "co_occurrence" of known labels, "identity", the closest "label_vectors" by cosine, or the path of a CSV file
    with the columns from, to, weight. Paper: co-occurrence; CUB: identity; also neighbours by Wikipedia and WordNet,
    which take such a file."""
    label_vectors: str = "auto"
    """Source of the vectors of graph="label_vectors": "auto", a text encoder, or a .txt or .vec file of word vectors.
    """
    graph_top: int = Field(default=50, ge=1)
    """Classes that go into each class's prediction, by co-occurrence or by vectors. Paper: 50."""
    graph_mixes: Literal["labels", "predictions"] = "labels"
    """What A multiplies: all of y (paper, eqs. 4 and 5), or its predictions alone, while known labels stand for
    themselves (official code)."""
    learn_graph: bool = True
    """Train the weights that A has; those it lacks stay 0."""
    graph_lr: Annotated[float, Field(gt=0)] | Literal["lr"] = 1e-5
    """Learning rate of A, which has no weight decay; "lr": that of the training, as the paper names one for all. Ours,
    since AdamW moves each weight by about as much a step, and those of A begin near 1 / (graph_top + 1). Official code,
    RMSProp with epsilon 1: 0.5.
    """
    side: str | None = None
    """A CSV or Parquet file with the columns image and category, which helps to find similar images and is never
    learned. CUB: the species."""
    side_magnitude: float = Field(default=10.0, gt=0)
    """What an image's category counts beside labels, which lie in [lowest, 1]. Paper, CUB: 10."""


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
    label_ratio: Tensor
    feature_ratio: Tensor
    cache: FeatureCache | None
    neighbours: Tensor
    coefficients: Tensor

    def __init__(self, tagger: Tagger, config: InteractiveConfig, context: Context) -> None:
        super().__init__(tagger, config, context)
        graph = context.assets.get("label_graph")
        if graph is None:
            graph = smoothing_graph(config.graph, context.labels, config.graph_top, context.label_vectors)
        self.register_buffer("graph_support", graph != 0)
        self._graph_at_start = graph.to_sparse()
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
        side = context.assets.get("side")
        if side is None and config.side is not None:
            side = read_categories(Path(config.side), context.labels.images)
        pursue = partial(
            joint_matching_pursuit,
            steps=config.k,
            candidates=config.candidates,
            threshold=config.threshold,
            clamp=config.clamp,
            balance=config.balance,
        )
        self.similar = SimilarImages(pursue, (config.lambda_y, config.lambda_f), side, config.side_magnitude)

    @classmethod
    def own_assets(
        cls, config: InteractiveConfig, labels: LabelTable, reporter: Reporter = SILENT
    ) -> dict[str, Tensor]:
        """The label graph and the side information, where they are read from files."""
        assets = {} if config.graph in COUNTED else {"label_graph": graph_of_file(config.graph, labels.classes)}
        if config.side is not None:
            path = Path(config.side)
            assets["side"] = read_categories(path, labels.images)
            if told := told_of_missing(path, assets["side"], labels.images):
                reporter.say(told)
        return assets

    @classmethod
    def label_vectors(cls, config: InteractiveConfig) -> str | None:
        """The source that the settings name, where the graph is made of them."""
        return config.label_vectors if config.graph == "label_vectors" else None

    @property
    def class_axes(self) -> dict[str, tuple[int, ...]]:
        """Those of the tagger, of the graph and of cached labels."""
        own: dict[str, tuple[int, ...]] = {"graph": (0, 1), "graph_support": (0, 1)}
        return {**super().class_axes, **own, **({"cache.labels": (1,)} if self.cache is not None else {})}

    @property
    def optimizer_rules(self) -> dict[str, OptimizerRule]:
        """The graph has a learning rate of its own and no weight decay."""
        rate = self.config.graph_lr
        return {"graph": OptimizerRule(lr=None if rate == "lr" else rate, decay=False)}

    def learned_graph(self) -> LearnedGraph | None:
        """A at the start and now."""
        if not isinstance(self.graph, nn.Parameter):
            return None
        now = (self.graph.detach() * self.graph_support).float().cpu()
        return LearnedGraph(self._graph_at_start.to_dense(), now)

    def forward(self, views: Mapping[str, Tensor]) -> Outputs:
        """Logits, and the pooled features."""
        maps = self.tagger.features(views["weak"]).maps
        return {"logits": self.tagger.head(maps).logits, "features": maps.mean((2, 3))}

    def refresh_due(self, clock: Clock) -> bool:
        """Every `refresh_every` steps from the first on; a fixed dictionary before the first step only."""
        if self.cache is None or not self._smooths:
            return False
        return clock.step % self.config.refresh_every == 0 if self.config.dictionary == "cache" else clock.step == 0

    def refresh(self, clock: Clock, images: Look) -> None:
        """Fill the cache; if it is fixed, choose the similar images of every image too, in a second pass."""
        assert self.cache is not None
        self.cache.fill(images)
        if self.config.dictionary == "fixed":
            index, atoms = self.cache.index, self.cache.features
            for seen in images():
                found = self.similar.by_features(seen.index, seen.features.to(atoms.dtype), index, atoms)
                self.neighbours[seen.index], self.coefficients[seen.index] = found.indices, found.feature_coefficients

    def objective(self, outputs: Outputs, labels: Labels, index: Index, clock: Clock) -> dict[str, Tensor]:
        """`supervised` on known cells, `label_smoothness` and `feature_smoothness` before they are weighed."""
        logits, features = at_least_float32(outputs["logits"]), at_least_float32(outputs["features"])
        supervised = self._scaled(bce_cells(logits, labels), labels != 0, shared_out=True)
        if not self._smooths:
            return {"total": supervised}
        with torch.autocast(labels.device.type, enabled=False):  # half precision would choose other images
            of_labels, of_features, found = self._smoothness(_Images(index, labels, features, logits))
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

    def _scaled(self, cells: Tensor, counted: Tensor | None = None, *, shared_out: bool) -> Tensor:
        """From cell losses to one number; `shared_out`: each process has its own part of the batch, else all of it."""
        by = _NORMALIZATION[self.config.scale]
        counted = torch.ones_like(cells, dtype=torch.bool) if counted is None else counted
        return self.reduce(cells, counted, by) if shared_out else normalize(cells, counted, by)

    def _smoothness(self, batch: _Images) -> tuple[Tensor, Tensor, Tensor]:
        """Smoothness of labels and of features, and who the neighbours are."""
        if self.cache is None:
            batch = _Images(*(gather_batch(tensor) for tensor in batch))
        vectors = self._vectors(batch)
        found, near_y, near_f = self._neighbours(vectors)
        of_labels = reconstruct(near_y, found.label_coefficients)
        if self.config.reconstruction == "tanh":
            of_labels = torch.tanh(of_labels)
        of_features = reconstruct(near_f, found.feature_coefficients)
        shared_out = self.cache is not None
        return (
            self._scaled(smoothness(vectors.y, of_labels, found.indices), shared_out=shared_out),
            self._scaled(smoothness(vectors.features, of_features, found.indices), shared_out=shared_out),
            found.indices,
        )

    def _neighbours(self, batch: Vectors) -> tuple[Pursuit, Tensor, Tensor]:
        """Similar images of each one, with what A makes of their label vectors `[B, k, C]` and features `[B, k, d]`."""
        if self.cache is None:
            found = self.similar.by_both(batch, batch)
            rows = found.indices.clamp(min=0)
            return found, batch.mixed[rows], batch.features[rows]
        if self.config.dictionary == "fixed":
            coefficients = self.coefficients[batch.numbers]
            found = Pursuit(self.neighbours[batch.numbers], coefficients, coefficients)
        else:
            with torch.no_grad():
                atoms = self._cached(torch.arange(len(self.cache.index), device=batch.numbers.device))
            found = self.similar.by_both(batch, atoms)
        rows = found.indices.clamp(min=0)
        near = self._cached(rows.flatten())
        return found, near.mixed.view(*rows.shape, -1), near.features.view(*rows.shape, -1)

    def _cached(self, rows: Tensor) -> Vectors:
        """Images of the cache by the present linear layer."""
        assert self.cache is not None
        features = self.cache.features[rows]
        logits = self.tagger.head(features[:, :, None, None]).logits
        return self._vectors(_Images(self.cache.index[rows], self.cache.labels[rows], features, logits))

    def _vectors(self, images: _Images) -> Vectors:
        """Label vectors y, what A makes of them, and features."""
        config, graph = self.config, (self.graph * self.graph_support).to(images.logits.dtype)
        predicted = impute(images.logits, config.lowest, config.imputation, config.slope)
        y = fill_unknown(predicted, images.labels, config.lowest)
        mixed = y @ graph
        if config.graph_mixes == "predictions":
            mixed = fill_unknown(predicted @ graph, images.labels, config.lowest)
        return Vectors(images.numbers, y, mixed, images.features)

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
