"""The draws of published code, bit for bit: they depend on the order of images and classes, and on how many there are.

To meet a paper's own mask, the table must hold the same images in the same order (COCO 2014 with all 82,783 images of
the annotation file for the numpy lineage, with the 82,081 annotated ones for the torch lineage) and the classes in the
paper's order. For new experiments use the keyed maskings.

numpy freezes the streams of `RandomState` (NEP 19), so these draws do not change with its version.
"""

from collections.abc import Callable

import numpy as np

from partlabel.errors import LabelError
from partlabel.labels import LabelTable, State
from partlabel.masking.blocks import Block, thin
from partlabel.masking.keyed import BoolArray, check_seed
from partlabel.masking.settings import check_ratio

Draw = Callable[[tuple[int, int]], BoolArray]


def legacy_numpy_ratio(table: LabelTable, *, ratio: float, seed: int = 0) -> LabelTable:
    """Known-ratio mask of SST, HST, SARB and PU-MLC.

    Their code: `np.random.seed(0); mask = np.random.random((N, C)); known = mask < ratio`, one full matrix in row
    order, with the seed fixed at 0. `np.random.rand`, `random_sample` and `uniform(0, 1)` are the same stream.

    Raises:
        UsageError: the ratio is outside [0, 1], or the seed outside 0..2³²-1.
    """
    ratio = check_ratio("ratio", ratio)
    random = np.random.RandomState(check_seed(seed, bits=32))
    return _thin_by_matrix(table, lambda shape: random.random_sample(shape) < ratio)


def legacy_torch_ratio(table: LabelTable, *, ratio: float, seed: int = 0) -> LabelTable:
    """Known-ratio mask of DualCoOp and CLSL.

    Their code: `torch.rand(N, C) < ratio` on the CPU in single precision, with torch's global generator fresh from
    `torch.manual_seed(seed)`; CLSL's seed is 0. Torch's generator is the Mersenne Twister that numpy has, and a float32
    comes from the low 24 bits of one output, so numpy draws the same numbers.

    Raises:
        UsageError: the ratio is outside [0, 1], or the seed outside 0..2³²-1.
    """
    threshold = np.float32(check_ratio("ratio", ratio))
    random = np.random.RandomState(check_seed(seed, bits=32))

    def draw(shape: tuple[int, int]) -> BoolArray:
        bits = random.randint(0, 2**32, size=shape, dtype=np.uint32) & np.uint32(2**24 - 1)
        return bits.astype(np.float32) * np.float32(2.0**-24) < threshold

    return _thin_by_matrix(table, draw)


def legacy_removal(table: LabelTable, *, removal: float, seed: int = 0) -> LabelTable:
    """The "random per sample" mask of class-aware selective loss (Ben-Baruch et al., CVPR 2022).

    Their code: `np.random.random((N, C)) < removal` becomes unknown: the parameter is the rate of *removal*. They set
    no seed, so their own masks cannot be had again; this is their procedure from a stated seed.

    Raises:
        UsageError: the rate is outside [0, 1], or the seed outside 0..2³²-1.
    """
    removal = check_ratio("removal", removal)
    random = np.random.RandomState(check_seed(seed, bits=32))
    return _thin_by_matrix(table, lambda shape: random.random_sample(shape) >= removal)


def legacy_single_positive(table: LabelTable, *, seed: int = 1200) -> LabelTable:
    """Single positive of Cole et al. (CVPR 2021), whose seed is 1200, set anew for each split.

    Their code, image by image in order: shuffle the indices of the positives and keep the first, then shuffle the
    indices of the negatives and keep none. The second shuffle keeps nothing, but it moves the generator on.

    Raises:
        LabelError: the table is not complete, because unknown cells have no place in their procedure.
        UsageError: the seed is outside 0..2³²-1.
    """
    random = np.random.RandomState(check_seed(seed, bits=32))
    width = len(table.classes)

    def first_of_shuffled(block: Block) -> BoolArray:
        _check_complete(table, block)
        states = block.states.reshape(-1, width)
        kept = np.zeros(states.shape, bool)
        for row, labels in enumerate(states):
            positives = np.flatnonzero(labels == State.PRESENT)
            random.shuffle(positives)
            kept[row, positives[:1]] = True
            random.shuffle(np.flatnonzero(labels == State.ABSENT))
        return kept.ravel()

    return thin(table, first_of_shuffled)


def _thin_by_matrix(table: LabelTable, draw: Draw) -> LabelTable:
    """Keep the cells where the full N × C matrix says so; drawn block by block, which consumes the stream in the same
    order.
    """

    def keep(block: Block) -> BoolArray:
        return draw((block.stop - block.start, len(table.classes)))[block.rows - block.start, block.columns]

    return thin(table, keep)


def _check_complete(table: LabelTable, block: Block) -> None:
    known = np.bincount(block.rows - block.start, minlength=block.stop - block.start)
    incomplete = np.flatnonzero(known < len(table.classes))
    if incomplete.size:
        raise LabelError(
            f"legacy_single_positive needs a complete table, but image {table.images[block.start + incomplete[0]]!r} "
            f"has {len(table.classes) - known[incomplete[0]]} unknown cell(s); use the masking single_positive"
        )
