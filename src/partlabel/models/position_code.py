"""Sine codes of places in a map, in two dimensions, and a transformer layer that adds them to queries and keys."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from partlabel.errors import UsageError

Places = Float[Tensor, "batch places features"]


def sine_positions(
    height: int, width: int, features: int, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> Float[Tensor, "places features"]:
    """Codes `[h·w, d]` of the places of a map, row by row: the first half of the numbers tells the row, the second the
    column.

    Row y counts from 1 and is scaled to u = 2π·y/h. With n = d/2, the numbers of a half are sin(u/T_i), cos(u/T_i) in
    turn, T_i = 10000^(2i/n) for i = 0 ... n/2 - 1. Columns likewise.

    Source: DETR (Carion et al., ECCV 2020), normalised; its 1e-6 in the divisor is left out.

    Raises:
        UsageError: 4 does not divide the features.
    """
    if features % 4:
        raise UsageError(f"position codes need channels that 4 divides, not {features}; set reduction to such a number")
    half = features // 2
    periods = 10000 ** (torch.arange(0, half, 2, device=device, dtype=dtype) / half)

    def along(length: int) -> Tensor:
        angles = torch.arange(1, length + 1, device=device, dtype=dtype)[:, None] * (2 * math.pi / length) / periods
        return torch.stack([angles.sin(), angles.cos()], 2).flatten(1)

    rows, columns = along(height)[:, None], along(width)[None]
    return torch.cat([rows.expand(height, width, half), columns.expand(height, width, half)], 2).flatten(0, 1)


class PlaceEncoder(nn.Module):
    """Transformer encoder layer over the places of a map, with sine codes added to queries and keys, not to values.

    Post-norm, ReLU; what `torch.nn.TransformerEncoderLayer` does but for the codes. Source: DETR's encoder; co-learning
    (2025) uses one layer of 8 heads.

    Args:
        features: channels d of the places.
        heads: attention heads; they must divide d.
        dropout: share dropped, of attention weights too.
        feed_forward: width of the feed-forward part; None: d.

    Raises:
        UsageError: the heads or 4 do not divide the features.
    """

    def __init__(self, features: int, heads: int, dropout: int | float, feed_forward: int | None = None) -> None:
        super().__init__()
        width = feed_forward or features
        if features % heads or features % 4:
            raise UsageError(
                f"self-attention over {features} channels with {heads} heads: 4 and the heads must divide the "
                f"channels; choose other heads, or bring the maps to such a number with reduction"
            )
        self.attention = nn.MultiheadAttention(features, heads, dropout=dropout, batch_first=True)
        self.feed_forward = nn.Sequential(
            nn.Linear(features, width), nn.ReLU(), nn.Dropout(dropout), nn.Linear(width, features)
        )
        self.attention_norm, self.output_norm = nn.LayerNorm(features), nn.LayerNorm(features)
        self.dropout = nn.Dropout(dropout)

    def forward(self, places: Places, positions: Float[Tensor, "places features"]) -> Places:
        """Places that have seen each other."""
        coded = places + positions
        attended, _ = self.attention(coded, coded, places, need_weights=False)
        places = self.attention_norm(places + self.dropout(attended))
        return self.output_norm(places + self.dropout(self.feed_forward(places)))  # type: ignore[no-any-return]
