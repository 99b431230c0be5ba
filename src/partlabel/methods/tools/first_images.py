"""A linear classifier of classes that few images are known to show, most of them asked about because they look so.

The first pass of the discriminant (`methods.discriminant`) with another m⁻. Images that were asked about first look
like the class, and those among them without it are hard ones: m⁺ less their mean tells the class from what is confused
with it, and not from all the rest. So m⁻ is half the mean of the known absent images and half that of all images, most
of which do not show a rare class. Ours; docs/new_class.md has the numbers.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from partlabel.methods.tools.class_lines import class_lines, separation
from partlabel.methods.tools.feature_passes import FeaturePasses
from partlabel.methods.tools.fold_sums import FoldSums, scores_of_folds, without_each
from partlabel.methods.tools.moments import ClassSums, Moments, mean_differences

SHRINKAGE = 0.97
"""λ; compared with other values, as the weight below, on training images alone: docs/new_class.md."""
OF_ALL = 0.5
"""Weight of the mean of all images in m⁻."""


class FirstImages(NamedTuple):
    """Rows of C classes.

    Args:
        directions: float64 `[C, d]`, whose scores have deviation 1.
        slope: float64 `[C]`; the log odds of an image are slope · score + offset.
        offset: float64 `[C]`; NaN, as the slope, for a class that does not have both signs.
    """

    directions: Float[Tensor, "classes d"]
    slope: NDArray[np.float64]
    offset: NDArray[np.float64]


def first_images(passes: FeaturePasses, sums: FoldSums) -> FirstImages:
    """Rows by the known cells of each class; lines by how the other folds score these.

    Args:
        passes: over images, with labels of C classes.
        sums: of these passes.
    """
    parts = zip(without_each(sums.present), without_each(sums.absent), strict=True)
    directions = [sums.directions(first_differences(sums.moments, *part), [SHRINKAGE])[0] for part in parts]
    rows = passes.judged(1)
    scores = scores_of_folds(passes, sums, rows, [of_fold.float() for of_fold in directions[:-1]])
    states = passes.judging.rows(rows)
    return FirstImages(directions[-1], *class_lines(scores, states, separation(scores, states)))


def first_differences(
    moments: Moments, present: ClassSums, absent: ClassSums, of_all: float = OF_ALL
) -> Float[Tensor, "classes d"]:
    """m⁺ - m⁻ of each class.

    Args:
        moments: of all images.
        present: sums of the known present images.
        absent: of the known absent ones.
        of_all: weight of the mean of all images in m⁻, 0 to 1.
    """
    from_all = mean_differences(moments, present, ClassSums.none(*present.total.shape))
    return (1 - of_all) * mean_differences(moments, present, absent) + of_all * from_all
