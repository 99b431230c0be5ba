"""Names: what looks alike, and what a program wrote for a value that it could not write."""

import pytest

from partlabel.names import alike_across, names_alike, not_a_name, same_file_key, told_apart


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("water", "Water"),
        ("water", " water "),
        ("cat fish", "cat \u00a0fish"),
        ("caf\u00e9", "cafe\u0301"),
        ("cat", "c\u200bat"),
        ("\ufeffcat", "cat"),
        ("cat", "\uff43\uff41\uff54"),
        ("stra\u00dfe", "STRASSE"),
        ("\ufb01sh", "FISH"),
    ],
)
def test_names_that_nobody_tells_apart(one: str, other: str) -> None:
    assert names_alike([one, "dog", other]) == [(one, other)]
    assert alike_across([one, "dog"], ["dog", other]) == [(one, other)]


def test_names_that_differ() -> None:
    assert names_alike(["cat", "cats", "caf\u00e9", "cafe", "catfish", "cat fish"]) == []


def test_a_pair_is_only_what_each_table_has_one_of() -> None:
    assert alike_across(["sky", "Sky"], ["Sky"]) == []
    assert alike_across(["sky"], ["sky", "Sky"]) == []
    assert alike_across(["sky", "x"], ["X", "SKY"]) == [("x", "X"), ("sky", "SKY")]


def test_spellings_of_one_file() -> None:
    for other in ("./a/b.jpg", "a//b.jpg", "a\\b.jpg", "a/./b.jpg", "c/../a/b.jpg"):
        assert same_file_key(other) == same_file_key("a/b.jpg")
    assert same_file_key("e\u0301.jpg") == same_file_key("\u00e9.jpg")
    assert same_file_key("A.jpg") != same_file_key("a.jpg")


@pytest.mark.parametrize("text", ["nan", "NaN", "None", "NULL", "null", "N/A", "#N/A", "<NA>", " nan ", "NaT"])
def test_words_for_a_missing_value(text: str) -> None:
    assert not_a_name(text) == "missing"


@pytest.mark.parametrize(
    "text",
    [
        "['cat', 'dog']",
        '["cat"]',
        "['cat' 'dog']",
        '{"choices": ["sky", "water"]}',
        "{'a': 1}",
        "[]",
        "{}",
        "()",
        "[ ]",
        "('cat',)",
        "[cat, dog]",
        "{cat,dog}",
        "[b'cat']",
        "[1]",
        "[0.5, 1]",
        "['cat'",
        '{"choices":["sky"',
        "array(['cat'], dtype=object)",
        "set()",
        "frozenset({'cat'})",
        "[" * 100_000 + "]" * 100_000 + "," * 3 + "]",
    ],
)
def test_lists_as_text(text: str) -> None:
    assert not_a_name(text) == "list"


@pytest.mark.parametrize(
    "text",
    [
        "cat",
        "no-sky",
        "[misc]",
        "(dog, wild)",
        "{x}",
        "nano",
        "none of these",
        "a [b, c]",
        "Nathan",
        "set (sport)",
        "array",
    ],
)
def test_names_that_are_names(text: str) -> None:
    assert not_a_name(text) is None


def test_a_long_text_takes_no_time() -> None:
    for text in ("[" + "," * 2_000_000, "(" * 2_000_000, "set(" + "," * 2_000_000, "[" + "1" * 2_000_000 + "]"):
        not_a_name(text)


def test_names_that_print_alike_are_told_apart() -> None:
    assert told_apart("sky", "Sky") == ("'sky'", "'Sky'")
    assert told_apart("caf\u00e9", "cafe\u0301") == (r"'caf\xe9'", r"'cafe\u0301'")
