"""What improves a closed-form linear discriminant on frozen features, trained from incomplete labels.

    OMP_NUM_THREADS=1 python benchmarks/discriminant_trials.py features.npz --labels labels.csv --seeds 3

Where `features.npz` is missing it is made first, from `--backbone DIR --images DIR` (a local timm folder, one view and
its mirror image, one core: 6 minutes for 5,000 photographs). It holds `names`, `mean`, `max` and `flip` (pooled
features; `flip` is `mean` of the mirrored image) and `prev` (mean of the next-to-last stage).

`labels.csv` has a column `image`, an optional column `split` (`test` or anything else) and one column of 0 and 1 for
each class. Without `split` an image is test if the SHA-1 of its name is divisible by 3. Known cells are drawn at
random, each with the probability `--ratios`; both states are drawn alike.

Every choice (shrinkage, weights, widths) is made by five folds over the images, from the known training cells of the
images left out. The column `best on test` is no result: it is what the best of the same settings would have reached,
to tell a poor idea from a poor choice. All figures are 100 × mAP over classes.
"""

import argparse
import csv
import hashlib
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Scores = dict[Hashable, Array]
LAMBDAS = (0.999, 0.99, 0.97, 0.95, 0.9, 0.8, 0.65, 0.5, 0.35, 0.2, 0.1, 0.05)
FOLDS = 5
SLOPE = 2.0
SOFT_WEIGHT = 0.5
TINY = 1e-9


# Data


def extract(backbone: Path, images: Path, size: int, out: Path) -> None:
    """Pooled features of all images of a folder, written as `out`."""
    import torch

    from partlabel.images.dataset import ImageDataset
    from partlabel.models.encoders.base import view_settings
    from partlabel.models.encoders.build import create_backbone

    encoder = create_backbone(f"local-dir:{backbone}", pretrained=True, size=size, freeze=True).eval()
    names = sorted(p.name for p in images.iterdir() if p.suffix.lower() in {".jpg", ".jpeg", ".png", ".bmp"})
    data = ImageDataset(images, names, ("plain",), view_settings(encoder.spec), 0)
    stage: dict[str, Any] = {}
    encoder.network.blocks[-2].register_forward_hook(lambda _m, _i, output: stage.update(prev=output))
    pooled: dict[str, list[Array]] = {key: [] for key in ("mean", "max", "prev", "flip")}
    with torch.inference_mode():
        for start in range(0, len(names), 16):
            rows = range(start, min(start + 16, len(names)))
            x = torch.stack([data[(0, i)]["views"]["plain"] for i in rows])
            maps = encoder.trunk(x)
            pooled["mean"].append(maps.mean((2, 3)).numpy())
            pooled["max"].append(maps.amax((2, 3)).numpy())
            pooled["prev"].append(stage["prev"].mean((2, 3)).numpy())
            pooled["flip"].append(encoder.trunk(x.flip(3)).mean((2, 3)).numpy())
    np.savez(out, names=np.array(names), **{key: np.concatenate(parts) for key, parts in pooled.items()})


@dataclass
class Data:
    """Features and labels of one data set: `train[key]`, `test[key]` `[N, d]`, labels bool `[N, C]`."""

    train: dict[str, Array]
    test: dict[str, Array]
    y_train: Array
    y_test: Array


def read(features: Path, labels: Path, min_present: int | None) -> Data:
    """Features joined with labels; classes with too few present training images left out."""
    stored = np.load(features)
    where = {str(name): i for i, name in enumerate(stored["names"])}
    with labels.open(newline="") as file:
        rows = list(csv.DictReader(file))
    classes = [name for name in rows[0] if name not in ("image", "split")]
    if "split" in rows[0]:
        test = np.array([row["split"] == "test" for row in rows])
    else:
        test = np.array([int(hashlib.sha1(row["image"].encode()).hexdigest(), 16) % 3 == 0 for row in rows])
    y = np.array([[row[name] == "1" for name in classes] for row in rows])
    order = [where[row["image"].split("/")[-1]] for row in rows]
    least = min_present or (50 if "split" in rows[0] else 10)
    keep = (y[~test].sum(0) >= least) & y[test].any(0)
    x = {key: stored[key][order] for key in stored.files if key != "names"}
    return Data(
        {k: v[~test] for k, v in x.items()}, {k: v[test] for k, v in x.items()}, y[~test][:, keep], y[test][:, keep]
    )


def signed_root(x: Array) -> Array:
    """Square root that keeps the sign."""
    return np.sign(x) * np.sqrt(np.abs(x))


class Basis:
    """Images in the eigenbasis of the covariance of all training images: `x` `[N, d]`, `t` (test), `d` eigenvalues.

    `rows` are the vectors that enter the class means: `x`, or the mean of `x` and a further view of it.
    """

    def __init__(self, train: Array, test: Array, further: Array | None = None) -> None:
        views = [train] if further is None else [train, further]
        mean = np.mean([view.mean(0) for view in views], 0)
        views = [(view - mean).astype(np.float32) for view in views]
        values, vectors = np.linalg.eigh(sum(view.T @ view for view in views) / (len(views) * len(train)))
        keep = values > 1e-7 * values.max()
        self.mu = float(values.mean())
        self.d, vectors = values[keep], vectors[:, keep]
        self.x, self.t = views[0] @ vectors, (test - mean).astype(np.float32) @ vectors
        self.rows = self.x if further is None else (self.x + views[1] @ vectors) / 2


