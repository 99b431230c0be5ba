"""Code maps: what they accept, and what they refuse to guess."""

import pytest

from partlabel.errors import UsageError
from partlabel.formats.codes import WORDS, CodeMap


def test_parse_and_match() -> None:
    codes = CodeMap.parse(" 1 = present, 0=absent,=unknown,a=b=Absent")
    assert [codes.state(value) for value in ("1", " 0 ", "", "  ", "a=b")] == [1, -1, 0, 0, -1]
    assert [codes.state(value) for value in ("1.0", "-1", "A=b", "nan", "?")] == [None] * 5


@pytest.mark.parametrize("text", [None, "1=present"])
def test_only_the_four_words_speak_for_themselves(text: str | None) -> None:
    codes = CodeMap.parse(text)
    assert [codes.state(value) for value in ("present", " Absent", "UNKNOWN", "Unsure")] == [1, -1, 0, 0]
    assert [codes.word(value) for value in ("unknown", " Unsure")] == ["unknown", "unsure"]
    assert [codes.state(value) for value in ("", "0", "-1", "yes", "true", "+1")] == [None] * 6


def test_text_reads_back() -> None:
    codes = CodeMap.parse("=unknown,-=unknown,1=present,?=unsure")
    assert [codes.text(word) for word in WORDS] == ["1", "absent", "", "?"]
    for word in WORDS:
        assert codes.word(codes.text(word)) == word
        assert CodeMap().text(word) == word


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1", "entry '1' is not value=present"),
        ("", "entry '' is not"),
        ("1=present,", "entry '' is not"),
        ("1=yes", "entry '1=yes' is not"),
        ("1=present,1=absent", "gives the value '1' two states"),
        ("?=unknown,?=unsure", "gives the value '\\?' two states"),
        ("Unsure=absent", "the word 'Unsure' always means unsure"),
        ("Unknown=absent", "the word 'Unknown' always means unknown"),
    ],
)
def test_bad_maps(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        CodeMap.parse(text)
