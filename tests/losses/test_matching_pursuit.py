"""Batched matching pursuit against reference numbers and a loop over queries, atoms and steps."""

from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from partlabel.losses.matching_pursuit import joint_matching_pursuit, near_pairs

Y = torch.tensor([[0.3, 0.6, 0.4, 0.3]], dtype=torch.float64)
F = torch.tensor([[0.4, 0.6, 0.4]], dtype=torch.float64)
ATOM_Y = torch.tensor(
    [[0.8, 0.9, 0.1, 0.7], [0.3, 0.4, 0.9, -0.4], [-0.4, -0.5, 0.7, 0.7], [0.8, 1, 0.7, 0.2], [0.7, -0.3, 0.5, -0.3]],
    dtype=torch.float64,
)
ATOM_F = torch.tensor(
    [[0.9, 0.5, 0.4], [0.3, 0.8, 0.5], [0.6, 0, 0.6], [0.6, 0.6, 0.9], [0.7, 0.4, 0.4]], dtype=torch.float64
)
Array = NDArray[np.float64]


@pytest.mark.parametrize(
    ("clamp", "coefficients", "residual"),
    [(True, (0, 0.595064, 0.440585), 0.114204), (False, (-0.177723, 0.595064, 0.440585), 0.045663)],
)
def test_reference_vector(clamp: bool, coefficients: tuple[float, ...], residual: float) -> None:
    found = joint_matching_pursuit(
        Y, F, ATOM_Y, ATOM_F, lambda_y=1, lambda_f=0.5, steps=3, candidates="positive", clamp=clamp
    )
    assert found.indices.tolist() == [[3, 0, 1]]
    np.testing.assert_allclose(found.label_coefficients[0], coefficients, atol=1e-6)
    np.testing.assert_allclose(found.feature_coefficients[0], (0.007326, 0.241758, 0.593407), atol=1e-6)
    left = Y[0] - found.label_coefficients[0] @ ATOM_Y[found.indices[0]]
    assert left.square().sum().item() == pytest.approx(residual, abs=1e-6)
    assert (F[0] - found.feature_coefficients[0] @ ATOM_F[found.indices[0]]).square().sum().item() < 1e-12


def algorithm_2(
    y: Array, f: Array, own: Array, mixed: Array, features: Array, lambdas: tuple[float, float], k: int, out: set[int]
) -> tuple[list[int], Array, Array]:
    """Algorithm 2 of the paper for one image, line by line: y_i' are `own`, A y_i' are `mixed`."""
    r_y, r_f, chosen = y.copy(), f.copy(), []  # line 2
    c = c_bar = np.zeros(0)
    for _ in range(k):  # line 3
        best, best_score = -1, -np.inf
        for i in range(len(own)):  # line 4
            if i in out:
                continue
            score = lambdas[0] * sum(r_y * mixed[i]) ** 2 / sum(mixed[i] ** 2)
            score += lambdas[1] * sum(r_f * features[i]) ** 2 / sum(features[i] ** 2)
            if score > best_score:
                best, best_score = i, score
        if best < 0 or sum(r_y * own[best]) <= 0 or sum(r_f * features[best]) <= 0:  # line 5
            break  # line 6
        if best not in chosen:  # line 8: S is a set
            chosen.append(best)
        c = np.maximum(0, np.linalg.solve(mixed[chosen] @ mixed[chosen].T, mixed[chosen] @ y))  # line 9
        c_bar = np.maximum(0, np.linalg.solve(features[chosen] @ features[chosen].T, features[chosen] @ f))  # line 10
        r_y, r_f = y.copy(), f.copy()
        for place, i in enumerate(chosen):  # lines 11 and 12
            r_y, r_f = r_y - c[place] * mixed[i], r_f - c_bar[place] * features[i]
    return chosen, c, c_bar


