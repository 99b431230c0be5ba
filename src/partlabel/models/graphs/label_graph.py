"""Which labels occur together, counted from known labels only, unless unknown ones are called absent."""

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from torch import Tensor

from partlabel.labels import LabelTable

Graph = Float[Tensor, "classes classes"]


def co_occurrence(table: LabelTable, unknown: Literal["ignored", "absent"] = "ignored") -> Graph:
    """P(j present | i present) as float32 `[C, C]`, row i, column j; 1 on the diagonal of classes with a known present
    cell.

    The share of images with j present among those where i is known present and j is known; 0 where there is none.
    So unknown cells say nothing. The public code of SSGRL's heirs (SST, SARB, PU-MLC) divides by all images where i is
    present, which counts unknown as absent and scales every share off the diagonal by about the known ratio; for a
    class without present cell it divides by zero and keeps the NaN.

    Memory grows with listed cells and C², whatever the number of images.

    Args:
        table: labels.
        unknown: whether unknown cells say nothing, or are taken as absent: then the share is of all images where i is
            present.
    """
    cells = table.cells()
    complete = table.background == -1
    present = _counted(table, cells.states == 1)
    both_present = (present.T @ present).toarray()
    if unknown == "absent":
        return _shares(both_present, np.repeat(both_present.diagonal()[:, None], len(complete), 1))
    listed_known = _counted(table, (cells.states != 0) & ~complete[cells.class_index])
    listed_unknown = _counted(table, (cells.states == 0) & complete[cells.class_index])
    known = (present.T @ (listed_known - listed_unknown)).toarray()
    known += both_present.diagonal()[:, None] * complete[None, :]
    return _shares(both_present, known)


def ml_gcn_adjacency(conditional: Graph, threshold: float = 0.4, reweight: float = 0.2) -> Graph:
    """Adjacency of ML-GCN (Chen et al., CVPR 2019) from P(j | i).

    A_ij = 1 where P(j | i) >= threshold and i ≠ j; then a node keeps 1 - p of itself and takes p from its neighbours,
    in equal parts; then D^-1/2 A D^-1/2 with D the row sums. The public code shares p out along the columns, and
    transposes at the end: there label j takes from those labels i whose presence makes j likely.

    Args:
        conditional: `[C, C]`, row i, column j.
        threshold: t of the paper, 0.4.
        reweight: p of the paper, 0.2; below 1.
    """
    linked = (conditional >= threshold).to(conditional.dtype).fill_diagonal_(0)
    neighbours = reweight * linked / linked.sum(1, keepdim=True).clamp(min=1)
    adjacency = neighbours + (1 - reweight) * torch.eye(len(linked), dtype=linked.dtype, device=linked.device)
    scale = adjacency.sum(1).rsqrt()
    return scale[:, None] * adjacency * scale[None, :]


def _shares(of: NDArray[np.int32], among: NDArray[np.int32]) -> Graph:
    shares = np.divide(of, among, out=np.zeros(among.shape), where=among > 0)
    return torch.from_numpy(shares.astype(np.float32))


def _counted(table: LabelTable, chosen: NDArray[np.bool_]) -> csr_array:
    """Ones at the chosen listed cells, int32 `[N, C]`, sparse."""
    cells = table.cells()
    places = cells.image_index[chosen], cells.class_index[chosen]
    return coo_array((np.ones(places[0].size, np.int32), places), shape=table.shape).tocsr()
