"""Values without a code: what is said of a file, and what is advised."""

import csv
import shlex
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from partlabel.errors import LabelError
from partlabel.formats import read_table
from partlabel.formats.codes import CodeMap
from partlabel.formats.uncoded import kind

VALUES = st.sampled_from(["1", "0", "", "2", "9", "-1", "?", "0.5", "Ohio"])


def refusal(path: Path, text: str, **options: str) -> str:
    path.write_text(text, encoding="utf-8")
    with pytest.raises(LabelError) as found:
        read_table(path, **options)  # type: ignore[arg-type]
    return str(found.value)


def advised_codes(sentence: str) -> CodeMap:
    words = shlex.split(sentence.split("--codes ")[1].split(" (values", maxsplit=1)[0])
    return CodeMap.parse(words[0])


@pytest.mark.parametrize("value", ["1", "0", "-1", "", "nan", "1.0", "?", "2", "-100", "yes", "True"])
@pytest.mark.parametrize("codes", [None, "p=present,n=absent"])
def test_the_codes_in_the_advice_would_work(tmp_path: Path, value: str, codes: str | None) -> None:
    given = {} if codes is None else {"codes": codes}
    said = refusal(tmp_path / "t.csv", f"image,cat,dog\na,present,absent\nb,{value},present\n", **given)
    assert "t.csv, line 3, column 'cat'" in said
    assert (repr(value) if value else "empty") in said
    shown = advised_codes(said)
    assert shown.state(value) is not None
    assert codes is None or shown.state("p") == 1


@pytest.mark.parametrize("value", ["Ohio", "0.7", "1e-3", "haze primary", "x" * 50])
def test_nobody_is_told_to_call_a_name_or_a_score_unknown(tmp_path: Path, value: str) -> None:
    said = refusal(tmp_path / "t.csv", f"image,class,state\na,cat,1\nb,cat,{value}\nc,cat,2\n", codes="1=present")
    assert f"{value[:40]}=" not in said
    assert "2=unknown" in said
    said = refusal(tmp_path / "t.csv", f"image,class,state\na,cat,1\nb,cat,{value}\n", codes="1=present")
    assert "=unknown" not in said


def test_numbers_between_0_and_1_are_called_scores(tmp_path: Path) -> None:
    said = refusal(tmp_path / "t.csv", "image,class,state\na,cat,0.7\nb,cat,0.2\n")
    assert "are scores" in said
    assert "'0.7' has no code (once), nor have '0.2' (once)" in said


def test_a_column_of_something_else_is_asked_about(tmp_path: Path) -> None:
    rows = "".join(f"{n}.jpg,{n + 40},{sex},{n % 2}\n" for n, sex in enumerate(["Male", "Female"] * 10))
    said = refusal(tmp_path / "t.csv", "image,Age,Patient Sex,cat\n" + rows, codes="1=present,0=absent")
    assert "are the columns 'Age', 'Patient Sex' classes?" in said
    assert "--ignore Age --ignore 'Patient Sex'" in said
    assert "=unknown" not in said
    assert read_table(tmp_path / "t.csv", codes="1=present,0=absent", ignore=["Age", "Patient Sex"]).table.classes == (
        "cat",
    )


def test_row_numbers_are_no_class_even_where_they_have_codes(tmp_path: Path) -> None:
    said = refusal(tmp_path / "t.csv", "Unnamed: 0,image,sky\n0,a,1\n1,b,0\n", codes="1=present,0=absent")
    assert "column 1 is 'Unnamed: 0'" in said
    assert said.endswith("--ignore 'Unnamed: 0'")


@pytest.mark.parametrize("name", ["index", "Index"])
def test_row_numbers_are_asked_about(tmp_path: Path, name: str) -> None:
    said = refusal(tmp_path / "t.csv", f"{name},image,sky\n0,a,1\n1,b,0\n2,c,1\n", codes="1=present,0=absent")
    assert f"is column {name!r} a class? If not, leave it out with --ignore {shlex.quote(name)}" in said


def test_one_column_of_tags_is_told_where_it_belongs(tmp_path: Path) -> None:
    said = refusal(tmp_path / "t.csv", "image,tags\na,haze primary\nb,clear water\n")
    assert "say --columns present=tags" in said


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(*[st.sampled_from(["1", "0", "", "2", "9", "-1", "?", "0.5", "Ohio"])] * 3), min_size=1, max_size=30
    )
)
def test_all_values_are_counted(tmp_path: Path, rows: list[tuple[str, str, str]]) -> None:
    path = tmp_path / "t.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("image", "a", "b", "c"), *((f"{n}.jpg", *row) for n, row in enumerate(rows))])
    counts = Counter(value for row in rows for value in row if value not in {"1", "0", ""})
    try:
        read_table(path, codes="1=present,0=absent,=unknown")
    except LabelError as error:
        said = str(error)
    else:
        assert not counts
        return
    shown = [value for value, _ in counts.most_common(5)]
    for value in shown if len(counts) <= 5 else []:
        times = "once" if counts[value] == 1 else f"{counts[value]} times"
        assert f"{value!r} ({times}" in said or f"{value!r} has no code ({times}" in said
    line = next(n for n, row in enumerate(rows, 2) if any(value in counts for value in row))
    assert f"line {line}, column" in said


def test_kinds() -> None:
    assert {kind(value) for value in ("1", "-100", "255", "", "yes", "N/A", "?", "1.0", "x")} == {"state"}
    assert {kind(value) for value in ("0.5", "1e-9", ".3")} == {"fraction"}
    assert {kind(value) for value in ("Ohio", "it's", "haze primary", "['cat']")} == {"name"}