def test_algorithm_2_line_by_line() -> None:
    """Labels of -0.5 and 1 or between, features as after ReLU, a label graph that mixes, copies left out."""
    draw = np.random.default_rng(0)
    graph = np.eye(9) + (draw.random((9, 9)) < 0.3)
    graph /= graph.sum(0)
    lengths: list[int] = []
    for lambdas in ((1.0, 0.5), (1.0, 0.0), (0.0, 1.0), (2.0, 0.5)):
        own = np.where(draw.random((24, 9)) < 0.4, draw.uniform(-0.5, 1, (24, 9)), draw.choice([-0.5, 1], (24, 9)))
        features = np.maximum(draw.normal(0.2, 1, (24, 12)), 0) + 1e-3
        mixed = own @ graph
        out = np.eye(24, dtype=bool) | (draw.random((24, 24)) < 0.1)
        found = joint_matching_pursuit(
            *(torch.from_numpy(array) for array in (own, features, mixed, features)),
            lambda_y=lambdas[0],
            lambda_f=lambdas[1],
            steps=5,
            unmixed_labels=torch.from_numpy(own),
            excluded=torch.from_numpy(out),
        )
        for row in range(24):
            chosen, c, c_bar = algorithm_2(
                own[row], features[row], own, mixed, features, lambdas, 5, set(np.flatnonzero(out[row]))
            )
            assert found.indices[row].tolist() == chosen + [-1] * (5 - len(chosen))
            np.testing.assert_allclose(found.label_coefficients[row, : len(chosen)], c, atol=1e-9)
            np.testing.assert_allclose(found.feature_coefficients[row, : len(chosen)], c_bar, atol=1e-9)
            lengths.append(len(chosen))
    assert {1, 2, 3} <= set(lengths) < {0, 1, 2, 3, 4, 5}


def test_the_paper_stops_where_the_best_image_speaks_against() -> None:
    """On the reference numbers: image 4 scores best after image 3, and its labels do not agree with what is left."""
    found = joint_matching_pursuit(Y, F, ATOM_Y, ATOM_F, lambda_y=1, lambda_f=0.5, steps=3)
    assert found.indices.tolist() == [[3, -1, -1]]
    np.testing.assert_allclose(found.label_coefficients[0], (1.18 / 2.17, 0, 0), atol=1e-12)
    np.testing.assert_allclose(found.feature_coefficients[0], (0.96 / 1.53, 0, 0), atol=1e-12)
    assert algorithm_2(Y[0].numpy(), F[0].numpy(), *[ATOM_Y.numpy()] * 2, ATOM_F.numpy(), (1, 0.5), 3, set())[0] == [3]


def test_the_end_is_decided_by_labels_that_the_graph_has_not_mixed() -> None:
    """Line 5 of Algorithm 2 has y_s, where line 4 has A y_s."""
    y, f, mixed = torch.tensor([[1.0, 0.0]]), torch.ones(1, 1), torch.tensor([[1.0, 0.0]])
    for own, chosen in (([1.0, 5.0], 0), ([-1.0, 5.0], -1)):
        found = joint_matching_pursuit(
            y, f, mixed, f, lambda_y=1, lambda_f=1, steps=1, unmixed_labels=torch.tensor([own])
        )
        assert found.indices.item() == chosen


