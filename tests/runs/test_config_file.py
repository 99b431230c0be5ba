import json
import time
from contextlib import suppress
from datetime import date
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from partlabel.errors import UsageError
from partlabel.runs.config_file import read_config


def file(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.toml", 'lr = 0.5\nmethod = "bce"\n[method_settings]\npool = "max"\n'),
        ("a.yaml", "lr: 0.5\nmethod: bce\nmethod_settings: {pool: max}\n"),
        ("a.yml", "b: &b {pool: max}\nlr: 0.5\nmethod: bce\nmethod_settings: *b\n"),
        ("a.json", '{"lr": 0.5, "method": "bce", "method_settings": {"pool": "max"}}'),
        ("a.toml", b"\xef\xbb\xbflr = 0.5\r\nmethod = 'bce'\r\nmethod_settings = {pool = 'max'}\r\n"),
    ],
)
def test_three_languages_say_the_same(tmp_path: Path, name: str, text: str | bytes) -> None:
    values = read_config(file(tmp_path, name, text))
    values.pop("b", None)
    assert values == {"lr": 0.5, "method": "bce", "method_settings": {"pool": "max"}}


def test_aliases_that_expand_to_billions_are_refused_at_once(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    begun = time.monotonic()
    with pytest.raises(UsageError, match="holds more than 20,000 values; write out what its aliases stand for"):
        read_config(file(tmp_path, "bomb.yaml", "\n".join(lines)))
    assert time.monotonic() - begun < 5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.toml", "a = " + "[" * 3000 + "]" * 3000),
        ("a.yaml", "a: " + "[" * 3000 + "]" * 3000),
        ("a.json", '{"a": ' + "[" * 3000 + "]" * 3000 + "}"),
        ("a.json", '{"a": ' + "[" * 60 + "]" * 60 + "}"),
        ("a.yaml", "a: &a [*a]\n"),
    ],
)
def test_depth_is_bounded(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(UsageError, match=r"is nested too deep|cannot be read"):
        read_config(file(tmp_path, name, text))


def test_size_is_bounded(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has more than 1,000,000 bytes"):
        read_config(file(tmp_path, "a.json", json.dumps({"a": "x" * 2_000_000})))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.toml", "lr"),
        ("a.yaml", "a: b: c"),
        ("a.yaml", "- a"),
        ("a.yaml", "a: 2026-02-31"),
        ("a.json", "{"),
        ("a.json", "[]"),
        ("a.toml", b"\xff\xfe\x00"),
        ("a.yaml", "!!python/object/apply:os.system ['true']"),
    ],
)
def test_what_is_no_table_gets_a_sentence_that_names_the_file(tmp_path: Path, name: str, text: str | bytes) -> None:
    with pytest.raises(UsageError, match=rf"config file .*{name} "):
        read_config(file(tmp_path, name, text))


def test_dates_are_values_like_others(tmp_path: Path) -> None:
    assert read_config(file(tmp_path, "a.yaml", "day: 2026-02-28")) == {"day": date(2026, 2, 28)}


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["toml", "yaml", "json"]),
    st.one_of(
        st.binary(max_size=80),
        st.text(max_size=80).map(str.encode),
        st.text("[]{}&*:-<! \n\"'a=1.", max_size=60).map(str.encode),
    ),
)
def test_anything_is_read_or_refused_in_a_sentence(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = file(tmp_path, f"any.{suffix}", content)
    with suppress(UsageError):  # any other error is a traceback for the user
        assert isinstance(read_config(path), dict)
