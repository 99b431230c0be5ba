"""Class names as vectors: from a text encoder, from a file of word vectors, or learned with the network."""

import hashlib
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from huggingface_hub import try_to_load_from_cache
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from partlabel.errors import LabelError, MissingDependencyError, UsageError
from partlabel.models.encoders.text import ELSEWHERE, encoded, import_transformers, sentence_vectors

_DEFAULT_ENCODERS = (
    "bert-base-uncased",
    "google-bert/bert-base-uncased",
)  # one model, cached under the name it was asked by
_WORD_FILES = {".txt", ".vec"}
_VOC_NAMES = {"diningtable": "dining table", "pottedplant": "potted plant", "tvmonitor": "tv monitor"}


class LabelVectors(NamedTuple):
    """Vectors of class names.

    Args:
        vectors: float32 `[C, d_t]`, or None if they are to be learned.
        origin: one sentence for the log: where they come from.
        source: "learned", the encoder's name or the file; never "auto".
    """

    vectors: Float[Tensor, "classes text_features"] | None
    origin: str
    source: str

    @property
    def sha256(self) -> str | None:
        """Hash of their shape and numbers; None where they are learned."""
        if self.vectors is None:
            return None
        numbers = np.ascontiguousarray(self.vectors.numpy(), "<f4")
        return hashlib.sha256(f"{numbers.shape}".encode() + numbers.tobytes()).hexdigest()


def label_vectors(source: str, names: Sequence[str]) -> LabelVectors:
    """Vectors of class names.

    Underscores and changes from small to capital letters become spaces, and the three joined names of PASCAL VOC are
    split.

    Args:
        source: "learned": none; they are to be learned.
            A path ending in .txt or .vec: lines of `word v1 v2 ...` (GloVe, fastText, word2vec text; a first line of
            two counts is skipped). A class gets the sum over its words, in small letters and cut at whatever is no
            letter (the sum: public code of co-learning).
            "minilm": all-MiniLM-L6-v2 from the package of the extra `words`, the mean over the tokens of "a photo of a
            NAME". Classes that have to do with each other have vectors of about one direction, as in GloVe.
            "auto": bert-base-uncased if it can be used without a download, else as "learned".
            Anything else: a text encoder by its transformers name or folder. The input is the start token and the name,
            without end token; the vector is the last hidden state, not normalised, of the only word piece, or of the
            start token if there are several pieces (public code of co-learning, which differs in that it marks all
            tokens as segment 1).
        names: class names.

    Raises:
        UsageError: the source cannot be read or is no text encoder.
        LabelError: no word of some class is in the file, or it holds no vectors.
        MissingDependencyError: transformers is not installed.
    """
    found = _from_source(source, names)
    alike = None if found.vectors is None else _alike(found.vectors)
    if alike is None:
        return found
    first, second = (names[place] for place in alike)
    return found._replace(
        origin=f"{found.origin}; {first!r} and {second!r} have the same vector, so they cannot be told apart"
    )


def _from_source(source: str, names: Sequence[str]) -> LabelVectors:
    if source == "learned":
        return LabelVectors(None, "label vectors are learned with the network, from random ones", "learned")
    if source == "auto":
        return _default_vectors(names)
    if source == "minilm":
        vectors = sentence_vectors([f"a photo of a {spaced(name)}" for name in names])
        origin = f"label vectors are those of minilm (all-MiniLM-L6-v2), {vectors.shape[1]} numbers each"
        return LabelVectors(vectors, origin, source)
    if Path(source).suffix in _WORD_FILES:
        return _word_vectors(Path(source), names)
    return _encoder_vectors(source, names, called=source)


def _alike(vectors: Float[Tensor, "classes text_features"]) -> tuple[int, int] | None:
    """The first two classes that have the same vector, if any have."""
    first_of: dict[bytes, int] = {}
    for place, vector in enumerate(vectors.numpy()):
        first = first_of.setdefault(vector.tobytes(), place)
        if first != place:
            return first, place
    return None


def hold_label_vectors(module: nn.Module, classes: int, features: int, *, learned: bool) -> None:
    """Give a module `label_vectors` `[C, d_t]`: a parameter if they are learned, else a buffer of zeros, to be
    filled.
    """
    if learned:
        module.label_vectors = nn.Parameter(torch.randn(classes, features))
    else:
        module.register_buffer("label_vectors", torch.zeros(classes, features))


