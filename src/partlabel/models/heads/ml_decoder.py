"""ML-Decoder: a few queries look at the map, and each answers for a group of classes."""

from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from partlabel.errors import UsageError
from partlabel.models.heads.base import Head, HeadOutput, ImageVector, Logits, Maps
from partlabel.models.heads.cross_attention import CrossAttentionLayer, Places, Queries, check_attention
from partlabel.models.label_text import hold_label_vectors

QuerySource = Literal["fixed", "learned", "words"]
"""What queries are: drawn once from N(0, 1) and kept, drawn so and learned, or made from a vector of each class's name.
"""


class MLDecoderHead(Head):
    """Head of ML-Decoder (Ridnik, Sharir, Ben-Cohen, Ben-Baruch, Noy, WACV 2023).

    With K queries, f = ceil(C / min(groups, C)) classes each, K = ceil(C / f): memory m = ReLU(W_m F + b_m) of the
    places F; q = LN(q + dropout(q)); q = LN(q + MHA(q, m, m)); q = LN(q + FFN(q)). Class c is read from query
    k = floor(c / f): logit_c = w_c · q_k + b_c. The paper's group head W [K, width, f] is the same numbers, by group;
    by class they can follow their names into another run.

    With queries="words" each class has a query of its own, q_c = ReLU(V s_c + b) of the vector s_c of its name, and all
    classes are read by one vector: logit_c = w · q_c + b. So nothing but s_c belongs to a class.

    Classes that share a query depend on their order: permuting them across groups is another function. With one class
    for each query (C up to `groups`) it is not.

    Args:
        features: channels d of the maps.
        classes: number of classes C.
        groups: most queries, where they are not made from words.
        width: channels of memory and queries.
        heads: attention heads; they must divide the width.
        feed_forward: width of the feed-forward part.
        dropout: share dropped.
        queries: what they are.
        label_features: length d_t of a label vector, for words.
        learned_labels: for words: label vectors are a parameter; else a buffer that the method fills.

    Raises:
        UsageError: no such queries, groups below 1, or sizes that do not fit each other.
    """

    scales = {"class": "shares"}  # noqa: RUF012
    label_vectors: Tensor

    def __init__(
        self,
        features: int,
        classes: int,
        *,
        groups: int = 100,
        width: int = 768,
        heads: int = 8,
        feed_forward: int = 2048,
        dropout: int | float = 0.1,
        queries: QuerySource = "fixed",
        label_features: int = 300,
        learned_labels: bool = True,
    ) -> None:
        super().__init__()
        check_attention(width, heads, feed_forward, dropout, "head 'ml_decoder'")
        if queries not in get_args(QuerySource) or groups < 1:
            raise UsageError(
                f"head 'ml_decoder': queries are 'fixed', 'learned' or 'words' and groups at least 1, not {queries!r} "
                f"and {groups}"
            )
        self.from_words = queries == "words"
        self.classes_per_query = 1 if self.from_words else -(-classes // min(groups, classes))
        self.embed = nn.Linear(features, width)
        if self.from_words:
            hold_label_vectors(self, classes, label_features, learned=learned_labels)
            self.word_part = nn.Linear(label_features, width)
            self.group_weight, self.group_bias = nn.Parameter(torch.empty(1, width)), nn.Parameter(torch.zeros(1))
        else:
            count = -(-classes // self.classes_per_query)
            self.queries = nn.Parameter(torch.randn(count, width), requires_grad=queries == "learned")
            self.group_weight = nn.Parameter(torch.empty(classes, width))
            self.group_bias = nn.Parameter(torch.zeros(classes))
        self.query_norm, self.dropout = nn.LayerNorm(width), nn.Dropout(dropout)
        self.layer = CrossAttentionLayer(width, heads, feed_forward, dropout)
        # Xavier-normal of a tensor [K, width, f], as the official code draws its group head
        fans = (width + (1 if self.from_words else count)) * self.classes_per_query
        nn.init.normal_(self.group_weight, std=(2 / fans) ** 0.5)
        self.has_class_maps = self.classes_per_query == 1

    @property
    def class_axes(self) -> dict[str, tuple[int, ...]]:
        """Label vectors; or the row and constant of each class, and its query where no other class has it."""
        if self.from_words:
            return {"label_vectors": (0,)}
        of_class: dict[str, tuple[int, ...]] = {"group_weight": (0,), "group_bias": (0,)}
        return {"queries": (0,), **of_class} if self.classes_per_query == 1 else of_class

    def reads_alike(self, other: Head, mine: int, theirs: int) -> bool:
        """Whether a class has the same query in both: its own, or that of the same group among as many."""
        if not isinstance(other, MLDecoderHead) or self.from_words != other.from_words:
            return False
        if self.classes_per_query == other.classes_per_query == 1:
            return True
        if self.queries.shape != other.queries.shape or self.classes_per_query != other.classes_per_query:
            return False
        return mine // self.classes_per_query == theirs // self.classes_per_query

    def forward(self, maps: Float[Tensor, "batch features h w"], image: ImageVector = None) -> HeadOutput:
        """Logits; what queries become is not handed out."""
        queries, memory = self._asked(maps)
        answers = self.layer(queries, memory)
        if self.from_words:
            return HeadOutput((answers * self.group_weight).sum(2) + self.group_bias, {})
        return HeadOutput(group_logits(answers, self.group_weight, self.group_bias), {})

    def class_maps(self, maps: Float[Tensor, "batch features h w"], image: ImageVector = None) -> Maps:
        """Where the query of each class looks, not how sure it is: its attention, which sums to 1 over the places.

        There are none where classes share a query: they would be the same for all classes of a group, and say nothing
        of one. Gradient maps, which are per class, take their place.
        """
        weights = self.layer.weights(*self._asked(maps))
        return weights.reshape(*weights.shape[:2], *maps.shape[2:])

    def _asked(self, maps: Float[Tensor, "batch features h w"]) -> tuple[Queries, Places]:
        """Queries of each image and memory."""
        memory = functional.relu(self.embed(maps.flatten(2).transpose(1, 2)))
        queries = functional.relu(self.word_part(self.label_vectors)) if self.from_words else self.queries
        queries = queries.expand(maps.shape[0], -1, -1)
        return self.query_norm(queries + self.dropout(queries)), memory


def group_logits(queries: Queries, weight: Float[Tensor, "classes width"], bias: Float[Tensor, "classes"]) -> Logits:
    """Logits of classes that share queries: with f = ceil(C / K), class c is read from query floor(c / f).

    Args:
        queries: `[B, K, d]`.
        weight: a row for each class.
        bias: a constant for each class.
    """
    count, classes = queries.shape[1], len(weight)
    group = -(-classes // count)
    rows = functional.pad(weight, (0, 0, 0, count * group - classes)).view(count, group, -1)
    return torch.einsum("bkd,kfd->bkf", queries, rows).flatten(1)[:, :classes] + bias
