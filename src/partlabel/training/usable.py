"""Of a label table, the classes and images that can be trained on."""

from collections.abc import Collection
from pathlib import Path

import numpy as np

from partlabel.errors import ImageError, LabelError
from partlabel.images.check import check_images
from partlabel.images.limits import DEFAULT_LIMITS, Limits
from partlabel.images.paths import two_spellings
from partlabel.labels import LabelTable
from partlabel.progress import Reporter


def usable_classes(labels: LabelTable, drop: bool) -> LabelTable:
    """The table without classes that have no known cell.

    Raises:
        LabelError: there are such classes, and they are not to be dropped.
    """
    counts = labels.counts_by_class()
    known = counts.present + counts.absent
    empty = [labels.classes[column] for column in np.flatnonzero(known == 0)]
    if not empty:
        return labels
    if len(empty) == len(labels.classes):
        raise LabelError(
            "no cell of the table is known, so that nothing can be learned; label some images (partlabel review TABLE)"
        )
    if not drop:
        shown = ", ".join(repr(name) for name in empty[:5]) + (f" and {len(empty) - 5} more" if len(empty) > 5 else "")
        raise LabelError(
            f"{len(empty)} of {len(labels.classes)} classes have no known cell and cannot be learned: {shown}; leave "
            f"them out with --drop-empty-classes (in a grid: a higher min_present), or label some of their images"
        )
    return labels.select_classes(np.flatnonzero(known > 0))


def usable_images(
    labels: LabelTable,
    root: Path,
    broken: str,
    reporter: Reporter,
    known: Collection[str] = (),
    limits: Limits = DEFAULT_LIMITS,
) -> LabelTable:
    """The table without images that are missing or broken; `known` ones have been decoded before.

    Raises:
        ImageError: there are such images, and `broken` is "fail", or there are no others.
        LabelError: one image stands under two names; what is held out of one would be trained on by the other.
    """
    if twice := two_spellings(labels.images):
        raise LabelError(f"{twice[0]!r} and {twice[1]!r} are the same image; write its name in one way")
    with reporter.track("checking images") as tick:
        unknown = [name for name in labels.images if name not in known] if known else labels.images
        problems = check_images(root, unknown, limits=limits, progress=tick, say=reporter.say)
    if not problems:
        return labels
    if len(problems) == len(labels):
        raise ImageError(
            f"none of the {len(labels)} images of the table can be read below {root}; first: {problems[0].reason}; "
            f"if names differ in ending, case or folder, `partlabel convert TABLE NEW --images {root}` mends them"
        )
    if broken == "fail":
        shown = "; ".join(problem.reason for problem in problems[:3])
        raise ImageError(
            f"{len(problems)} of {len(labels)} images cannot be used: {shown}{'; ...' if len(problems) > 3 else ''}; "
            "repair them (`partlabel look` lists all) or train without them with --broken skip"
        )
    reporter.say(f"training without {len(problems)} images that cannot be read; `partlabel look` lists them")
    bad = {problem.image for problem in problems}
    return labels.select_images(np.asarray([row for row, name in enumerate(labels.images) if name not in bad]))
