"""Bilinear attention between places and labels, w · tanh(f ∘ s), without ever holding places × labels × hidden
numbers.

The semantic heads (co-learning 2025, the SSGRL family 2019) score place p for label c by w·(P tanh(U f_p ∘ V s_c) + b)
+ b'. Nothing non-linear stands between P and w, so v = Pᵀw gives the same values and gradients for a fraction of the
work: `attention_logits` takes U f, V s and v. The product over places × labels × hidden is made a block at a time, and
made again for the backward pass.
"""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

CPU_BLOCK_BYTES = 4 * 2**20
"""Working memory on a CPU: what stays in its caches is quicker than what does not
(benchmarks/semantic_attention.py).
"""


def attention_logits(
    image_part: Float[Tensor, "batch places hidden"],
    label_part: Float[Tensor, "labelled classes hidden"],
    weight: Float[Tensor, "hidden"],
    *,
    budget_bytes: int = 64 * 2**20,
) -> Float[Tensor, "batch places classes"]:
    """Σ_h weight_h · tanh(image_part_bph · label_part_bch), differentiable once.

    Only the three inputs are kept for the backward pass. Half-precision inputs, autocast or not, are computed in
    float32.

    Args:
        image_part: `[B, P, h]`.
        label_part: `[B, C, h]`, or `[1, C, h]` for labels that are the same for all images.
        weight: `[h]`.
        budget_bytes: working memory beyond inputs, results and gradients; one place at a time is the least that is
            used.

    Returns:
        `[B, P, C]`, in the widest type of the inputs, but at least float32.
    """
    if image_part.is_meta or torch.compiler.is_exporting():
        return _dense(image_part, label_part, weight)
    if image_part.device.type == "cpu":
        budget_bytes = min(budget_bytes, CPU_BLOCK_BYTES)
    return _AttentionLogits.apply(image_part, label_part, weight, budget_bytes)  # type: ignore[no-any-return]


def _dense(image_part: Tensor, label_part: Tensor, weight: Tensor) -> Tensor:
    """The same in one expression, for those who follow it in the abstract: an export, or shapes without numbers."""
    wide = torch.float32
    for part in (image_part, label_part, weight):
        wide = torch.promote_types(wide, part.dtype)
    return torch.tanh(image_part.to(wide).unsqueeze(2) * label_part.to(wide).unsqueeze(1)) @ weight.to(wide)


class _AttentionLogits(Function):
    """A Function because autograd would keep the product of every block."""

    @staticmethod
    def forward(ctx: Any, image_part: Tensor, label_part: Tensor, weight: Tensor, budget_bytes: int) -> Tensor:
        ctx.save_for_backward(image_part, label_part, weight)
        ctx.budget_bytes = budget_bytes
        with torch.autocast(image_part.device.type, enabled=False):
            image, label, w = _widened(image_part, label_part, weight)
            logits = image.new_empty((*image.shape[:2], label.shape[1]))
            for at, block in _tanh_blocks(image, label, budget_bytes):
                logits[at] = torch.matmul(block, w)
        return logits.view(*image_part.shape[:2], label_part.shape[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        inputs = ctx.saved_tensors
        with torch.autocast(gradient.device.type, enabled=False):
            gradients = _gradients(gradient, *_widened(*inputs), ctx.needs_input_grad, ctx.budget_bytes)
        found = (
            None if result is None else result.view_as(given).to(given.dtype)
            for result, given in zip(gradients, inputs, strict=True)
        )
        return *found, None


def _gradients(
    gradient: Tensor, image: Tensor, label: Tensor, weight: Tensor, needed: tuple[bool, ...], budget_bytes: int
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of the widened inputs. With t = tanh and g the gradient of the logits, over the blocks:

    weight_h: Σ g·t;  image_ph: w_h Σ_c g·(1 - t²)·label_ch;  label_ch: w_h Σ_p g·(1 - t²)·image_ph.
    """
    gradient = gradient.reshape(*image.shape[:2], label.shape[1])
    of_image, of_label, of_weight = (
        torch.zeros_like(part) if need else None for part, need in zip((image, label, weight), needed, strict=False)
    )
    one = gradient.new_ones(())
    # two blocks are at work at a time
    for at, block in _tanh_blocks(image, label, budget_bytes // 2):
        g = gradient[at]
        if of_weight is not None:
            of_weight += torch.matmul(g.reshape(-1), block.flatten(0, 2))
        slope = torch.addcmul(one, block, block, value=-1, out=block)
        if of_image is not None:
            product = slope * label[at[0], None]
            of_image[at] = torch.matmul(g.unsqueeze(2), product).squeeze(2)
        if of_label is not None:
            product = slope.mul_(image[at].unsqueeze(2))
            of_label[at[0]] += torch.matmul(g.permute(0, 2, 1).unsqueeze(2), product.transpose(1, 2)).squeeze(2)
    for found in (of_image, of_label):
        if found is not None:
            found.mul_(weight)
    return of_image, of_label, of_weight


def _widened(image_part: Tensor, label_part: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The inputs in one type, with all places in a row where the labels are those of every image."""
    wide = torch.float32
    for part in (image_part, label_part, weight):
        wide = torch.promote_types(wide, part.dtype)
    image = image_part.to(wide)
    if label_part.shape[0] == 1:
        image = image.reshape(1, -1, image.shape[2])
    return image, label_part.to(wide), weight.to(wide)


def _tanh_blocks(image: Tensor, label: Tensor, budget_bytes: int) -> Iterator[tuple[tuple[slice, slice], Tensor]]:
    """tanh(image · label) of some images and places at a time, `[b, p, C, h]`, in memory that the next block
    overwrites.
    """
    (images, places, hidden), classes = image.shape, label.shape[1]
    rows = max(budget_bytes // max(classes * hidden * image.element_size(), 1), 1)
    image_step, place_step = max(rows // max(places, 1), 1), max(min(rows, places), 1)
    memory = image.new_empty(min(image_step, images) * min(place_step, places) * classes * hidden)
    for first_image in range(0, images, image_step):
        for first_place in range(0, places, place_step):
            at = slice(first_image, first_image + image_step), slice(first_place, first_place + place_step)
            part = image[at].unsqueeze(2)
            shape = (*part.shape[:2], classes, hidden)
            block = memory[: part.shape[0] * part.shape[1] * classes * hidden].view(shape)
            torch.mul(part, label[at[0], None], out=block)
            yield at, block.tanh_()