def naive(
    y: Array,
    f: Array,
    atoms_y: Array,
    atoms_f: Array,
    *,
    lambdas: tuple[float, float],
    steps: int,
    excluded: NDArray[np.bool_],
    threshold: float,
    clamp: bool,
    balance: bool,
) -> tuple[list[int], Array, Array]:
    """The official code's rule for one query, one atom at a time."""
    chosen: list[int] = []
    fits = [np.zeros(0), np.zeros(0)]
    for _ in range(steps):
        left = [q - fit @ atoms[chosen] for q, fit, atoms in zip((y, f), fits, (atoms_y, atoms_f), strict=True)]
        scores = np.zeros((2, len(atoms_y)))
        valid = np.ones(len(atoms_y), bool)
        for part, atoms in enumerate((atoms_y, atoms_f)):
            for j, atom in enumerate(atoms):
                inner = float(left[part] @ atom)
                scores[part, j] = inner**2 / (atom @ atom) if (atom @ atom) > 0 else 0
                rounding = 1e-13 * np.linalg.norm((y, f)[part]) * np.linalg.norm(atom)
                valid[j] &= lambdas[part] == 0 or inner > rounding
        if balance:
            for part in range(2):
                highest = max(
                    (scores[part, j] for j in range(len(atoms_y)) if not excluded[j] and j not in chosen), default=0
                )
                scores[part] /= highest or 1
        best, best_score = -1, threshold
        for j in range(len(atoms_y)):
            score = lambdas[0] * scores[0, j] + lambdas[1] * scores[1, j]
            if valid[j] and not excluded[j] and j not in chosen and score > best_score:
                best, best_score = j, score
        if best < 0:
            break
        chosen.append(best)
        for part, (q, atoms) in enumerate(((y, atoms_y), (f, atoms_f))):
            sizes = np.sqrt((atoms[chosen] ** 2).sum(1))
            unit = atoms[chosen] / np.where(sizes > 0, sizes, 1)[:, None]
            fit = np.linalg.lstsq(unit.T, q, rcond=1e-7)[0] / np.where(sizes > 0, sizes, 1)
            fits[part] = np.maximum(fit, 0) if clamp else fit
    return chosen, fits[0], fits[1]


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    atoms=st.integers(0, 12),
    steps=st.integers(1, 6),
    lambdas=st.sampled_from([(1, 0.5), (1, 0), (0, 1), (0, 0)]),
    clamp=st.booleans(),
    balance=st.booleans(),
    degenerate=st.booleans(),
)
def test_candidates_of_the_official_code_against_a_loop(
    seed: int, atoms: int, steps: int, lambdas: tuple[float, float], clamp: bool, balance: bool, degenerate: bool
) -> None:
    """Degenerate: zero rows among atoms and queries, and atoms that are multiples of others in both parts."""
    draw = np.random.default_rng(seed)
    y, f = draw.normal(size=(4, 5)), draw.random((4, 6))
    atoms_y, atoms_f = draw.normal(size=(atoms, 5)), draw.random((atoms, 6))
    if degenerate and atoms > 4:
        atoms_y[0] = atoms_f[1] = y[0] = 0
        atoms_y[2], atoms_f[2] = 2 * atoms_y[3], 3 * atoms_f[3]
    excluded = draw.random((4, atoms)) < 0.2
    options = {"steps": steps, "threshold": 1e-6, "clamp": clamp, "balance": balance}
    found = joint_matching_pursuit(
        *(torch.from_numpy(array) for array in (y, f, atoms_y, atoms_f)),
        lambda_y=lambdas[0],
        lambda_f=lambdas[1],
        excluded=torch.from_numpy(excluded),
        candidates="positive",
        **options,
    )
    for row in range(4):
        chosen, on_y, on_f = naive(y[row], f[row], atoms_y, atoms_f, lambdas=lambdas, excluded=excluded[row], **options)
        indices = found.indices[row].tolist()
        assert indices[len(chosen) :] == [-1] * (steps - len(chosen))
        assert found.label_coefficients[row, len(chosen) :].eq(0).all()
        tied = degenerate and {2, 3} & set(
            chosen
        )  # a multiple scores the same up to rounding: then only the sum is determined
        if not tied:
            assert indices[: len(chosen)] == chosen
            np.testing.assert_allclose(found.label_coefficients[row, : len(chosen)], on_y, atol=1e-6)
            np.testing.assert_allclose(found.feature_coefficients[row, : len(chosen)], on_f, atol=1e-6)
        mine = indices[: len(chosen)]
        np.testing.assert_allclose(
            found.label_coefficients[row].numpy()[: len(mine)] @ atoms_y[mine], on_y @ atoms_y[chosen], atol=1e-6
        )
        np.testing.assert_allclose(
            found.feature_coefficients[row].numpy()[: len(mine)] @ atoms_f[mine], on_f @ atoms_f[chosen], atol=1e-6
        )