def joined(data: Data, *parts: tuple[Callable[[dict[str, Array]], Array], float]) -> Basis:
    """Blocks side by side, each divided by the root of its total variance and multiplied by its weight."""
    train, test = [], []
    for make, weight in parts:
        x, t = signed_root(make(data.train)), signed_root(make(data.test))
        scale = weight / np.sqrt(x.var(0).sum())
        train.append(x * scale)
        test.append(t * scale)
    return Basis(np.concatenate(train, 1), np.concatenate(test, 1))


def _plain(x: dict[str, Array]) -> Array:
    return x["mean"]


def _both(x: dict[str, Array]) -> Array:
    return (x["mean"] + x["flip"]) / 2


EQUAL_CHANNELS = 0.35  # 160 channels beside 1280, all of one variance
FEATURES: dict[str, Callable[[Data], Basis]] = {
    "plain": lambda a: joined(a, (_plain, 1)),
    "flip averaged": lambda a: joined(a, (_both, 1)),
    "flip as rows": lambda a: Basis(*(signed_root(v) for v in (a.train["mean"], a.test["mean"], a.train["flip"]))),
    "mean + max": lambda a: joined(a, (_plain, 1), (lambda x: x["max"], 1)),
    "mean + prev, weight .35": lambda a: joined(a, (_plain, 1), (lambda x: x["prev"], EQUAL_CHANNELS)),
    "mean + prev, weight .7": lambda a: joined(a, (_plain, 1), (lambda x: x["prev"], 0.7)),
    "flip averaged + prev, .7": lambda a: joined(a, (_both, 1), (lambda x: x["prev"], 0.7)),
}


# Measures


def class_precisions(z: Array, labels: Array) -> Array:
    """Average precision of each class over its known cells; NaN where a state is missing."""
    order = np.argsort(-np.where(labels != 0, z, -np.inf), axis=0, kind="stable")
    present = np.take_along_axis(labels, order, 0) > 0
    total = (present * np.cumsum(present, 0) / np.arange(1, len(z) + 1)[:, None]).sum(0)
    usable = present.any(0) & (labels < 0).any(0)
    return np.where(usable, total / np.maximum(present.sum(0), 1), np.nan)


def mean_precision(z: Array, labels: Array) -> float:
    """100 × mean average precision over known cells."""
    return 100 * float(np.nanmean(class_precisions(z, labels)))


def sigmoid(x: Array) -> Array:
    """Logistic function."""
    return 1 / (1 + np.exp(-np.clip(x, -30, 30)))


def standard(z: Array) -> Array:
    """Columns of mean 0 and variance 1."""
    return (z - z.mean(0)) / (z.std(0) + TINY)


# The estimator


def soft_labels(z: Array, labels: Array, slope: float = SLOPE, share: Array | None = None) -> Array:
    """Sigmoid of slope z + b_c, b_c such that its mean over unknown cells is `share`: that of known cells."""
    unknown, present, absent = labels == 0, (labels > 0).sum(0), (labels < 0).sum(0)
    if share is None:
        share = np.where(absent > 0, (present + 0.5) / (present + absent + 1), np.maximum(present, 1) / len(labels))
    wanted, low, high = share * unknown.sum(0), np.full(z.shape[1], -25.0), np.full(z.shape[1], 25.0)
    for _ in range(22):
        middle = (low + high) / 2
        above = (unknown * sigmoid(slope * z + middle.astype(np.float32))).sum(0) > wanted
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return sigmoid(slope * z + ((low + high) / 2).astype(np.float32)).astype(np.float32)


def mean_differences(rows: Array, labels: Array, q: Array | None, weight: float = SOFT_WEIGHT) -> Array:
    """Mean of present images minus mean of absent images, `[C, d]`; a mean without images is that of all: 0."""
    present, absent = (labels > 0).astype(np.float32), (labels < 0).astype(np.float32)
    if q is not None:
        present += np.where(labels == 0, weight * q, 0)
        absent += np.where(labels == 0, weight * (1 - q), 0)
    return (present / np.maximum(present.sum(0), TINY)).T @ rows - (absent / np.maximum(absent.sum(0), TINY)).T @ rows


def unit(basis: Basis, w: Array) -> Array:
    """Weights `[d, C]` whose scores have variance 1 over the training images."""
    return w / np.sqrt((w * w * basis.d[:, None]).sum(0) + 1e-20)


def shrunk_spectrum(basis: Basis, lam: float) -> Array:
    """Eigenvalues of (1 - lam) S + lam tr(S)/d I."""
    return (1 - lam) * basis.d + lam * basis.mu


def discriminant(basis: Basis, delta: Array, lam: float) -> Array:
    """S_lam^-1 delta, as unit weights `[d, C]`."""
    return unit(basis, (delta / shrunk_spectrum(basis, lam)).T)


@dataclass
class Choice:
    """The setting that out-of-fold known cells chose, and what it scores."""

    name: Hashable
    out_of_fold: Array
    test: Array
    map: float
    best_on_test: float
    all_out_of_fold: Scores = field(default_factory=dict)
    all_test: Scores = field(default_factory=dict)