def spaced(name: str) -> str:
    """The name of a class as text: underscores and changes from small to capital letters are spaces."""
    text = _VOC_NAMES.get(name, name).replace("_", " ")
    letters = [f" {b}" if a.islower() and b.isupper() else b for a, b in zip(f" {text}", text, strict=False)]
    return " ".join("".join(letters).split()) or name


def _default_vectors(names: Sequence[str]) -> LabelVectors:
    reason = f"{_DEFAULT_ENCODERS[0]} is not in the local cache and nothing is downloaded unasked"
    try:
        import_transformers()
    except MissingDependencyError:
        reason = "transformers is not installed (pip install 'partlabel[text]')"
    else:
        for name in _DEFAULT_ENCODERS:
            config = try_to_load_from_cache(name, "config.json")
            if isinstance(config, str):
                with suppress(UsageError):  # the cache may hold a part of it
                    found = _encoder_vectors(str(Path(config).parent), names, name)
                    origin = f"{found.origin}; it was found in the local cache; {ELSEWHERE}"
                    return LabelVectors(found.vectors, origin, name)
    return LabelVectors(
        None, f"label vectors are learned with the network, from random ones, because {reason}; {ELSEWHERE}", "learned"
    )


def _encoder_vectors(source: str, names: Sequence[str], called: str) -> LabelVectors:
    vectors = encoded(source, [spaced(name) for name in names])
    origin = (
        f"label vectors are last hidden states of {called}, {vectors.shape[1]} numbers each, kept as they are in "
        "training"
    )
    return LabelVectors(vectors, origin, called)


def _word_vectors(path: Path, names: Sequence[str]) -> LabelVectors:
    words = [re.findall(r"[^\W\d_]+", spaced(name).lower()) for name in names]
    vectors = _read_words(path, {word for of_class in words for word in of_class})
    lost = [name for name, of_class in zip(names, words, strict=True) if not any(word in vectors for word in of_class)]
    if lost:
        shown = ", ".join(repr(name) for name in lost[:8]) + (f" and {len(lost) - 8} more" if len(lost) > 8 else "")
        raise LabelError(
            f"{path} has no word of {len(lost)} class(es): {shown}; rename them with spaces between words, or "
            f"{ELSEWHERE}"
        )
    sums = np.stack([np.sum([vectors[word] for word in of_class if word in vectors], axis=0) for of_class in words])
    missing = sorted({word for of_class in words for word in of_class} - vectors.keys())
    origin = (
        f"label vectors are the word vectors of {path}, {sums.shape[1]} numbers each, summed over the words of a class"
    )
    if missing:
        origin += f"; without words that it does not have: {', '.join(missing)}"
    return LabelVectors(torch.from_numpy(sums.astype(np.float32)), origin, str(path))


def _read_words(path: Path, wanted: set[str]) -> dict[str, NDArray[np.float64]]:
    """Vectors of the wanted words; the file is streamed, because such files have several GB."""
    if not path.is_file():
        raise UsageError(f"there is no file of word vectors {path}; {ELSEWHERE}")
    encoded = {word.encode(): word for word in wanted}
    found: dict[str, NDArray[np.float64]] = {}
    dimension = 0
    with open(path, "rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not dimension:
                fields = line.split()
                if not fields:
                    continue
                header = number == 1 and len(fields) == 2 and all(field.isdigit() for field in fields)
                dimension = int(fields[1]) if header else len(fields) - 1
                if not dimension:
                    raise LabelError(f"{path}, line {number}: a word and its numbers, with spaces between, are needed")
                if header:
                    continue
            word, _, rest = line.strip().partition(b" ")
            if word not in encoded or encoded[word] in found:
                continue
            values = rest.split()
            if len(values) == dimension:  # else an entry of several words, of which this is only the first
                found[encoded[word]] = _numbers(values, path, number)
            if len(found) == len(encoded):
                break
    return found


def _numbers(values: list[bytes], path: Path, line: int) -> NDArray[np.float64]:
    try:
        numbers = np.array([float(value) for value in values])
    except ValueError:
        numbers = np.array([np.nan])
    if not np.isfinite(numbers).all():
        raise LabelError(f"{path}, line {line}: a word vector holds something that is no finite number")
    return numbers
