"""Text towers of models with two towers, through open_clip: words to vectors in the space that images share, and to
embeddings that a prompt may replace in part.

open_clip loads a folder of its own without a network, with the tokenizer of CLIP in the package, and gives the text
tower of CLIP, SigLIP and MobileCLIP as one class. transformers reads other folders, not these, and its text towers take
no embeddings in place of words.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from partlabel.errors import MissingDependencyError, UsageError
from partlabel.models.encoders.architecture import first_line
from partlabel.models.encoders.clip_folder import CONFIG, is_clip_folder
from partlabel.models.fingerprint import tensors_digest

Tokens = Int64[Tensor, "texts tokens"]
Vectors = Float[Tensor, "texts features"]

_BATCH = 256
_FILL = 0
"""Word piece where a learned vector stands; pooling by the highest piece never finds it."""


class TextTower(nn.Module):
    """A frozen text tower.

    Args:
        text: of open_clip.
        tokenizer: of open_clip.
        scale: factor of cosines with images, as trained.
        bias: what is added to them, as trained; None where images were compared with all texts by a softmax (CLIP), a
            number where each pair was judged by itself (SigLIP).

    Attributes:
        start: how many pieces stand before each text: 1 for CLIP, 0 for SigLIP.
    """

    def __init__(self, text: nn.Module, tokenizer: Any, scale: float, bias: float | None) -> None:
        super().__init__()
        self.text: Any
        self.text, self.tokenizer, self.scale, self.bias = text.requires_grad_(False).eval(), tokenizer, scale, bias
        first = self._pieces(["a", "b", ""])[:, 0]
        self.start = int(bool((first == first[0]).all()))

    @property
    def width(self) -> int:
        """Channels of the embeddings of words."""
        return int(self.text.token_embedding.embedding_dim)

    @property
    def digest(self) -> str:
        """SHA-256 of all weights."""
        return tensors_digest(dict(self.text.state_dict()))

    @property
    def cuts(self) -> bool:
        """Whether what follows the end of a text changes nothing, so that it may be cut."""
        return (
            getattr(self.text, "attn_mask", None) is not None
            and getattr(self.text, "pool_type", "") in {"argmax", "eos", "first"}
            and getattr(self.text, "cls_emb", None) is None
        )

    def tokens(self, texts: Sequence[str], room: int = 0) -> Tokens:
        """Word pieces, no longer than needed where what follows the end changes nothing.

        Args:
            texts: sentences.
            room: how many places stand empty behind the start of each, for vectors that are learned.

        Raises:
            UsageError: a text is too long for the tower.
        """
        pieces = self._pieces(texts)
        length = pieces.shape[1]
        padding = self._pieces([""])[0, -1]
        too_long = (
            (pieces[:, length - room :] != padding).any(1) if room else torch.zeros(len(pieces), dtype=torch.bool)
        )
        if too_long.any():
            name = texts[int(torch.nonzero(too_long)[0])]
            raise UsageError(
                f"{name!r} and {room} learned words before it are longer than the {length} pieces that the text tower "
                "reads; take fewer (context) or a shorter name"
            )
        if room:
            empty = torch.full((len(pieces), room), _FILL, dtype=pieces.dtype)
            pieces = torch.cat([pieces[:, : self.start], empty, pieces[:, self.start : length - room]], 1)
        return pieces[:, : int(self._ends(pieces).max()) + 1] if self.cuts else pieces

    def words(self, text: str) -> Int64[Tensor, "pieces"]:
        """Word pieces of a text without what marks its start and end."""
        nothing, pieces = self._pieces(["", text])
        end, padding = nothing[self.start], nothing[-1]
        kept: Tensor = pieces[(pieces != end) & (pieces != padding)]
        return kept[self.start :]

    def embed(self, tokens: Tokens) -> Float[Tensor, "texts tokens width"]:
        """Embeddings of word pieces, without position codes.

        Raises:
            UsageError: this tower takes no embeddings in place of words.
        """
        if not hasattr(self.text, "token_embedding") or self.text.cls_emb is not None or self.text.use_pad_mask:
            raise UsageError(
                f"the text tower {type(self.text).__name__} takes no learned words; take a model of CLIP, SigLIP or "
                "MobileCLIP, or a method without prompts (zero_shot, clip_map)"
            )
        return self.text.token_embedding(tokens)  # type: ignore[no-any-return]

    def forward(self, embedded: Float[Tensor, "texts tokens width"], tokens: Tokens) -> Vectors:
        """Vectors of texts, not normalised; gradients reach the embeddings.

        Args:
            embedded: as `embed` gives them, with learned vectors at some places.
            tokens: the word pieces, by which the end is found.
        """
        text = self.text
        length = tokens.shape[1]
        mask = None if text.attn_mask is None else text.attn_mask[:length, :length]
        states = text.ln_final(text.transformer(embedded + text.positional_embedding[:length], attn_mask=mask))
        places = torch.arange(len(tokens), device=tokens.device)
        pooled = states[places, self._pooled_place(tokens)]
        if text.text_projection is None:
            return pooled  # type: ignore[no-any-return]
        linear = isinstance(text.text_projection, nn.Linear)
        return text.text_projection(pooled) if linear else pooled @ text.text_projection  # type: ignore[no-any-return]

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> Vectors:
        """Vectors of length 1, float32, on the CPU."""
        device = next(self.text.parameters()).device
        found = [
            functional.normalize(self.text(self._pieces(texts[first : first + _BATCH]).to(device)), dim=1).cpu()
            for first in range(0, len(texts), _BATCH)
        ]
        return torch.cat(found).float()

    def _pieces(self, texts: Sequence[str]) -> Tokens:
        return self.tokenizer(list(texts))  # type: ignore[no-any-return]

    def _pooled_place(self, tokens: Tokens) -> Int64[Tensor, "texts"]:
        if self.text.pool_type == "first":
            return torch.zeros(len(tokens), dtype=torch.int64, device=tokens.device)
        if self.text.pool_type == "last":
            return torch.full((len(tokens),), tokens.shape[1] - 1, dtype=torch.int64, device=tokens.device)
        return self._ends(tokens)

    def _ends(self, tokens: Tokens) -> Int64[Tensor, "texts"]:
        marked: Tensor = (tokens == self.text.eos_id).int() if self.text.pool_type == "eos" else tokens
        return marked.argmax(1)


def load_text_tower(backbone: str) -> TextTower:
    """The text tower that belongs to a backbone.

    Args:
        backbone: `local-dir:FOLDER`, a folder of open_clip.

    Raises:
        UsageError: it is no such folder, or its text tower cannot be loaded.
        MissingDependencyError: open_clip is not installed.
    """
    if not is_clip_folder(backbone):
        raise UsageError(
            f"backbone {backbone!r} has no text tower: a folder with {CONFIG} is needed, such as `hf download "
            "laion/CLIP-ViT-B-32-laion2B-s34B-b79K --local-dir DIR` makes; give it with --backbone local-dir:DIR"
        )
    try:
        import open_clip
    except ImportError as error:
        raise MissingDependencyError("text towers need open_clip: pip install 'partlabel[clip]'") from error
    folder = str(Path(backbone.removeprefix("local-dir:")).resolve())
    try:
        with _quiet(), torch.random.fork_rng(devices=[]):
            model: Any = open_clip.create_model(f"local-dir:{folder}", force_custom_text=True)
            tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
            bias = getattr(model, "logit_bias", None)
            return TextTower(
                model.text,
                tokenizer,
                float(model.logit_scale.detach().exp()),
                None if bias is None else float(bias.detach()),
            )
    except Exception as error:
        raise UsageError(f"the text tower in {folder} cannot be loaded ({first_line(error)})") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's remarks, which go to the root logger."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
