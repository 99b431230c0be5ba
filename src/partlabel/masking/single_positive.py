"""One positive an image, all else unknown: Cole et al., "Multi-label learning from single positive labels" (CVPR
2021).
"""

import numpy as np

from partlabel.labels import LabelTable, State
from partlabel.masking.blocks import Block, thin
from partlabel.masking.keyed import BoolArray, CellHash, ranks_within


def single_positive(table: LabelTable, *, seed: int = 0) -> LabelTable:
    """Keep one positive of each image, chosen uniformly; an image without positives ends without any known cell."""
    hashes = CellHash.of(table.images, table.classes, seed=seed, purpose="masking/single_positive")

    def lowest(block: Block) -> BoolArray:
        kept = np.zeros(block.rows.size, bool)
        positive = np.flatnonzero(block.states == State.PRESENT)
        rows = block.rows[positive]
        kept[positive] = ranks_within(rows, hashes.at(rows, block.columns[positive])) == 0
        return kept

    return thin(table, lowest)