class Problem:
    """One data set with one draw of known cells.

    A fold is the number of the images left out; None stands for no fold: all images are used, the test set is scored.
    """

    def __init__(self, data: Data, basis: Basis, ratio: float, seed: int) -> None:
        draw = np.random.default_rng(1000 + seed).random(data.y_train.shape) < ratio
        self.data, self.basis, self.ratio = data, basis, ratio
        self.labels = np.where(draw, np.where(data.y_train, 1, -1), 0)
        self.truth = np.where(data.y_test, 1, -1)
        self.fold = np.random.default_rng(7).permutation(len(draw)) % FOLDS
        self.memory: dict[Hashable, Any] = {}

    def once(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """`make()`, computed only the first time."""
        if key not in self.memory:
            self.memory[key] = make()
        return self.memory[key]

    def images(self, fold: int | None) -> Array:
        """Rows of the images that are fitted."""
        return np.arange(len(self.labels)) if fold is None else np.flatnonzero(self.fold != fold)

    def known(self, fold: int | None) -> Array:
        """Labels of the images that are fitted."""
        return self.labels[self.images(fold)]

    def scored(self, fold: int | None, basis: Basis | None = None) -> Array:
        """Images to be scored: those left out, or the test set."""
        basis = basis or self.basis
        return basis.t if fold is None else basis.x[self.fold == fold]

    def choose(self, fit: Callable[[int | None], Scores]) -> Choice:
        """The setting with the best out-of-fold mAP over known cells. `fit` scores `scored(fold)` under each."""
        held: Scores = {}
        for fold in range(FOLDS):
            for name, z in fit(fold).items():
                held.setdefault(name, np.zeros(self.labels.shape, np.float32))[self.fold == fold] = z
        quality = {name: mean_precision(z, self.labels) for name, z in held.items()}
        name, test = max(quality, key=lambda n: quality[n]), fit(None)
        reached = {n: mean_precision(z, self.truth) for n, z in test.items()}
        return Choice(name, held[name], test[name], reached[name], max(reached.values()), held, test)

    def choose_lambda(self, deltas: Callable[[int | None], Array], basis: Basis | None = None) -> Choice:
        """Discriminants of mean differences; lambda chosen."""
        basis = basis or self.basis

        def fit(fold: int | None) -> Scores:
            delta = deltas(fold)
            return {lam: self.scored(fold, basis) @ discriminant(basis, delta, lam) for lam in LAMBDAS}

        return self.choose(fit)

    def first_delta(self, fold: int | None) -> Array:
        """Mean differences of stage 1: known cells alone."""
        return self.once(
            ("delta1", fold), lambda: mean_differences(self.basis.rows[self.images(fold)], self.known(fold), None)
        )

    def first(self) -> Choice:
        """Stage 1."""
        return self.once("stage 1", lambda: self.choose_lambda(self.first_delta))

    def first_scores(self, fold: int | None) -> Array:
        """Stage-1 scores of the images that are fitted."""
        return self.basis.x[self.images(fold)] @ discriminant(self.basis, self.first_delta(fold), self.first().name)

    def soft(self, fold: int | None) -> Array | None:
        """Soft labels from stage 1; None where all cells are known."""
        if self.ratio == 1:
            return None
        return self.once(("soft", fold), lambda: soft_labels(self.first_scores(fold), self.known(fold)))

    def delta(self, fold: int | None) -> Array:
        """Mean differences of the base: with soft labels where cells are unknown."""
        return self.once(
            ("delta2", fold),
            lambda: mean_differences(self.basis.rows[self.images(fold)], self.known(fold), self.soft(fold)),
        )

    def base(self) -> Choice:
        """Stage 2, or stage 1 where all cells are known."""
        return self.first() if self.ratio == 1 else self.once("stage 2", lambda: self.choose_lambda(self.delta))

    def pass_with(self, q: Callable[[int | None], Array], weight: float = SOFT_WEIGHT) -> Choice:
        """Stage 2 with other soft labels."""
        if self.ratio == 1:
            return self.first()

        def deltas(fold: int | None) -> Array:
            return mean_differences(self.basis.rows[self.images(fold)], self.known(fold), q(fold), weight)

        return self.choose_lambda(deltas)

    def completed(self, fold: int | None) -> Array:
        """Labels in 0..1, unknown cells by soft labels."""
        known, q = self.known(fold), self.soft(fold)
        return np.where(known != 0, known > 0, 0 if q is None else q).astype(np.float32)

    def other(self, basis: Basis) -> "Problem":
        """The same labels on other features."""
        new = object.__new__(Problem)
        new.__dict__.update(self.__dict__, basis=basis, memory={})
        return new


def blend(p: Problem, one: Choice, two: Choice, weights: tuple[float, ...] = tuple(np.linspace(0, 1, 11))) -> Choice:
    """(1 - w) z + w z', both standardised by their out-of-fold scores; w chosen."""

    def mix(w: float, test: bool) -> Array:
        parts = []
        for c in (one, two):
            z = c.test if test else c.out_of_fold
            parts.append((z - c.out_of_fold.mean(0)) / (c.out_of_fold.std(0) + TINY))
        return (1 - w) * parts[0] + w * parts[1]

    return p.choose(
        lambda fold: {w: mix(w, fold is None)[slice(None) if fold is None else p.fold == fold] for w in weights}
    )


# Trials

TRIALS: dict[str, Callable[[Problem], Choice]] = {
    "0 stage 1 alone": Problem.first,
    "0 base": Problem.base,
}


def trial(name: str) -> Callable[[Callable[[Problem], Choice]], Callable[[Problem], Choice]]:
    """Registers a trial."""

    def register(function: Callable[[Problem], Choice]) -> Callable[[Problem], Choice]:
        TRIALS[name] = function
        return function

    return register


BASES: dict[tuple[int, str], Basis] = {}


def basis_of(data: Data, name: str) -> Basis:
    """A set of features in its eigenbasis, computed once."""
    key = (id(data), name)
    if key not in BASES:
        BASES[key] = FEATURES[name](data)
    return BASES[key]


for _name in list(FEATURES)[1:]:
    TRIALS[f"1 {_name}"] = lambda p, name=_name: p.other(basis_of(p.data, name)).base()


@trial("2 lambda per class")
def class_lambda(p: Problem) -> Choice:
    """AP of the class and of all classes averaged, weights: present known cells of the class, and 30."""
    base = p.base()
    names = list(base.all_out_of_fold)
    per_class = np.array([np.nan_to_num(class_precisions(base.all_out_of_fold[n], p.labels)) for n in names])
    present = (p.labels > 0).sum(0)
    best = ((present * per_class + 30 * per_class.mean(1, keepdims=True)) / (present + 30)).argmax(0)
    z = np.stack([base.all_test[n] for n in names])[best, :, np.arange(len(best))].T
    reached = mean_precision(z, p.truth)
    return Choice("per class", base.out_of_fold, z, reached, reached)


@trial("2 prior: span of all classes")
def span_prior(p: Problem) -> Choice:
    """Whitened differences shrunk along the directions that few classes use: s² / (s² + t mean(s²))."""

    def fit(fold: int | None) -> Scores:
        scores: Scores = {}
        for lam in LAMBDAS[2:10]:
            root = np.sqrt(shrunk_spectrum(p.basis, lam))
            u, s, vt = np.linalg.svd(p.delta(fold) / root, full_matrices=False)
            for t in (0, 0.05, 0.2, 0.5):
                kept = s * s * s / (s * s + t * np.mean(s * s))
                scores[lam, t] = p.scored(fold) @ unit(p.basis, ((u * kept) @ vt / root).T)
        return scores

    return p.choose(fit)


@trial("2 prior: power of S")
def power_prior(p: Problem) -> Choice:
    """delta_c ~ N(0, tau S^k), noise S / n_c: delta times tau d^k / (tau d^k + d / n_c)."""
    d = p.basis.d

    def fit(fold: int | None) -> Scores:
        known, q, delta = p.known(fold), p.soft(fold), p.delta(fold)
        count = np.maximum((known > 0).sum(0) + (0 if q is None else 0.5 * np.where(known == 0, q * q, 0).sum(0)), 1)
        scores: Scores = {}
        for k in (0, 1, 1.5):
            spectrum = np.maximum(d, 1e-4 * p.basis.mu) ** k
            for t in (0.03, 0.1, 0.3, 1, 3):
                prior = t * np.mean((delta**2).sum(1)) / spectrum.sum() * spectrum
                posterior = delta * prior / (prior + d / count[:, None])
                for lam in (0.9, 0.65, 0.35, 0.1):
                    scores[k, t, lam] = p.scored(fold) @ discriminant(p.basis, posterior, lam)
        return scores

    return p.choose(fit)


@trial("2 power of S_lam")
def power(p: Problem) -> Choice:
    """S_lam^-k delta."""

    def fit(fold: int | None) -> Scores:
        return {
            (k, lam): p.scored(fold) @ unit(p.basis, (p.delta(fold) / shrunk_spectrum(p.basis, lam) ** k).T)
            for k in (0.5, 0.75, 1, 1.5)
            for lam in (0.97, 0.9, 0.65, 0.35, 0.1, 0.03)
        }

    return p.choose(fit)


def correlation(labels: Array) -> Array:
    """Correlation of classes in completed labels, without the diagonal."""
    centred = labels - labels.mean(0)
    s = centred.T @ centred / len(labels)
    scale = np.sqrt(np.diag(s)) + 1e-4
    s = s / scale / scale[:, None]
    np.fill_diagonal(s, 0)
    return s.astype(np.float32)


@trial("3 co-occurrence: z + eta R z")
def related_scores(p: Problem) -> Choice:
    """R is the correlation of completed labels."""

    def fit(fold: int | None) -> Scores:
        z = p.scored(fold) @ discriminant(p.basis, p.delta(fold), p.base().name)
        r = correlation(p.completed(fold))
        return {eta: z + eta * (z @ r) for eta in (0, 0.03, 0.1, 0.2, 0.4, 0.8)}

    return p.choose(fit)


def log_ratios(completed: Array, strength: float = 10.0) -> tuple[Array, Array]:
    """Logarithm of p(c' present | c present) / p(c' present | c absent), `[c', c]`, and the same of absent."""
    r = completed.astype(np.float64)
    n, count, share, both = len(r), r.sum(0), r.mean(0), r.T @ r
    given = (both + strength * share) / (count[:, None] + strength)
    otherwise = (count - both + strength * share) / (n - count[:, None] + strength)
    given, otherwise = np.clip(given, 1e-3, 0.999), np.clip(otherwise, 1e-3, 0.999)
    present, absent = np.log(given / otherwise), np.log((1 - given) / (1 - otherwise))
    np.fill_diagonal(present, 0)
    np.fill_diagonal(absent, 0)
    return present.T.astype(np.float32), absent.T.astype(np.float32)


def evidence(known: Array, ratios: tuple[Array, Array]) -> Array:
    """Sum of the log ratios of the known labels of the same image."""
    return (known > 0).astype(np.float32) @ ratios[0] + (known < 0).astype(np.float32) @ ratios[1]


def evidence_weight(p: Problem, z: Array) -> tuple[float, Array]:
    """Weight of the evidence beside out-of-fold scores, and the out-of-fold evidence."""
    u = np.zeros(p.labels.shape, np.float32)
    for fold in range(FOLDS):
        u[p.fold == fold] = evidence(p.labels[p.fold == fold], log_ratios(p.completed(fold)))
    etas = (0, 0.02, 0.05, 0.1, 0.15, 0.25, 0.5)
    return max(etas, key=lambda eta: mean_precision(z + eta * u, p.labels)), u


@trial("3 known labels in soft labels")
def known_in_soft(p: Problem) -> Choice:
    """Soft labels from stage 1 and the known labels of the same image."""
    if p.ratio == 1:
        return p.first()
    eta = evidence_weight(p, p.first().out_of_fold)[0]

    def q(fold: int | None) -> Array:
        u = evidence(p.known(fold), log_ratios(p.completed(fold)))
        return soft_labels(p.first_scores(fold) + eta * u, p.known(fold))

    return p.pass_with(q)


NEIGHBOURS = [
    (lam, beta, prior) for lam in (0.999, 0.9, 0.6, 0.3) for beta in (5.0, 10.0, 20.0, 40.0) for prior in (0.02, 0.2)
]


def neighbour_scores(
    x: Array, t: Array, basis: Basis, labels: Array, weights: Array, settings: list[tuple[float, float, float]]
) -> Scores:
    """Log of the kernel mean of labels, with a prior towards the mean label: kernel exp(beta (cosine - 1)).

    The cosine is that of features whitened by S_lam. Where `t` is `x` an image is not its own neighbour.
    """
    scores: Scores = {}
    kernels: dict[tuple[float, float], tuple[Array, Array, float]] = {}
    share = (labels * weights).sum(0) / weights.sum(0)
    for lam, beta, prior in settings:
        if (lam, beta) not in kernels:
            root = np.sqrt(shrunk_spectrum(basis, lam))
            a, b = x / root, t / root
            a, b = a / np.linalg.norm(a, axis=1, keepdims=True), b / np.linalg.norm(b, axis=1, keepdims=True)
            kernel = np.exp(beta * (b @ a.T - 1))
            if t is x:
                np.fill_diagonal(kernel, 0)
            kernels[lam, beta] = kernel @ (labels * weights), kernel @ weights, float(kernel.mean()) * len(x)
        votes, total, mass = kernels[lam, beta]
        scores[lam, beta, prior] = np.log((votes + prior * mass * share) / (total + prior * mass) + TINY)
    return scores


def neighbours(p: Problem, soft: bool) -> Choice:
    """Kernel mean of known labels, or of completed labels where an unknown one weighs one half; width chosen."""

    def fit(fold: int | None) -> Scores:
        known = p.known(fold)
        labels, weights = p.completed(fold), np.where(known != 0, 1.0, 0.5 if soft else 0.0).astype(np.float32)
        x = p.basis.x[p.images(fold)]
        return neighbour_scores(x, p.scored(fold), p.basis, labels, weights, NEIGHBOURS)

    return p.once(("neighbours", soft), lambda: p.choose(fit))


TRIALS["4 neighbours alone, known cells"] = lambda p: neighbours(p, False)
TRIALS["4 + neighbours, known cells"] = lambda p: blend(p, p.base(), neighbours(p, False))
TRIALS["4 neighbours alone, completed"] = lambda p: neighbours(p, True)
TRIALS["4 + neighbours, completed"] = lambda p: blend(p, p.base(), neighbours(p, True))


@trial("4 neighbours in soft labels")
def neighbours_in_soft(p: Problem) -> Choice:
    """Soft labels from stage 1 and neighbours."""
    if p.ratio == 1:
        return p.first()
    near = neighbours(p, False)
    w = blend(p, p.first(), near).name

    def q(fold: int | None) -> Array:
        known, x = p.known(fold), p.basis.x[p.images(fold)]
        z = neighbour_scores(x, x, p.basis, known > 0, (known != 0).astype(np.float32), [near.name])[near.name]
        return soft_labels(standard((1 - w) * standard(p.first_scores(fold)) + w * standard(z)), known)

    return p.pass_with(q)


@trial("5 cross-fitted soft labels")
def cross_fitted(p: Problem) -> Choice:
    """Soft labels of an image from a stage 1 without that image."""

    def q(fold: int | None) -> Array:
        known, x = p.known(fold), p.basis.rows[p.images(fold)]
        inner = np.random.default_rng(3).permutation(len(x)) % FOLDS
        z = np.zeros(known.shape, np.float32)
        for i in range(FOLDS):
            delta = mean_differences(x[inner != i], known[inner != i], None)
            z[inner == i] = x[inner == i] @ discriminant(p.basis, delta, p.first().name)
        return soft_labels(z, known)

    return p.pass_with(q)


def repeated(p: Problem, times: int) -> Choice:
    """The soft pass, `times` times."""
    deltas, choice = p.delta, p.base()
    for _ in range(times - 1):
        before, lam, cache = deltas, choice.name, {}

        def deltas(fold: int | None, before: Any = before, lam: Any = lam, cache: Any = cache) -> Array:
            if fold not in cache:
                rows, known = p.images(fold), p.known(fold)
                q = soft_labels(p.basis.x[rows] @ discriminant(p.basis, before(fold), lam), known)
                cache[fold] = mean_differences(p.basis.rows[rows], known, None if p.ratio == 1 else q)
            return cache[fold]

        choice = p.choose_lambda(deltas)
    return choice


TRIALS["5 two soft passes"] = lambda p: repeated(p, 2)
TRIALS["5 three soft passes"] = lambda p: repeated(p, 3)


@trial("5 weight chosen out of fold")
def chosen_weight(p: Problem) -> Choice:
    """Weight of soft labels: the best of 0.1, 0.25, 0.5 and 1."""
    choices = [p.pass_with(p.soft, w) for w in (0.1, 0.25, 0.5, 1.0)]
    return max(choices, key=lambda c: mean_precision(c.out_of_fold, p.labels))


TRIALS["5 weight 1"] = lambda p: p.pass_with(p.soft, 1.0)


@trial("5 slope from out-of-fold scores")
def chosen_slope(p: Problem) -> Choice:
    """Slope: mean out-of-fold score of present minus absent known cells."""
    z = p.first().out_of_fold
    slope = float(np.clip(z[p.labels > 0].mean() - z[p.labels < 0].mean(), 0.5, 5))
    return p.pass_with(lambda fold: soft_labels(p.first_scores(fold), p.known(fold), slope))


@trial("5 diagnostic: true prevalence")
def true_prevalence(p: Problem) -> Choice:
    """Not a method: soft labels whose mean is the true prevalence of each class."""

    def q(fold: int | None) -> Array:
        all_known = np.where(p.data.y_train[p.images(fold)], 1, -1)
        hidden = np.where(p.known(fold) == 0, all_known, 0)
        share = (hidden > 0).sum(0) / np.maximum((hidden != 0).sum(0), 1)
        return soft_labels(p.first_scores(fold), p.known(fold), share=share)

    return p.pass_with(q)


def train_asl(x: Array, labels: Array, t: Array) -> Array:
    """Scores of `t` by a linear layer under the asymmetric loss (gamma 0 and 4, clip 0.05) on known cells."""
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(1)
    inputs, states = torch.tensor(x, dtype=torch.float32), torch.tensor(labels)
    layer = torch.nn.Linear(x.shape[1], labels.shape[1])
    adam = torch.optim.AdamW(layer.parameters(), 1e-3, weight_decay=0.01)
    steps = 15 * ((len(x) + 63) // 64)
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, 1e-3, total_steps=steps)
    for _ in range(15):
        for rows in torch.randperm(len(x)).split(64):
            present, state = torch.sigmoid(layer(inputs[rows])), states[rows]
            absent = (1 - present + 0.05).clamp(max=1)
            gain = (state > 0) * torch.log(present.clamp(min=1e-8))
            gain = gain + (state < 0) * torch.log(absent.clamp(min=1e-8)) * (1 - absent) ** 4
            loss = -gain.sum() / len(rows)
            adam.zero_grad()
            loss.backward()
            adam.step()
            schedule.step()
    with torch.no_grad():
        return layer(torch.tensor(t, dtype=torch.float32)).numpy()


def asl(p: Problem) -> Choice:
    """A linear layer trained by `train_asl` on pooled features."""
    x, t = p.data.train["mean"], p.data.test["mean"]

    def fit(fold: int | None) -> Scores:
        return {"asl": train_asl(x[p.images(fold)], p.known(fold), t if fold is None else x[p.fold == fold])}

    return p.once("asl", lambda: p.choose(fit))


TRIALS["6 asl alone"] = asl
TRIALS["6 + asl"] = lambda p: blend(p, p.base(), asl(p))


@trial("6 asl in soft labels")
def asl_in_soft(p: Problem) -> Choice:
    """Soft labels from stage 1 and asl."""
    if p.ratio == 1:
        return p.first()
    w = blend(p, p.first(), asl(p)).name

    def q(fold: int | None) -> Array:
        z = standard(p.first_scores(fold))
        if w > 0:
            x = p.data.train["mean"][p.images(fold)]
            z = standard((1 - w) * z + w * standard(train_asl(x, p.known(fold), x)))
        return soft_labels(z, p.known(fold))

    return p.pass_with(q)


@trial("7 within-class covariance")
def within(p: Problem) -> Choice:
    """S_lam minus a share of the between part of completed labels, inverted by the Woodbury identity."""

    def fit(fold: int | None) -> Scores:
        r = p.completed(fold)
        r = r - r.mean(0)
        cov, cross = r.T @ r / len(r), r.T @ p.basis.x[p.images(fold)] / len(r)
        ridge = 1e-4 * np.trace(cov) / len(cov) * np.eye(len(cov))
        scores: Scores = {}
        for lam in (0.9, 0.65, 0.5, 0.35, 0.2, 0.1):
            g, delta = shrunk_spectrum(p.basis, lam), p.delta(fold)
            h = cross / g
            scores[lam, 0] = p.scored(fold) @ unit(p.basis, (delta / g).T)
            for share in (0.5, 0.9):
                small = cov / (share * (1 - lam)) - h @ cross.T + ridge
                scores[lam, share] = p.scored(fold) @ unit(
                    p.basis, (delta / g + delta @ h.T @ np.linalg.solve(small, h)).T
                )
        return scores

    return p.choose(fit)


def random_features(p: Problem, width: float, count: int = 2000) -> Basis:
    """Cosine features of a Gaussian kernel; width in units of the root of twice the total variance."""
    random = np.random.default_rng(5)
    directions = random.standard_normal((p.basis.x.shape[1], count)) * width / np.sqrt(2 * p.basis.d.sum())
    directions, phase = directions.astype(np.float32), (2 * np.pi * random.random(count)).astype(np.float32)
    return Basis(np.cos(p.basis.x @ directions + phase), np.cos(p.basis.t @ directions + phase))


def rbf(p: Problem) -> Choice:
    """The same discriminant on random features; width chosen."""

    def make(width: float) -> Choice:
        key = (id(p.basis), f"rbf {width}")
        if key not in BASES:
            BASES[key] = random_features(p, width)
        return p.other(BASES[key]).base()

    choices = [p.once(("rbf", width), lambda width=width: make(width)) for width in (0.5, 1.0)]
    return max(choices, key=lambda c: mean_precision(c.out_of_fold, p.labels))


TRIALS["7 Gaussian kernel"] = rbf
TRIALS["7 + Gaussian kernel"] = lambda p: blend(p, p.base(), rbf(p))


@trial("7 quadratic terms")
def quadratic(p: Problem) -> Choice:
    """Every other product of the 60 leading whitened coordinates, at half the variance."""

    def products(x: Array) -> Array:
        v, (i, j) = x[:, -60:] / np.sqrt(p.basis.d[-60:]), np.triu_indices(60)
        return np.clip(v[:, i[::2]] * v[:, j[::2]], -4, 4)

    key = (id(p.basis), "quadratic")
    if key not in BASES:
        train, test = products(p.basis.x), products(p.basis.t)
        scale = 0.5 * np.sqrt(p.basis.d.sum() / train.var(0).sum())
        BASES[key] = Basis(np.hstack([p.basis.x, scale * train]), np.hstack([p.basis.t, scale * test]))
    return p.other(BASES[key]).base()


@trial("8 kept: flip, prev .7, neighbours")
def kept(p: Problem) -> Choice:
    """Features of both views and of the next-to-last stage, blended with neighbours on completed labels."""
    new = p.other(basis_of(p.data, "flip averaged + prev, .7"))
    return blend(new, new.base(), neighbours(new, True))


@trial("8 kept without flip: prev .7, neighbours")
def kept_cheap(p: Problem) -> Choice:
    """The same from one view."""
    new = p.other(basis_of(p.data, "mean + prev, weight .7"))
    return blend(new, new.base(), neighbours(new, True))


# Recovery: unknown training cells, given the known labels of the same image


def calibration(p: Problem, held: Array) -> Any:
    """Logistic line of each class, fitted on out-of-fold known cells."""
    from partlabel.recovery import fit_calibration

    rows, columns = np.nonzero(p.labels)
    names = [str(c) for c in range(p.labels.shape[1])]
    return fit_calibration(held[rows, columns].astype(float), p.labels[rows, columns], columns, names)


def judge(p: Problem, held: Array, z: Array) -> list[float]:
    """Mean AP over unknown training cells; recall of the pooled calibrated list at true precision 0.9 and 0.95."""
    line = calibration(p, held)
    unknown = p.labels == 0
    order = np.argsort(-line.probability(z)[unknown], kind="stable")
    present = p.data.y_train[unknown][order]
    precision, found = np.cumsum(present) / np.arange(1, len(present) + 1), np.cumsum(present)
    recalls = []
    for target in (0.9, 0.95):
        reached = np.flatnonzero(precision >= target)
        recalls.append(100 * found[reached[-1]] / present.sum() if len(reached) else 0.0)
    return [mean_precision(z, np.where(unknown, np.where(p.data.y_train, 1, -1), 0)), *recalls]


def with_residuals(p: Problem, held: Array, z: Array) -> tuple[Array, Array]:
    """Scores z + eta R (y - q) over the other known labels, q the calibrated out-of-fold probability; eta chosen."""
    line = calibration(p, held)
    residual = np.where(p.labels != 0, (p.labels > 0) - line.probability(held), 0).astype(np.float32)
    u = np.zeros(residual.shape, np.float32)
    for fold in range(FOLDS):
        u[p.fold == fold] = residual[p.fold == fold] @ correlation(p.completed(fold))
    eta = max((0, 0.3, 1, 2, 4), key=lambda e: mean_precision(held + e * u, p.labels))
    return held + eta * u, z + eta * (residual @ correlation(p.completed(None)))


def with_known_labels(p: Problem) -> tuple[Array, Array]:
    """The discriminant on [x, y - prevalence of known cells]; a class never sees its own label.

    With r = delta_l - H delta_x, H = S_lx S_xx^-1 and P the inverse of the Schur complement: w_l = r P, then
    w_l - (w_l,c / P_cc) P_c so that coordinate c is 0, and w_x = S_xx^-1 delta_x - H^T w_l.
    """
    basis, classes = p.basis, p.labels.shape[1]
    share = (p.labels > 0).sum(0) / np.maximum((p.labels != 0).sum(0), 1)
    raw = np.where(p.labels != 0, (p.labels > 0) - share, 0).astype(np.float32)

    def scores(fold: int | None, size: float, lam: float) -> Array:
        extra = raw * size * np.sqrt(basis.d.sum() / raw.var(0).sum())
        rows, g = p.images(fold), shrunk_spectrum(basis, lam)
        dx = mean_differences(basis.x[rows], p.known(fold), None)
        dl = mean_differences(extra[rows], p.known(fold), None)
        cross = (1 - lam) * extra.T @ basis.x / len(extra)
        h = cross / g
        schur = (1 - lam) * extra.T @ extra / len(extra) + lam * basis.mu * np.eye(classes) - h @ cross.T
        inverse = np.linalg.inv(schur)
        wl = (dl - dx @ h.T) @ inverse
        wl -= (np.diag(wl) / np.diag(inverse))[:, None] * inverse
        wx = dx / g - wl @ h
        return standard(basis.x @ wx.T + extra @ wl.T)

    settings = [(size, lam) for size in (0.3, 0.6) for lam in LAMBDAS[1:10]]
    held = {s: np.zeros(p.labels.shape) for s in settings}
    for fold in range(FOLDS):
        for s in settings:
            held[s][p.fold == fold] = scores(fold, *s)[p.fold == fold]
    best = max(settings, key=lambda s: mean_precision(held[s], p.labels))
    return held[best], scores(None, *best)


def pooled_precision(p: Problem, held: Array) -> float:
    """AP of the pooled calibrated list of out-of-fold known cells."""
    from sklearn.metrics import average_precision_score

    rows, columns = np.nonzero(p.labels)
    return float(
        average_precision_score(p.labels[rows, columns] > 0, calibration(p, held).probability(held)[rows, columns])
    )


def recovery(p: Problem) -> dict[str, list[float]]:
    """Ways to rank unknown training cells."""
    one, two, near = p.first(), p.base(), neighbours(p, True)
    z1 = p.basis.x @ discriminant(p.basis, p.first_delta(None), one.name)
    z2 = p.basis.x @ discriminant(p.basis, p.delta(None), two.name)
    eta, u = evidence_weight(p, one.out_of_fold)
    all_evidence = evidence(p.labels, log_ratios(p.completed(None)))
    held, aware = with_known_labels(p)
    weights = np.where(p.labels != 0, 1, 0.5).astype(np.float32)
    close = neighbour_scores(p.basis.x, p.basis.x, p.basis, p.completed(None), weights, [near.name])[near.name]
    mixed = blend(p, one, near)
    ways = {
        "stage 1": (one.out_of_fold, z1),
        "stage 2": (two.out_of_fold, z2),
        "stage 1 + neighbours": (
            mixed.out_of_fold,
            (1 - mixed.name) * z1 / (one.out_of_fold.std(0) + TINY)
            + mixed.name * (close - near.out_of_fold.mean(0)) / (near.out_of_fold.std(0) + TINY),
        ),
        "stage 1 + log ratios of known labels": (one.out_of_fold + eta * u, z1 + eta * all_evidence),
        "stage 1 + eta R (y - q) of known labels": with_residuals(p, one.out_of_fold, z1),
        "known labels as features": (held, aware),
        "stage 1 + known labels as features": (one.out_of_fold + held, z1 + aware),
    }
    judged = {name: judge(p, *way) for name, way in ways.items()}
    best = max(("stage 1", "stage 2", "known labels as features"), key=lambda name: pooled_precision(p, ways[name][0]))
    return {**judged, "the best of 1, 2 and known labels by pooled out-of-fold AP": judged[best]}


# Table


def difference(values: Array, base: Array) -> str:
    """Mean difference over seeds and its standard error."""
    d = values - base
    error = f" ± {d.std(ddof=1) / np.sqrt(len(d)):.2f}" if len(d) > 1 else ""
    return f"{d.mean():+.2f}{error}"


def report(data: Data, ratio: float, seeds: int, features: str, wanted: list[str] | None) -> None:
    """Prints the two tables of one ratio. All cells known: there is nothing to draw, and one seed."""
    seeds = 1 if ratio == 1 else seeds
    problems = [Problem(data, basis_of(data, features), ratio, seed) for seed in range(seeds)]
    base = np.array([p.base().map for p in problems])
    chosen = ", ".join(f"{p.first().name:g} / {p.base().name:g}" for p in problems)
    print(f"\n{100 * ratio:g} % known, {seeds} seed(s), features: {features}; lambda of the stages: {chosen}\n")
    print("| trial | mAP | against base ± s.e. | best on test | s per seed |\n|---|---|---|---|---|")
    for name, function in TRIALS.items():
        if wanted and not any(name.startswith(w) for w in wanted):
            continue
        start = time.perf_counter()
        choices = [function(p) for p in problems]
        values, seconds = np.array([c.map for c in choices]), (time.perf_counter() - start) / seeds
        top = np.mean([c.best_on_test for c in choices])
        print(
            f"| {name} | {values.mean():.2f} | {difference(values, base)} | ({top:.2f}) | {seconds:.1f} |", flush=True
        )
    if ratio == 1 or (wanted and "9" not in wanted):
        return
    print("\n| unknown training cells by | mAP | recall at precision 0.9 | at 0.95 |\n|---|---|---|---|")
    rows: dict[str, list[list[float]]] = {}
    for p in problems:
        for name, values in recovery(p).items():
            rows.setdefault(name, []).append(values)
    for name, values in rows.items():
        mean, error = np.mean(values, 0), np.std(values, 0, ddof=min(1, seeds - 1)) / np.sqrt(seeds)
        print(
            f"| {name} | " + " | ".join(f"{m:.1f} ± {e:.1f}" for m, e in zip(mean, error, strict=True)) + " |",
            flush=True,
        )


def main() -> None:
    """Reads the arguments, extracts features where they are missing, prints the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("features", type=Path)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--backbone", type=Path, help="local timm folder, to extract features")
    parser.add_argument("--images", type=Path, help="folder of images, to extract features")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--ratios", type=float, nargs="+", default=[0.05, 0.1, 0.5, 1.0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--min-present", type=int, help="classes with fewer present training images are left out")
    parser.add_argument("--base-features", choices=list(FEATURES), default="plain")
    parser.add_argument("--trials", nargs="+", help="beginnings of trial names; 9 is recovery; default: all")
    args = parser.parse_args()
    if not args.features.exists():
        if not (args.backbone and args.images):
            parser.error("features.npz is missing: give --backbone and --images to make it")
        extract(args.backbone, args.images, args.size, args.features)
    data = read(args.features, args.labels, args.min_present)
    print(f"{args.features.name}: {len(data.y_train)} training and {len(data.y_test)} test images, ", end="")
    print(f"{data.y_train.shape[1]} classes, {data.y_train.sum() / len(data.y_train):.1f} present labels an image")
    for ratio in args.ratios:
        report(data, ratio, args.seeds, args.base_features, args.trials)


if __name__ == "__main__":
    main()
