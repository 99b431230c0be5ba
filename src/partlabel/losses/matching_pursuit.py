"""Joint non-negative orthogonal matching pursuit: a few images that explain another one's labels and features at once.

Source: Huynh, Elhamifar: Interactive Multi-Label CNN Learning with Partial Labels, CVPR 2020. All queries of a batch go
against one dictionary together: a step is one matrix product a part, and small least-squares problems solved side by
side. The largest intermediates are `[Q, N]` and `[Q, k, d]`.
"""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

_PAIRS_AT_ONCE = 4096
_ROUNDING = 100

Candidates = Literal["all", "positive"]
"""Among which images each step takes the best one (see `joint_matching_pursuit`)."""


class Pursuit(NamedTuple):
    """What was chosen for each query, in the order of choice.

    Args:
        indices: rows of the dictionary, -1 from where the pursuit stopped.
        label_coefficients: their coefficients for the label vectors, 0 where stopped.
        feature_coefficients: the same for the features.
    """

    indices: Int64[Tensor, "queries steps"]
    label_coefficients: Float[Tensor, "queries steps"]
    feature_coefficients: Float[Tensor, "queries steps"]


@torch.no_grad()
def joint_matching_pursuit(
    query_labels: Float[Tensor, "queries classes"],
    query_features: Float[Tensor, "queries features"],
    atom_labels: Float[Tensor, "atoms classes"],
    atom_features: Float[Tensor, "atoms features"],
    *,
    lambda_y: int | float,
    lambda_f: int | float,
    steps: int,
    unmixed_labels: Float[Tensor, "atoms classes"] | None = None,
    excluded: Bool[Tensor, "queries atoms"] | None = None,
    candidates: Candidates = "all",
    threshold: float = 0.0,
    clamp: bool = True,
    balance: bool = False,
) -> Pursuit:
    """At each step the atom of the largest λ_y ⟨r_y, A y_j⟩² / ‖A y_j‖² + λ_f ⟨r_f, f_j⟩² / ‖f_j‖² joins; r are the
    residuals.

    With candidates "all" (paper, Algorithm 2) the best of all atoms is looked at: the pursuit of a query ends if
    ⟨r_y, y_j⟩ or ⟨r_f, f_j⟩ of this one is not positive, whatever the λ, and if it has been chosen before, since then
    nothing would change any more. With "positive" (official code) the best joins among the atoms that were not chosen
    yet and for which ⟨r_y, A y_j⟩ and ⟨r_f, f_j⟩ are positive (that of a part with λ = 0 does not count); the pursuit
    ends where there is none. Either ends at a score that does not exceed the threshold.

    Labels and features are then fitted anew to all chosen atoms, apart, by least squares; where chosen atoms are
    linearly dependent, the solution of least norm in terms of unit atoms is taken. Rounding is not taken for signal:
    inner products below 100 ε ‖y‖ ‖y_j‖ are not positive, and eigenvalues of the Gram matrix of unit atoms below 100 ε
    times the largest are 0, ε being the machine precision. No gradient flows.

    Args:
        query_labels: y, what is to be explained.
        query_features: f, likewise.
        atom_labels: A y_j of the dictionary.
        atom_features: f_j of the dictionary.
        lambda_y: weight of the labels in the choice.
        lambda_f: weight of the features in the choice.
        steps: k, the most atoms a query may have.
        unmixed_labels: y_j of the dictionary, whose inner product with r_y ends the pursuit with candidates "all";
            A y_j if not given.
        excluded: pairs that must not meet, such as an image and itself.
        candidates: among which atoms the best is sought.
        threshold: what a score must exceed. Paper: none.
        clamp: coefficients are max(0, least squares) (paper) or just least squares (official code).
        balance: divide each part's scores by their maximum over the atoms, a query at a time (an option of the official
            code).
    """
    labels = _Part(
        query_labels, atom_labels, lambda_y, steps, atom_labels if unmixed_labels is None else unmixed_labels
    )
    features = _Part(query_features, atom_features, lambda_f, steps, atom_features)
    indices = query_labels.new_full((len(query_labels), steps), -1, dtype=torch.int64)
    allowed = query_labels.new_ones((len(query_labels), len(atom_labels)), dtype=torch.bool)
    if excluded is not None:
        allowed &= ~excluded
    for step in range(steps if len(atom_labels) else 0):
        best, pick = _scores(allowed, (labels, features), balance, candidates).max(1)
        picked = best > threshold
        if candidates == "all":
            picked &= labels.positive(pick) & features.positive(pick) & (indices != pick[:, None]).all(1)
        else:
            allowed[picked, pick[picked]] = False
        indices[:, step] = torch.where(picked, pick, -1)
        for part in (labels, features):
            part.add(step, pick, picked, clamp)
    return Pursuit(indices, labels.coefficients, features.coefficients)


