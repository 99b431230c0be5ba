"""Verdicts and what follows from them by relations, against rules applied one by one, image by image."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partlabel import LabelTable, Source, reviewed
from partlabel.errors import LabelError, UsageError
from partlabel.progress import SILENT
from partlabel.reviewing.journal import Journal
from partlabel.reviewing.queues import Wanted
from partlabel.reviewing.session import Session
from partlabel.reviewing.source import open_subject
from partlabel.reviewing.verdicts import Decision

CLASSES = ("dog", "animal", "thing", "day", "night", "noon")
RELATIONS = (
    "class,relation,other\ndog,implies,animal\nanimal,implies,thing\nnoon,implies,day\nday,excludes,night\n"
    "noon,excludes,dog\n"
)
IMPLIES = (("dog", "animal"), ("animal", "thing"), ("noon", "day"))
EXCLUDES = (("day", "night"), ("noon", "dog"))
IMAGES = ("a.png", "b.png")


def closure(name: str, state: int) -> dict[str, int]:
    """What one cell says of the others, by the direct rules applied again and again."""
    found = {name: state}
    while True:
        new = dict(found)
        for one, other in IMPLIES:
            if found.get(one) == 1:
                new[other] = 1
            if found.get(other) == -1:
                new[one] = -1
        for one, other in EXCLUDES:
            if found.get(one) == 1:
                new[other] = -1
            if found.get(other) == 1:
                new[one] = -1
        if new == found:
            return found
        found = new


def told_of(known: Mapping[str, int], verdicts: Mapping[str, int]) -> tuple[set[str], dict[str, int]]:
    """Of one image: the classes whose verdict is contradicted, and the states that follow from the other verdicts."""
    against = set()
    for name, state in verdicts.items():
        for other, follows in closure(name, state).items():
            stands = verdicts.get(other, known.get(other, 0))
            if other != name and stands == -follows:
                against.add(name)
    settled = {}
    for name, state in verdicts.items():
        for other, follows in closure(name, state).items():
            if name not in against and other not in verdicts and known.get(other, 0) == 0:
                settled[other] = follows
    return against, settled


@pytest.fixture
def relations(tmp_path: Path) -> Path:
    path = tmp_path / "relations.csv"
    path.write_text(RELATIONS)
    return path


def table_of(states: Mapping[tuple[int, str], int]) -> LabelTable:
    rows, columns = [row for row, _ in states], [CLASSES.index(name) for _, name in states]
    return LabelTable.from_cells(IMAGES, CLASSES, rows, columns, [*states.values()])


@contextmanager
def reviewing(
    source: LabelTable | Path, relations: Path, journal: Path, table: Path | None = None
) -> Iterator[Session]:
    subject, _ = open_subject(source, table, Path(), SILENT, {"relations": str(relations)})
    with Journal(journal, subject) as kept:
        yield Session(subject, kept, "Ann")


def decide(session: Session, image: str, **verdicts: str) -> dict[str, object]:
    cells = [(session.subject.cell(image, name), verdict) for name, verdict in verdicts.items()]
    return session.decide("tab", [Decision(cell, verdict) for cell, verdict in cells if cell is not None])


def standings(session: Session, image: str) -> dict[str, str]:
    """How each class of an image stands, by the lists of what is asked."""
    row = session.subject.known.image_positions[image]
    found = {}
    for number, word in enumerate(("open", "present", "absent", "unsure", "implied")):
        for cell in session.order(Wanted("images", verdict=number))["cells"]:
            if cell // len(CLASSES) == row:
                found[session.subject.classes[cell % len(CLASSES)]] = word
    return found


WORDS = {1: "present", -1: "absent"}
STEPS = st.lists(
    st.tuples(
        st.sampled_from(IMAGES), st.sampled_from(CLASSES), st.sampled_from(["present", "absent", "unsure", "none"])
    ),
    max_size=8,
)


def check_image(
    session: Session, row: int, stated: Mapping[tuple[int, str], int], verdicts: Mapping[str, int], unsure: set[str]
) -> None:
    """Against rules: how the cells of an image stand, and what is told of them."""
    known: dict[str, int] = {}
    for (of_row, name), state in stated.items():
        known |= closure(name, state) if of_row == row else {}
    against, settled = told_of(known, verdicts)
    expected = {name: "open" for name in CLASSES if name not in known}
    expected |= dict.fromkeys(settled, "implied")
    expected |= {name: "unsure" for name in unsure if name not in known}
    expected |= {name: WORDS[state] for name, state in verdicts.items() if name not in known}
    assert standings(session, IMAGES[row]) == expected
    assert session.asked.open_by_image[row] == sum(word == "open" for word in expected.values())
    cells = session.image(row, None)["cells"]
    told = {CLASSES[cell["class"]]: cell["relation"] for cell in cells if "relation" in cell}
    assert {name for name, one in told.items() if one["kind"] == "against"} == against
    assert {name: one["state"] for name, one in told.items() if one["kind"] == "implied"} == {
        name: WORDS[state] for name, state in settled.items()
    }


@settings(max_examples=40, deadline=None)
@given(STEPS, st.sampled_from([{}, {(0, "animal"): 1}, {(0, "thing"): -1, (1, "day"): 1}, {(1, "noon"): -1}]))
def test_as_rules_applied_one_by_one(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, str]], stated: dict[tuple[int, str], int]
) -> None:
    folder = tmp_path_factory.mktemp("review")
    (folder / "relations.csv").write_text(RELATIONS)
    journal = folder / "journal"
    verdicts: dict[str, dict[str, int]] = {image: {} for image in IMAGES}
    unsure: dict[str, set[str]] = {image: set() for image in IMAGES}
    with reviewing(table_of(stated), folder / "relations.csv", journal) as session:
        for image, name, verdict in steps:
            decide(session, image, **{name: verdict})
            verdicts[image].pop(name, None)
            unsure[image].discard(name)
            if verdict == "unsure":
                unsure[image].add(name)
            elif verdict != "none":
                verdicts[image][name] = 1 if verdict == "present" else -1
        before = (session.given(), session.asked.tally.tolist(), session.asked.open_by_image.tolist())
        for row, image in enumerate(IMAGES):
            check_image(session, row, stated, verdicts[image], unsure[image])
        tally = np.array(session.asked.tally)
        assert tally.sum(axis=1).tolist() == session.asked.cells_by_class.tolist()
        assert (tally >= 0).all()
        assert tally[:, 0].sum() == session.asked.open_by_image.sum()
    with reviewing(table_of(stated), folder / "relations.csv", journal) as session:  # nothing but verdicts was kept
        after = (session.given(), session.asked.tally.tolist(), session.asked.open_by_image.tolist())
        assert after == before


def test_the_answer_tells_what_follows_and_undo_takes_it_back(tmp_path: Path, relations: Path) -> None:
    with reviewing(table_of({}), relations, tmp_path / "journal") as session:
        told = decide(session, "b.png", dog="present")["related"]
        implied = {"kind": "implied", "state": "present", "class": 0, "other": "present", "known": False}
        absent = {**implied, "state": "absent"}
        first = {"image": 1, "seq": 1}
        cells = [{"cell": 7, **implied}, {"cell": 8, **implied}, {"cell": 11, **absent}]
        assert told == [{**first, "cells": cells}]
        assert session.changes(0, "other")["related"] == told
        assert session.given() == {6: 1, 7: 1, 8: 1, 11: 2}
        assert decide(session, "b.png", dog="none")["related"] == [{"image": 1, "seq": 2, "cells": []}]
        assert session.given() == {}
        assert session.verdicts.given == 0
    lines = (tmp_path / "journal").read_text().splitlines()
    assert len(lines) == 3  # the header and two verdicts


def test_a_contradiction_is_told_and_says_nothing(tmp_path: Path, relations: Path) -> None:
    with reviewing(table_of({(0, "thing"): -1}), relations, tmp_path / "journal") as session:
        told = decide(session, "a.png", dog="present")["related"]
        against = {"kind": "against", "state": "present", "class": 1, "other": "absent", "known": True}
        assert told == [{"image": 0, "seq": 1, "cells": [{"cell": 0, **against}]}]
        assert session.summary()["contradictions"] == [0]
        decide(session, "b.png", day="present", night="present")
        assert session.summary()["contradictions"] == [0, 9, 10]
        assert standings(session, "b.png")["noon"] == "open"
        decide(session, "b.png", day="absent")
        assert session.summary()["contradictions"] == [0]
        assert standings(session, "b.png")["noon"] == "implied"


def suggestions_of(path: Path, rule: str) -> Path:
    lines = [f"a.png,{name},present,recovered,0.9,2.2,{rule}" for name in CLASSES]
    path.write_text("\n".join(["image,class,state,source,probability,logit,rule", *lines]) + "\n")
    return path


@pytest.mark.parametrize(("rule", "still_open", "implied"), [("own", 1, 3), ("audit", 4, 0)])
def test_what_an_audit_drew_is_settled_by_nobody_but_a_person(
    tmp_path: Path, relations: Path, rule: str, still_open: int, implied: int
) -> None:
    source = suggestions_of(tmp_path / "s.csv", rule)
    with reviewing(source, relations, tmp_path / "journal") as session:
        decide(session, "a.png", dog="present")
        decide(session, "a.png", day="absent")
        assert session.asked.tally.sum(axis=0).tolist() == [still_open, 1, 1, 0, implied]
    found = reviewed(source, journal=tmp_path / "journal", read={"relations": str(relations)}).table
    drawn = [line.split(",")[:2] for line in source.read_text().splitlines()[1:]]
    follows = [name for image, name in drawn if cells_of(found, image).get(name, (0, None))[1] == Source.IMPLIED]
    assert len(follows) == implied


def test_a_verdict_of_ones_own_stands_in_place_of_what_was_known(tmp_path: Path, relations: Path) -> None:
    with reviewing(table_of({(0, "animal"): -1, (0, "dog"): -1}), relations, tmp_path / "journal") as session:
        decide(session, "a.png", dog="present")
        assert [told.against for _, told in session.verdicts.implied.cells()] == [True]
        decide(session, "a.png", animal="present")
        assert not any(told.against for _, told in session.verdicts.implied.cells())
        assert standings(session, "a.png")["thing"] == "implied"


def test_a_doubtful_label_is_settled_by_what_confirms_it(tmp_path: Path, relations: Path) -> None:
    source = suggestions_of(tmp_path / "s.csv", "doubtful")
    known = tmp_path / "known.csv"
    known.write_text("image,class,state\na.png,animal,present\na.png,day,present\n")
    with reviewing(source, relations, tmp_path / "journal", known) as session:
        decide(session, "a.png", dog="present")
        names = session.subject.classes
        assert [name for name, count in zip(names, session.asked.tally[:, 4].tolist(), strict=True) if count] == [
            "animal",
            "thing",
            "noon",
        ]


def cells_of(table: LabelTable, image: str) -> dict[str, tuple[int, Source]]:
    row = table.image_positions[image]
    return {
        table.classes[column]: (state, Source(source))
        for at, column, state, source in zip(*(part.tolist() for part in table.cells()), strict=True)
        if at == row
    }


def test_the_export_writes_what_follows_as_implied(tmp_path: Path, relations: Path) -> None:
    journal = tmp_path / "journal"
    source = tmp_path / "t.csv"
    unknown = "".join(f"b.png,{name},unknown\n" for name in CLASSES)
    source.write_text(f"image,class,state\na.png,day,present\n{unknown}")
    with reviewing(source, relations, journal) as session:
        decide(session, "b.png", dog="present", animal="unsure")
    found = reviewed(source, journal=journal, out=tmp_path / "out.csv", read={"relations": str(relations)})
    assert cells_of(found.table, "b.png") == {
        "dog": (1, Source.REVIEW),
        "animal": (1, Source.IMPLIED),
        "thing": (1, Source.IMPLIED),
        "noon": (-1, Source.IMPLIED),
    }
    assert cells_of(found.table, "a.png") == {"day": (1, Source.IMPORT), "night": (-1, Source.IMPLIED)}
    lines = list(found.lines())
    assert lines[0] == "dog: +1 present, +0 absent ('b.png')"
    assert "in all: +1 present, +0 absent in 1 class" in lines
    assert "4 cells known because of others, of source implied; nobody judged them" in lines
    assert cells_of(reviewed(source, journal=journal).table, "b.png") == {
        "dog": (1, Source.REVIEW),
        "animal": (0, Source.UNSURE),
    }


def test_a_verdict_that_wins_takes_along_what_followed_from_the_label(tmp_path: Path, relations: Path) -> None:
    journal, source = tmp_path / "journal", table_of({(0, "animal"): -1, (1, "noon"): 1})
    read = {"relations": str(relations)}
    with reviewing(source, relations, journal) as session:
        decide(session, "a.png", dog="present")
        decide(session, "b.png", noon="absent")
    with pytest.raises(LabelError, match="2 verdicts the opposite of a known label"):
        reviewed(source, journal=journal, read=read)  # type: ignore[arg-type]
    table = reviewed(source, journal=journal, prefer="table", read=read).table  # type: ignore[arg-type]
    assert cells_of(table, "a.png") == {"dog": (-1, Source.IMPLIED), "animal": (-1, Source.IMPORT)}
    table = reviewed(source, journal=journal, prefer="review", read=read).table  # type: ignore[arg-type]
    assert cells_of(table, "a.png") == {
        "dog": (1, Source.REVIEW),
        "animal": (1, Source.IMPLIED),
        "thing": (1, Source.IMPLIED),
        "noon": (-1, Source.IMPLIED),
    }
    assert cells_of(table, "b.png") == {"noon": (-1, Source.REVIEW)}  # neither day nor no night nor no dog


def test_verdicts_that_contradict_each_other_are_no_labels(tmp_path: Path, relations: Path) -> None:
    journal, source = tmp_path / "journal", table_of({(1, "animal"): 1})
    with reviewing(source, relations, journal) as session:
        decide(session, "a.png", noon="present", night="present", animal="present")
    read = {"relations": str(relations)}
    with pytest.raises(LabelError, match=r"image 'a\.png': 'night' is present and 'noon' is present; change one"):
        reviewed(source, journal=journal, read=read)  # type: ignore[arg-type]
    read["conflicts"] = "unknown"
    table = reviewed(source, journal=journal, read=read).table  # type: ignore[arg-type]
    assert cells_of(table, "a.png") == {"animal": (1, Source.REVIEW), "thing": (1, Source.IMPLIED)}


def test_relations_need_no_table(tmp_path: Path, relations: Path) -> None:
    source = suggestions_of(tmp_path / "s.csv", "own")
    said: list[str] = []
    with pytest.raises(UsageError, match="read without --codes"):
        open_subject(source, None, Path(), SILENT, {"relations": str(relations), "codes": "1=present"})
    relations.write_text("class,relation,other\nfir,implies,tree\n")

    class Said:
        track = SILENT.track

        def say(self, text: str) -> None:
            said.append(text)

    open_subject(source, None, Path(), Said(), {"relations": str(relations)})  # type: ignore[arg-type]
    assert said == [f"{relations} relates none of the classes here; its first one is 'fir'"]


def test_a_stated_label_that_gives_way_to_what_follows_is_told(tmp_path: Path, relations: Path) -> None:
    journal, source = tmp_path / "journal", table_of({(0, "animal"): -1})
    with reviewing(source, relations, journal) as session:
        decide(session, "a.png", dog="present")
    found = reviewed(source, journal=journal, prefer="review", read={"relations": str(relations)})
    assert cells_of(found.table, "a.png")["animal"] == (1, Source.IMPLIED)
    assert any("animal" in line for line in found.lines())


def test_verdicts_that_are_left_out_are_named_and_not_counted(tmp_path: Path, relations: Path) -> None:
    journal, source = tmp_path / "journal", table_of({(0, "day"): 1})
    with reviewing(source, relations, journal) as session:
        decide(session, "b.png", dog="present", animal="absent")
        decide(session, "a.png", dog="absent")
    found = reviewed(source, journal=journal, read={"relations": str(relations), "conflicts": "unknown"})
    assert [(one.image, one.class_name) for one in found.left_out] == [("b.png", "dog"), ("b.png", "animal")]
    assert "dog" not in cells_of(found.table, "b.png")
    lines = list(found.lines())
    assert lines[:2] == ["dog: +0 present, +1 absent ('a.png')", "in all: +0 present, +1 absent in 1 class"]
    assert "left out, because verdicts contradict each other: class 'dog' of 'b.png'" in lines
    assert not found.gave_way


def test_a_recovered_cell_gives_way_on_the_page_as_in_the_export(tmp_path: Path, relations: Path) -> None:
    journal, recovered = (
        tmp_path / "journal",
        LabelTable.from_cells(IMAGES, CLASSES, [0], [CLASSES.index("animal")], [-1], Source.RECOVERED),
    )
    with reviewing(recovered, relations, journal) as session:
        decide(session, "a.png", dog="present")
        assert standings(session, "a.png")["thing"] == "implied"
    found = reviewed(recovered, journal=journal, read={"relations": str(relations)})
    assert cells_of(found.table, "a.png")["animal"] == (1, Source.IMPLIED)
    assert not found.gave_way
