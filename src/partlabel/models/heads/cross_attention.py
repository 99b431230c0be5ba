"""A transformer decoder layer whose queries look at a map and not at each other."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from partlabel.errors import UsageError

Queries = Float[Tensor, "batch queries width"]
Places = Float[Tensor, "batch places width"]
QueryCode = Float[Tensor, "queries width"]
PlaceCode = Float[Tensor, "places width"]


def check_attention(features: int, heads: int, feed_forward: int, dropout: int | float, which: str) -> None:
    """Refuse sizes that no attention has.

    Args:
        features: channels d.
        heads: attention heads.
        feed_forward: width of the feed-forward part.
        dropout: share dropped.
        which: what to call the attention in errors.

    Raises:
        UsageError: a size is below 1, the heads do not divide the channels, or dropout is no share below 1.
    """
    if min(features, heads, feed_forward) < 1:
        raise UsageError(f"{which}: channels, heads and feed_forward are at least 1")
    if features % heads:
        raise UsageError(f"{which}: {heads} heads do not divide its {features} channels; choose other heads")
    if not 0 <= dropout < 1:
        raise UsageError(f"{which}: dropout is at least 0 and below 1, not {dropout}")


class CrossAttentionLayer(nn.Module):
    """Post-norm decoder layer without self-attention: t becomes LN(t + MHA(t + a, m + p, m)), then LN(t + FFN(t)), with
    targets t, memory m, and codes a of the queries and p of the places; the feed-forward part has one hidden layer with
    ReLU.

    It is called by itself: `torch.nn.TransformerDecoder` reads the self-attention of its layers, which this has not.

    Args:
        features: channels d.
        heads: attention heads; they must divide d.
        feed_forward: width of the feed-forward part.
        dropout: share dropped, of attention weights too.
    """

    def __init__(self, features: int, heads: int, feed_forward: int, dropout: int | float) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(features, heads, dropout=dropout, batch_first=True)
        self.feed_forward = nn.Sequential(
            nn.Linear(features, feed_forward), nn.ReLU(), nn.Dropout(dropout), nn.Linear(feed_forward, features)
        )
        self.attention_norm, self.output_norm = nn.LayerNorm(features), nn.LayerNorm(features)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, targets: Queries, memory: Places, query_code: QueryCode | None = None, place_code: PlaceCode | None = None
    ) -> Queries:
        """The targets after they have looked at the places."""
        query, key = _coded(targets, query_code), _coded(memory, place_code)
        attended, _ = self.attention(query, key, memory, need_weights=False)
        targets = self.attention_norm(targets + self.dropout(attended))
        return self.output_norm(targets + self.dropout(self.feed_forward(targets)))  # type: ignore[no-any-return]

    def weights(
        self, targets: Queries, memory: Places, query_code: QueryCode | None = None, place_code: PlaceCode | None = None
    ) -> Float[Tensor, "batch queries places"]:
        """How much each query looks at each place: the mean over the heads, which sums to 1 over the places."""
        query, key = _coded(targets, query_code), _coded(memory, place_code)
        _, weights = self.attention(query, key, memory, need_weights=True)
        assert isinstance(weights, torch.Tensor)
        return weights


def _coded(values: Tensor, code: Tensor | None) -> Tensor:
    return values if code is None else values + code