@torch.no_grad()
def near_pairs(
    queries: Float[Tensor, "queries features"], atoms: Float[Tensor, "atoms features"], radius: float
) -> Bool[Tensor, "queries atoms"]:
    """Pairs at a Euclidean distance below the radius.

    Distances by a matrix product are too coarse for a small radius, so that they only propose; proposed pairs are
    measured.
    """
    sizes = queries.square().sum(1)[:, None] + atoms.square().sum(1)[None, :]
    slack = _ROUNDING * torch.finfo(queries.dtype).eps
    near = torch.addmm(sizes, queries, atoms.T, alpha=-2) < radius**2 + slack * sizes
    for pairs in torch.split(near.nonzero(), _PAIRS_AT_ONCE):
        row, column = pairs.T
        near[row, column] = (queries[row] - atoms[column]).norm(dim=1) < radius
    return near


class _Part:
    """Labels or features of a pursuit: what is left of each query, the atoms chosen so far and their coefficients."""

    def __init__(self, query: Tensor, atoms: Tensor, weight: int | float, steps: int, unmixed: Tensor) -> None:
        self.query, self.atoms, self.weight, self.unmixed = query, atoms, weight, unmixed
        self.residual = query
        self.norms = atoms.norm(dim=1)
        self.rounding = _ROUNDING * torch.finfo(query.dtype).eps * query.norm(dim=1)
        self.chosen = query.new_zeros((len(query), steps, query.shape[1]))
        self.coefficients = query.new_zeros((len(query), steps))

    def positive(self, pick: Tensor) -> Tensor:
        """Whether the inner product of the residual with the atom that was picked is positive, before A mixes it."""
        atoms = self.unmixed[pick]
        return torch.gt((self.residual * atoms).sum(1), self.rounding * atoms.norm(dim=1))

    def add(self, step: int, pick: Tensor, picked: Tensor, clamp: bool) -> None:
        """Take an atom up where one was picked (others keep a zero row there, which changes nothing) and fit anew."""
        self.chosen[picked, step] = self.atoms[pick[picked]]
        self.coefficients = _least_squares(self.chosen, self.query)
        if clamp:
            self.coefficients = self.coefficients.clamp(min=0)
        self.residual = torch.baddbmm(self.query[:, None], self.coefficients[:, None], self.chosen, alpha=-1)[:, 0]


def _scores(allowed: Tensor, parts: tuple[_Part, _Part], balance: bool, candidates: Candidates) -> Tensor:
    """Score of each pair, -inf where the atom is no candidate."""
    total = torch.zeros_like(allowed, dtype=parts[0].query.dtype)
    valid = allowed.clone()
    for part in parts:
        if part.weight == 0:
            continue
        inner = part.residual @ part.atoms.T
        if candidates == "positive":
            valid &= inner > torch.outer(part.rounding, part.norms)
        score = inner.div_(part.norms.clamp(min=torch.finfo(inner.dtype).tiny)).square_()
        if balance:
            highest = score.masked_fill(~allowed, 0).amax(1, keepdim=True)
            score /= highest.clamp(min=torch.finfo(score.dtype).tiny)
        total.add_(score, alpha=part.weight)
    return total.masked_fill_(~valid, -torch.inf)


def _least_squares(chosen: Tensor, query: Tensor) -> Tensor:
    """Coefficients `[Q, k]` of the rows of `[Q, k, d]` that come closest to `[Q, d]`; 0 for zero rows."""
    gram = chosen @ chosen.mT
    size = gram.diagonal(dim1=1, dim2=2).sqrt().clamp(min=torch.finfo(gram.dtype).tiny ** 0.5)
    unit_gram = gram / size[:, :, None] / size[:, None, :]
    target = (chosen @ query[:, :, None])[:, :, 0] / size
    inverse = torch.linalg.pinv(unit_gram, rtol=_ROUNDING * torch.finfo(gram.dtype).eps, hermitian=True)
    fitted: Tensor = (inverse @ target[:, :, None])[:, :, 0] / size
    return fitted
