"""From one loss per cell to one number: what the sum over known cells is divided by.

The divisor acts as a learning rate (see docs), so it is a choice with a name and never an accident.
"""

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Normalization = Literal["batch", "image", "image_sum", "images", "partial_bce", "class", "sum"]


def normalize(
    cell_losses: Float[Tensor, "batch classes"],
    counted: Bool[Tensor, "batch classes"],
    by: Normalization,
    *,
    batch_total: Float[Tensor, ""] | Int[Tensor, ""] | None = None,
    g: tuple[float, float, float] = (-4.45, 5.45, 1.0),
) -> Float[Tensor, ""]:
    """Reduce cell losses to a scalar; cells that are not counted carry no loss.

    Args:
        cell_losses: loss of every cell.
        counted: the cells that count, usually the known ones.
        by: "batch": sum / number counted in the batch (BN-BCE of saliency regularization, the HCP lineage).
            "image": mean over images of (sum / number counted in the image); an image with none counts 0.
            "image_sum": the same summed over images (eq. 9 to 11 of saliency regularization).
            "images": sum / B, the mean over images of each one's sum.
            "partial_bce": mean over images of g(n / C) / C × sum, with g(p) = a·p^c + b (Durand et al. 2019).
            "class": sum / (B·C) (S-BCE). "sum": no division.
        batch_total: for "batch", the number to divide by where the batch is only one process's part of a larger one.
        g: (a, b, c) of "partial_bce"; the default gives g(0.1) = 5.005 and g(1) = 1.

    Returns:
        A scalar; 0 where nothing is counted.
    """
    losses = torch.where(counted, cell_losses, torch.zeros_like(cell_losses))
    images, classes = cell_losses.shape
    if by == "sum":
        return losses.sum()
    if by == "class":
        return losses.sum() / (images * classes)
    if by == "images":
        return losses.sum() / images
    if by == "batch":
        total = counted.sum() if batch_total is None else batch_total
        return losses.sum() / torch.where(total > 0, total, torch.ones_like(total))  # a process's part may be below 1
    per_image = counted.sum(1)
    if by in {"image", "image_sum"}:
        of_images = losses.sum(1) / per_image.clamp(min=1)
        return of_images.mean() if by == "image" else of_images.sum()
    a, b, c = g
    known_share = per_image.to(losses.dtype) / classes
    weight = torch.where(per_image > 0, a * known_share**c + b, torch.zeros_like(known_share))
    return (weight / classes * losses.sum(1)).mean()
