"""Semantic decoupling, then a gated graph network over the labels."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from partlabel.errors import UsageError
from partlabel.models.heads.base import Head, HeadOutput, ImageVector
from partlabel.models.label_text import hold_label_vectors
from partlabel.models.semantic_attention import attention_logits

MOST_STEPS = 100
"""The steps leave no trace in the weights, so a stranger's bundle could ask for any number; the paper takes 3."""

Nodes = Float[Tensor, "batch classes features"]


class GatedGraph(nn.Module):
    """Gated graph network: labels exchange messages along a weighted graph.

    With A the graph and H the nodes: M = [A H ; Aᵀ H]; z = σ(W_z M + U_z H); r = σ(W_r M + U_r H); c = tanh(W M + U (r
    ∘ H)); H becomes (1 - z) ∘ H + z ∘ c.

    Args:
        features: width of a node.
        steps: how often messages are passed.
    """

    def __init__(self, features: int, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.from_messages = nn.Linear(2 * features, 3 * features)  # W_z, W_r and W in one product
        self.from_nodes = nn.Linear(features, 2 * features)  # U_z and U_r
        self.from_reset_nodes = nn.Linear(features, features)  # U

    def forward(self, nodes: Nodes, graph: Float[Tensor, "classes classes"]) -> Nodes:
        """Nodes after all steps."""
        for _ in range(self.steps):
            messages = self.from_messages(torch.cat([graph @ nodes, graph.T @ nodes], 2))
            update_message, reset_message, candidate_message = messages.chunk(3, 2)
            update_node, reset_node = self.from_nodes(nodes).chunk(2, 2)
            update = torch.sigmoid(update_message + update_node)
            reset = torch.sigmoid(reset_message + reset_node)
            candidate = torch.tanh(candidate_message + self.from_reset_nodes(reset * nodes))
            nodes = (1 - update) * nodes + update * candidate
        return nodes


class SSGRLHead(Head):
    """Head of SSGRL (Chen et al., ICCV 2019): one feature per label by attention over locations, then a gated graph of
    labels.

    With f a place of the maps and s a label vector: attention a = w · P tanh(U f ∘ V s), softmax over places, F_c = Σ
    a_c f; H = gated graph of F; logit_c = u_c · tanh(W [H_c ; F_c] + b) + e_c. P and w are applied as one vector Pᵀw:
    same values and gradients. The constants of P and w cancel in the softmax and are left out.

    Args:
        features: channels d of the maps.
        classes: number of classes C.
        label_features: length d_t of a label vector.
        learned_labels: label vectors are a parameter; else a buffer that the method fills.
        reduction: channels that a 1 × 1 convolution with batch norm first brings the maps to; None: they stay.
        hidden: width of the attention, h.
        steps: steps of the gated graph.
        map_pool: side of the squares of places whose means are taken first; 1: the maps stay.

    Raises:
        UsageError: more than 100 steps, or a map_pool below 1 or above 100.
    """

    label_vectors: Tensor
    graph: Tensor

    def __init__(
        self,
        features: int,
        classes: int,
        *,
        label_features: int = 300,
        learned_labels: bool = True,
        reduction: int | None = None,
        hidden: int = 512,
        steps: int = 3,
        map_pool: int = 1,
    ) -> None:
        super().__init__()
        if not 0 <= steps <= MOST_STEPS:
            raise UsageError(f"steps of the gated graph are 0 to {MOST_STEPS}, not {steps}")
        if not 1 <= map_pool <= MOST_STEPS:
            raise UsageError(f"map_pool is 1 to {MOST_STEPS}, not {map_pool}")
        self.map_pool = map_pool
        width = reduction or features
        self.reduction = (
            nn.Sequential(nn.Conv2d(features, width, 1, bias=False), nn.BatchNorm2d(width))
            if reduction
            else nn.Identity()
        )
        hold_label_vectors(self, classes, label_features, learned=learned_labels)
        self.register_buffer("graph", torch.zeros(classes, classes))
        self.image_part = nn.Linear(width, hidden, bias=False)
        self.label_part = nn.Linear(label_features, hidden, bias=False)
        self.mixing = nn.Linear(hidden, hidden, bias=False)
        self.attention = nn.Linear(hidden, 1, bias=False)
        self.gated_graph = GatedGraph(width, steps)
        self.output = nn.Linear(2 * width, width)
        self.class_weight = nn.Parameter(torch.empty(classes, width).uniform_(-(width**-0.5), width**-0.5))
        self.class_bias = nn.Parameter(torch.empty(classes).uniform_(-(width**-0.5), width**-0.5))

    @property
    def class_axes(self) -> dict[str, tuple[int, ...]]:
        """Label vectors and classifiers by row, the graph by row and column."""
        return {"label_vectors": (0,), "graph": (0, 1), "class_weight": (0,), "class_bias": (0,)}

    def forward(self, maps: Float[Tensor, "batch features h w"], image: ImageVector = None) -> HeadOutput:
        """Logits, and the label features F `[B, C, d]` as `semantic`."""
        places = self._pooled(maps).flatten(2).transpose(1, 2)
        decoupled = self._attention(places).transpose(1, 2) @ places
        return HeadOutput(self.logits_of(decoupled), {"semantic": decoupled})

    def logits_of(self, decoupled: Nodes) -> Float[Tensor, "batch classes"]:
        """Logits of label features, which may be mixed ones."""
        spread = self.gated_graph(decoupled, self.graph)
        features = torch.tanh(self.output(torch.cat([spread, decoupled], 2)))
        return (features * self.class_weight).sum(2) + self.class_bias

    def class_maps(
        self, maps: Float[Tensor, "batch features h w"], image: ImageVector = None
    ) -> Float[Tensor, "batch classes rows columns"]:
        """Where each label looks, not how sure it is: its attention, which sums to 1 over the places (the paper's
        figures).
        """
        pooled = self._pooled(maps)
        places = pooled.flatten(2).transpose(1, 2)
        return self._attention(places).transpose(1, 2).reshape(maps.shape[0], -1, *pooled.shape[2:])

    def _pooled(self, maps: Float[Tensor, "batch features h w"]) -> Float[Tensor, "batch width rows columns"]:
        """The maps, fewer places and channels of them."""
        if self.map_pool == 1:
            return self.reduction(maps)  # type: ignore[no-any-return]
        try:
            pooled = functional.avg_pool2d(maps, self.map_pool)
        except RuntimeError as error:
            rows, columns = maps.shape[2:]
            raise UsageError(
                f"map_pool {self.map_pool} does not fit maps of {rows} × {columns} places; lower it, or raise size"
            ) from error
        return self.reduction(pooled)  # type: ignore[no-any-return]

    def _attention(self, places: Float[Tensor, "batch places width"]) -> Float[Tensor, "batch places classes"]:
        weight = (self.attention.weight @ self.mixing.weight)[0]
        labels = self.label_part(self.label_vectors)[None]
        return attention_logits(self.image_part(places), labels, weight).softmax(1).to(places.dtype)
