"""Every known cell stays known with the same probability: the known-ratio protocol of the partial-label papers."""

from partlabel.labels import LabelTable
from partlabel.masking.blocks import thin
from partlabel.masking.keyed import CellHash, below
from partlabel.masking.settings import check_ratio


def known_ratio(table: LabelTable, *, ratio: float, seed: int = 0) -> LabelTable:
    """Keep each known cell with probability `ratio`, whatever its sign, class and image.

    Masks of one seed are nested: what is known at 0.1 is known at 0.2. An image may end without any known cell.

    Raises:
        UsageError: the ratio is outside [0, 1].
    """
    ratio = check_ratio("ratio", ratio)
    hashes = CellHash.of(table.images, table.classes, seed=seed, purpose="masking/known_ratio")
    return thin(table, lambda block: below(hashes.at(block.rows, block.columns), ratio))
