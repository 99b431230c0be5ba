"""Positives go missing; all absents are hidden as well, because among known absents an unknown cell would give itself
away.
"""

import numpy as np

from partlabel.errors import UsageError
from partlabel.labels import LabelTable, State
from partlabel.masking.blocks import Block, thin
from partlabel.masking.keyed import BoolArray, CellHash, below, ranks_within
from partlabel.masking.settings import check_one_of, check_ratio

# An image with n positives keeps n // divisor + 1 of them in the published COCO lists of Zhang et al., "Simple and
# robust loss design for multi-label learning with missing labels" (2021): exact for each of their 82,081 images.
_PUBLISHED_DIVISORS = {75: 2, 40: 5}


def drop_positives(
    table: LabelTable, *, keep: float | None = None, published_left: int | None = None, seed: int = 0
) -> LabelTable:
    """Keep some positives and hide everything else. Give one of `keep` and `published_left`.

    Args:
        table: the table to thin.
        keep: probability of each positive to stay; nested across rates, and an image may lose all of its positives.
        published_left: 75 or 40: an image with n positives keeps floor(n / 2) + 1 ("75 % left") or floor(n / 5) + 1
            ("40 % left") of them, as in the published lists. *Which* stay there is not known; here the keyed hash
            decides.
        seed: of the keyed hash.

    Raises:
        UsageError: both or neither are given, the rate is outside [0, 1], or there is no such published list.
    """
    check_one_of("drop_positives", keep=keep, published_left=published_left)
    hashes = CellHash.of(table.images, table.classes, seed=seed, purpose="masking/drop_positives")
    if keep is not None:
        rate = check_ratio("keep", keep)
        return thin(
            table, lambda block: (block.states == State.PRESENT) & below(hashes.at(block.rows, block.columns), rate)
        )
    if published_left not in _PUBLISHED_DIVISORS:
        raise UsageError(
            f"published_left is {published_left!r}; the published lists are 75 and 40 (percent of positives left)"
        )
    divisor = _PUBLISHED_DIVISORS[published_left]

    def lowest_ranked(block: Block) -> BoolArray:
        kept = np.zeros(block.rows.size, bool)
        positive = np.flatnonzero(block.states == State.PRESENT)
        rows = block.rows[positive]
        ranks = ranks_within(rows, hashes.at(rows, block.columns[positive]))
        positives_of_image = np.bincount(rows - block.start, minlength=block.stop - block.start)[rows - block.start]
        kept[positive] = ranks <= positives_of_image // divisor
        return kept

    return thin(table, lowest_ranked)