def test_no_more_atoms_than_there_are() -> None:
    torch.manual_seed(0)
    y, f = torch.rand(3, 8), torch.rand(3, 8)
    atoms = torch.rand(2, 8)
    found = joint_matching_pursuit(y, f, atoms, atoms, lambda_y=1, lambda_f=1, steps=5, threshold=0)
    assert (found.indices[:, 2:] == -1).all()
    assert all(sorted(row) == [0, 1] for row in found.indices[:, :2].tolist())


@pytest.mark.parametrize("candidates", ["all", "positive"])
def test_no_atom_twice(candidates: Literal["all", "positive"]) -> None:
    """Clamping makes it possible: what is left then correlates with an atom that is already there."""
    torch.manual_seed(0)
    y, f, atoms = torch.randn(500, 5), torch.rand(500, 3), torch.randn(12, 5)
    found = joint_matching_pursuit(
        y, f, atoms, torch.rand(12, 3), lambda_y=1, lambda_f=0, steps=6, candidates=candidates
    )
    for row in found.indices.tolist():
        chosen = [index for index in row if index >= 0]
        assert len(set(chosen)) == len(chosen)


def test_an_image_in_the_dictionary_explains_itself_unless_excluded() -> None:
    torch.manual_seed(0)
    y, f = torch.randn(6, 9), torch.rand(6, 9)
    alone = joint_matching_pursuit(y, f, y, f, lambda_y=1, lambda_f=1, steps=2)
    assert alone.indices[:, 0].tolist() == list(range(6))
    torch.testing.assert_close(alone.label_coefficients[:, 0], torch.ones(6))
    apart = joint_matching_pursuit(y, f, y, f, lambda_y=1, lambda_f=1, steps=2, excluded=torch.eye(6, dtype=torch.bool))
    assert not (apart.indices == torch.arange(6)[:, None]).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_copy_of_a_chosen_atom_is_not_chosen_for_rounding(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    y, f, atom = (torch.rand(rows, 300, dtype=dtype) for rows in (64, 64, 1))
    copies = torch.cat([atom, 2 * atom, atom])
    for balance in (False, True):
        found = joint_matching_pursuit(
            y, f, copies, copies, lambda_y=1, lambda_f=1, steps=2, threshold=0, balance=balance
        )
        assert (found.indices[:, 1] == -1).all()


def test_dependent_atoms_share_what_they_explain() -> None:
    """Both copies are forced in by a part where they differ; the other part is singular."""
    y = torch.tensor([[1.0, 2.0]])
    f = torch.tensor([[3.0, 3.0]])
    found = joint_matching_pursuit(
        y, f, torch.eye(2), torch.ones(2, 2), lambda_y=1, lambda_f=0, steps=2, candidates="positive"
    )
    assert found.indices.tolist() == [[1, 0]]
    torch.testing.assert_close(found.label_coefficients, torch.tensor([[2.0, 1.0]]))
    torch.testing.assert_close(found.feature_coefficients, torch.tensor([[1.5, 1.5]]))


def test_near_pairs_are_measured_exactly() -> None:
    """At this size a matrix product in single precision is wrong by far more than the radius."""
    torch.manual_seed(0)
    atoms = 30 * torch.rand(50, 512)
    queries = atoms[:4].clone()
    queries[1, 0] += 9e-4
    queries[2, 0] += 1.1e-3
    queries[3] += 1
    near = near_pairs(queries, atoms, 1e-3)
    assert near.nonzero().tolist() == [[0, 0], [1, 1]]
