"""The same number, or the same fraction, of positives and of negatives for every class."""

import numpy as np

from partlabel.labels import IntArray, LabelTable, State
from partlabel.masking.blocks import Block, known_blocks, thin
from partlabel.masking.keyed import BoolArray, CellHash, UInt64Array
from partlabel.masking.settings import check_count, check_one_of, check_ratio

_TOP_BITS = 8


def per_class(
    table: LabelTable, *, count: int | None = None, fraction: float | None = None, seed: int = 0
) -> LabelTable:
    """Keep a quota of positives and a quota of negatives of each class. Give one of `count` and `fraction`.

    The cells with the smallest keyed hash stay, so tables of one seed are nested across quotas. Which images they are
    depends on the whole table, unlike in the other maskings.

    Args:
        table: the table to thin.
        count: up to this many positives and this many negatives a class ("fixed per class": Ben-Baruch et al.,
            "Multi-label classification with partial annotations using class-aware selective loss", CVPR 2022).
        fraction: max(int(fraction · n), 1) of the n positives, and likewise of the negatives (public code of Huynh and
            Elhamifar, "Interactive multi-label CNN learning with partial labels", CVPR 2020; the paper says per image).
        seed: of the keyed hash.

    Raises:
        UsageError: both or neither are given, or one is out of range.
    """
    check_one_of("per_class", count=count, fraction=fraction)
    counts = table.counts_by_class()
    available = np.concatenate([counts.absent, counts.present])
    if count is not None:
        quota = np.minimum(available, check_count("count", count))
    else:
        share = np.maximum((available * check_ratio("fraction", fraction or 0.0)).astype(np.int64), 1)
        quota = np.minimum(available, share)
    hashes = CellHash.of(table.images, table.classes, seed=seed, purpose="masking/per_class")
    largest = _quota_smallest(table, hashes, quota)

    def within_quota(block: Block) -> BoolArray:
        groups = _groups(table, block)
        kept: BoolArray = (hashes.at(block.rows, block.columns) <= largest[groups]) & (quota[groups] > 0)
        return kept

    return thin(table, within_quota)


def _groups(table: LabelTable, block: Block) -> IntArray:
    """Number of each cell's (sign, class): the classes' negatives come first, then their positives."""
    return block.columns + np.where(block.states == State.PRESENT, len(table.classes), 0)


def _quota_smallest(table: LabelTable, hashes: CellHash, quota: IntArray) -> UInt64Array:
    """For each group of known cells the `quota`-th smallest hash, 0 where the quota is 0.

    Two passes, so that no more than a 256th of the hashes is held: the first counts them by their leading byte, the
    second collects those that share the leading byte of the one sought.
    """
    bins = 1 << _TOP_BITS
    histogram = np.zeros((quota.size, bins), np.int64)
    for block in known_blocks(table):
        top = _leading_byte(hashes.at(block.rows, block.columns))
        histogram += np.bincount(_groups(table, block) * bins + top, minlength=histogram.size).reshape(histogram.shape)
    cumulative = histogram.cumsum(axis=1)
    wanted_bin = (cumulative < quota[:, None]).sum(axis=1)
    before = np.take_along_axis(cumulative - histogram, wanted_bin[:, None], axis=1)[:, 0]

    found_groups, found_hashes = [np.empty(0, np.int64)], [np.empty(0, np.uint64)]
    for block in known_blocks(table):
        values, groups = hashes.at(block.rows, block.columns), _groups(table, block)
        candidate = (_leading_byte(values) == wanted_bin[groups]) & (quota[groups] > 0)
        found_groups.append(groups[candidate])
        found_hashes.append(values[candidate])
    all_groups, all_hashes = np.concatenate(found_groups), np.concatenate(found_hashes)
    order = np.lexsort((all_hashes, all_groups))
    result = np.zeros(quota.size, np.uint64)
    active = np.flatnonzero(quota)
    first = np.searchsorted(all_groups[order], active)
    result[active] = all_hashes[order][first + (quota - before)[active] - 1]
    return result


def _leading_byte(hashes: UInt64Array) -> IntArray:
    return (hashes >> np.uint64(64 - _TOP_BITS)).astype(np.int64)
