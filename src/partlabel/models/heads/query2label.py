"""Query2Label: a query for each class looks at the map, after its places have seen each other."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from partlabel.errors import UsageError
from partlabel.models.heads.base import Head, HeadOutput, ImageVector, Maps
from partlabel.models.heads.cross_attention import CrossAttentionLayer, PlaceCode, Places, Queries, check_attention
from partlabel.models.position_code import PlaceEncoder, sine_positions


class Query2LabelHead(Head):
    """Head of Query2Label (Liu, Zhang, Yang, Su, Zhu, arXiv:2107.10834).

    Places m, of `reduction` channels, with sine codes p on queries and keys: `encoder_layers` layers of self-attention.
    Targets t start at 0; each of `decoder_layers` layers makes of them LN(t + MHA(t + a, m + p, m)), then
    LN(t + FFN(t)), with a learned embedding a_c of each class and no self-attention among the classes. Last,
    logit_c = w_c · LN(t_c) + b_c.

    Args:
        features: channels d of the maps.
        classes: number of classes C.
        reduction: channels that a linear map first brings the places to; None: they stay.
        heads: attention heads; they and 4 must divide the channels.
        feed_forward: width of the feed-forward parts.
        dropout: share dropped.
        encoder_layers: layers in which places see each other.
        decoder_layers: layers in which queries look at places, at least 1.

    Raises:
        UsageError: sizes that do not fit each other.
    """

    scales = {"class": "shares"}  # noqa: RUF012

    def __init__(
        self,
        features: int,
        classes: int,
        *,
        reduction: int | None = None,
        heads: int = 4,
        feed_forward: int = 8192,
        dropout: int | float = 0.1,
        encoder_layers: int = 1,
        decoder_layers: int = 2,
    ) -> None:
        super().__init__()
        width = features if reduction is None else reduction
        check_attention(width, heads, feed_forward, dropout, "head 'query2label'")
        if width % 4:
            raise UsageError(
                f"head 'query2label': 4 must divide its {width} channels, for the position codes; set reduction to "
                "such a number"
            )
        if encoder_layers < 0 or decoder_layers < 1:
            raise UsageError("head 'query2label': encoder_layers are at least 0 and decoder_layers at least 1")
        self.reduction = nn.Identity() if reduction is None else nn.Linear(features, width)
        self.encoder = nn.ModuleList(PlaceEncoder(width, heads, dropout, feed_forward) for _ in range(encoder_layers))
        self.decoder = nn.ModuleList(
            CrossAttentionLayer(width, heads, feed_forward, dropout) for _ in range(decoder_layers)
        )
        self.output_norm = nn.LayerNorm(width)
        self.label_embeddings = nn.Parameter(torch.randn(classes, width))
        self.query_weight = nn.Parameter(torch.empty(classes, width).uniform_(-(width**-0.5), width**-0.5))
        self.query_bias = nn.Parameter(torch.empty(classes).uniform_(-(width**-0.5), width**-0.5))
        for parameter in (*self.encoder.parameters(), *self.decoder.parameters()):
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    @property
    def class_axes(self) -> dict[str, tuple[int, ...]]:
        """Embedding, row and constant of each class."""
        return {"label_embeddings": (0,), "query_weight": (0,), "query_bias": (0,)}

    def forward(self, maps: Float[Tensor, "batch features h w"], image: ImageVector = None) -> HeadOutput:
        """Logits; what queries become is not handed out."""
        targets, memory, code = self._before_last(maps)
        answers = self.output_norm(self.decoder[-1](targets, memory, self.label_embeddings, code))
        return HeadOutput((answers * self.query_weight).sum(2) + self.query_bias, {})

    def class_maps(self, maps: Float[Tensor, "batch features h w"], image: ImageVector = None) -> Maps:
        """Where the query of each class looks in the last layer, not how sure it is: its attention, which sums to 1
        over the places.
        """
        targets, memory, code = self._before_last(maps)
        last = self.decoder[-1]
        assert isinstance(last, CrossAttentionLayer)
        weights = last.weights(targets, memory, self.label_embeddings, code)
        return weights.reshape(*weights.shape[:2], *maps.shape[2:])

    def _before_last(self, maps: Float[Tensor, "batch features h w"]) -> tuple[Queries, Places, PlaceCode]:
        """What the last decoder layer is given: targets, memory and codes of places."""
        memory = self.reduction(maps.flatten(2).transpose(1, 2))
        rows, columns = maps.shape[2:]
        like = self.label_embeddings
        code = sine_positions(rows, columns, memory.shape[2], device=like.device, dtype=like.dtype)
        for layer in self.encoder:
            memory = layer(memory, code)
        targets = torch.zeros_like(self.label_embeddings).expand(maps.shape[0], -1, -1)
        for layer in self.decoder[:-1]:
            targets = layer(targets, memory, self.label_embeddings, code)
        return targets, memory, code
