"""Prompts with learned words before the names of classes (CoOp: Zhou et al., Learning to Prompt for Vision-Language
Models, IJCV 2022).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from partlabel.models.encoders.text_tower import TextTower


class Prompts(nn.Module):
    """Learned words, the name of a class, a full stop; to a vector of length 1 per class.

    Args:
        tower: the text tower. It is no part of the state, and is moved to where the words are.
        names: of the classes, as text.
        words: how many are learned.
        per_class: whether each class has its own; else all share them.
        start: a text whose embeddings the words start from, repeated or cut to `words`; "": draws from N(0, 0.02²).
    """

    context: nn.Parameter
    tokens: Tensor
    embedded: Tensor

    def __init__(self, tower: TextTower, names: Sequence[str], words: int, *, per_class: bool, start: str = "") -> None:
        super().__init__()
        tokens = tower.tokens([f"{name}." for name in names], room=words)
        self._tower = [tower]
        self._before = tower.start
        self.register_buffer("tokens", tokens, persistent=False)
        self.register_buffer("embedded", tower.embed(tokens).detach(), persistent=False)
        shape = (len(names) if per_class else 1, words, tower.width)
        context = torch.randn(shape) * 0.02
        if start:
            known = tower.embed(tower.words(start)[None]).detach()[0]
            context = known[torch.arange(words) % len(known)].expand(shape).clone()
        self.context = nn.Parameter(context)

    @property
    def class_axes(self) -> dict[str, tuple[int, ...]]:
        """Those of the learned words, where each class has its own."""
        return {"context": (0,)} if len(self.context) > 1 else {}

    def forward(self) -> Float[Tensor, "classes features"]:
        """Vectors of the classes."""
        tower = self._tower[0].to(self.context)
        context = self.context.expand(len(self.tokens), -1, -1)
        before, after = self.embedded[:, : self._before], self.embedded[:, self._before + context.shape[1] :]
        embedded = torch.cat([before, context, after], 1)
        return functional.normalize(tower(embedded, self.tokens).to(self.context.dtype), dim=1)
