"""The journal: what a kill, a full disk, an edit and a second server do to it; and what it says of each cell."""

import json
import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from partlabel.errors import LabelError, StorageError, UsageError
from partlabel.labels import LabelTable
from partlabel.progress import SILENT
from partlabel.reviewing.journal import Journal, Record, now, read_journal
from partlabel.reviewing.queues import asked_of
from partlabel.reviewing.source import open_subject
from partlabel.reviewing.subject import Subject
from partlabel.reviewing.verdicts import Decision, Verdicts

IMAGES, CLASSES = tuple(f"{number}.png" for number in range(20)), ("sky", "sea", "boat")


def subject_of(images: tuple[str, ...] = IMAGES, classes: tuple[str, ...] = CLASSES) -> Subject:
    return open_subject(LabelTable.from_cells(images, classes, [], [], []), None, Path(), SILENT, {})[0]


@contextmanager
def opened(path: Path, subject: Subject | None = None) -> Iterator[Verdicts]:
    subject = subject or subject_of()
    with Journal(path, subject) as journal:
        yield Verdicts(subject, asked_of(subject, learns=False), journal)


def state(verdicts: Verdicts) -> dict[int, tuple[int, int, str]]:
    return {cell: (last.verdict, last.number, last.client) for cell, last in verdicts.last.items()}


def test_verdicts_are_there_after_reopening(tmp_path: Path) -> None:
    with opened(tmp_path / "j.jsonl") as verdicts:
        verdicts.decide("tab", "Ann", [Decision(0, "present"), Decision(4, "absent"), Decision(5, "unsure")])
        verdicts.decide("tab", "Ann", [Decision(4, "none")])
        before, counts = state(verdicts), verdicts.asked.tally.tolist()
    with opened(tmp_path / "j.jsonl") as verdicts:
        assert state(verdicts) == before
        assert verdicts.asked.tally.tolist() == counts == [[19, 1, 0, 0, 0], [20, 0, 0, 0, 0], [19, 0, 0, 1, 0]]
        assert verdicts.number == 4
    records = read_journal(tmp_path / "j.jsonl").records
    assert [(r.number, r.image, r.class_name, r.verdict, r.previous, r.request) for r in records] == [
        (1, "0.png", "sky", "present", "none", 1),
        (2, "1.png", "sea", "absent", "none", 1),
        (3, "1.png", "boat", "unsure", "none", 1),
        (4, "1.png", "sea", "none", "absent", 4),
    ]
    assert {r.who for r in records} == {"Ann"}
    assert all(r.when.endswith("+00:00") for r in records)


def test_a_request_that_was_taken_back_as_one_is_read(tmp_path: Path) -> None:
    with opened(tmp_path / "j.jsonl") as verdicts:
        verdicts.decide("tab", "Ann", [Decision(0, "present")])
        verdicts.decide("tab", "Ann", [Decision(0, "none")])
    lines = (tmp_path / "j.jsonl").read_bytes()
    assert lines.endswith(b'"kind":"verdict","request":2}\n')
    (tmp_path / "j.jsonl").write_bytes(lines.replace(b'"verdict","request":2', b'"undo","request":1'))
    with opened(tmp_path / "j.jsonl") as verdicts:
        assert (verdicts.number, verdicts.given) == (2, 0)


def test_a_conflict_is_told_and_not_written(tmp_path: Path) -> None:
    with opened(tmp_path / "j.jsonl") as verdicts:
        verdicts.decide("a", "Ann", [Decision(0, "present")])
        accepted, conflicts = verdicts.decide("b", "Bob", [Decision(0, "absent"), Decision(1, "absent")])
        assert ([cell for cell, _ in accepted], [cell for cell, _ in conflicts]) == ([1], [0])
        assert (conflicts[0][1].who, conflicts[0][1].number) == ("Ann", 1)
        assert verdicts.decide("b", "Bob", [Decision(0, "present")])[1] == []  # they agree
        assert verdicts.decide("a", "Ann", [Decision(0, "unsure", seen=1)])[1] != []
        assert verdicts.decide("a", "Ann", [Decision(0, "unsure", seen=3)])[1] == []
        assert verdicts.decide("b", "Bob", [Decision(0, "absent", seen=None, force=True)])[1] == []
    assert len(read_journal(tmp_path / "j.jsonl").records) == 5


def test_changes_are_those_of_others_each_cell_once(tmp_path: Path) -> None:
    with opened(tmp_path / "j.jsonl") as verdicts:
        verdicts.decide("a", "Ann", [Decision(0, "present"), Decision(1, "present")])
        verdicts.decide("a", "Ann", [Decision(0, "absent")])
        verdicts.decide("b", "Bob", [Decision(2, "present")])
        assert [(c, last.verdict) for c, last in verdicts.changes(0, "b")[1]] == [(0, 2), (1, 1)]
        assert [c for c, _ in verdicts.changes(2, "b")[1]] == [0]
        assert verdicts.changes(4, "x") == (4, [])
        assert verdicts.changes(10**12, "x") == (4, [])


@pytest.mark.parametrize("wrong", [Decision(60, "present"), Decision(-1, "present"), Decision(0, "maybe")])
def test_a_wrong_request_is_refused_whole(tmp_path: Path, wrong: Decision) -> None:
    with opened(tmp_path / "j.jsonl") as verdicts:
        with pytest.raises(UsageError):
            verdicts.decide("a", "Ann", [Decision(1, "present"), wrong])
        with pytest.raises(UsageError, match="twice"):
            verdicts.decide("a", "Ann", [Decision(1, "present"), Decision(1, "absent")])
        assert verdicts.number == 0
    assert read_journal(tmp_path / "j.jsonl").records == []


@pytest.mark.parametrize("kept", ["nothing", "a part", "all but the line end"])
def test_a_torn_last_line_is_set_aside(tmp_path: Path, kept: str) -> None:
    path = tmp_path / "j.jsonl"
    with opened(path) as verdicts:
        verdicts.decide("tab", "Ann", [Decision(0, "present")])
        verdicts.decide("tab", "Ann", [Decision(1, "absent")])
    whole = path.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    end = {"nothing": last, "a part": last + 20, "all but the line end": len(whole) - 1}[kept]
    path.write_bytes(whole[:end])
    subject = subject_of()
    with Journal(path, subject) as journal:
        verdicts = Verdicts(subject, asked_of(subject, learns=False), journal)
        assert verdicts.number == 1
        assert (journal.notes != []) == (kept != "nothing")
        verdicts.decide("tab", "Ann", [Decision(2, "absent")])
    assert [record.number for record in read_journal(path).records] == [1, 2]
    if kept != "nothing":
        assert Path(f"{path}.torn").read_bytes() == whole[last:end] + b"\n"
        assert "killed" in journal.notes[0]


@pytest.mark.slow
def test_every_place_at_which_a_journal_may_be_cut(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    with opened(path) as verdicts:
        for cell in range(3):
            verdicts.decide("tab", "Ann", [Decision(cell, "present")])
    whole = path.read_bytes()
    for end in range(len(whole) + 1):
        path.write_bytes(whole[:end])
        with opened(path) as verdicts:
            assert verdicts.number == max(whole[:end].count(b"\n") - 1, 0)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda lines: [*lines[:2], b"\0" * 30, *lines[3:]], "line 3"),
        (lambda lines: [*lines[:2], *lines[3:]], "line 3 has number 3, but 2"),
        (lambda lines: [*lines[:2], lines[2].replace(b"present", b"prexent"), *lines[3:]], "line 3"),
        (lambda lines: [*lines[:2], lines[2].replace(b'"n":2', b'"n":2.5'), *lines[3:]], "line 3"),
        (lambda lines: [*lines[:2], lines[2].replace(b'"request":2', b'"request":9'), *lines[3:]], "request 9"),
        (lambda lines: [*lines[:2], b"[]", *lines[3:]], "line 3"),
        (lambda lines: [*lines[:2], lines[2].replace(b"0.png", b"x.png"), *lines[3:]], "record 2"),
        (lambda lines: lines[1:], "no journal"),
        (lambda lines: [b"image,class,state", b"a.png,sky,present"], "no journal"),
        (lambda lines: [b"\xff\xd8\xff\xe0"], "no journal"),
    ],
)
def test_any_other_damage_is_an_error_that_says_the_line(
    tmp_path: Path, damage: Callable[[list[bytes]], list[bytes]], said: str
) -> None:
    path = tmp_path / "j.jsonl"
    with opened(path) as verdicts:
        for cell in range(3):
            verdicts.decide("tab", "Ann", [Decision(cell, "present")])
    changed = b"\n".join(damage(path.read_bytes().split(b"\n")))
    path.write_bytes(changed)
    with pytest.raises(LabelError, match=said), opened(path):
        pass
    assert path.read_bytes() == changed


def test_a_journal_of_other_images_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    with opened(path) as verdicts:
        verdicts.decide("tab", "Ann", [Decision(0, "present")])
    before = path.read_bytes()
    with pytest.raises(LabelError, match=r"of other images or classes.*'sky' of '0\.png'.*--journal"):
        Journal(path, subject_of(images=("a.png",)))
    assert path.read_bytes() == before


def test_a_journal_holds_where_images_were_added(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    with opened(path) as verdicts:
        verdicts.decide("tab", "Ann", [Decision(4, "present")])
    subject = subject_of(images=("new.png", *IMAGES), classes=("hill", *CLASSES))
    with Journal(path, subject) as journal:
        assert "other images or classes" in journal.notes[0]
        verdicts = Verdicts(subject, asked_of(subject, learns=False), journal)
        assert list(verdicts.last) == [subject.cell("1.png", "sea")]


def test_a_second_process_is_told_who_has_the_journal(tmp_path: Path) -> None:
    with opened(tmp_path / "j.jsonl"), pytest.raises(StorageError, match=rf"process {os.getpid()} on .* since 20"):
        Journal(tmp_path / "j.jsonl", subject_of())
    with opened(tmp_path / "j.jsonl"):
        pass


def test_a_full_disk_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with opened(path) as verdicts:
            verdicts.decide("tab", "Ann", [Decision(0, "present")])
            content = path.read_bytes()
            resource.setrlimit(resource.RLIMIT_FSIZE, (len(content) + 50, limits[1]))
            with pytest.raises(StorageError, match="no space left"):
                verdicts.decide("tab", "Ann", [Decision(1, "present")])
            assert path.read_bytes() == content
            assert (verdicts.number, list(verdicts.last)) == (1, [0])
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            verdicts.decide("tab", "Ann", [Decision(2, "present")])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert [record.number for record in read_journal(path).records] == [1, 2]


def test_a_journal_that_another_program_changes_is_not_written_further(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    with opened(path) as verdicts:
        with path.open("a") as file:
            file.write("half a line")
        with pytest.raises(StorageError, match="changed by another program"):
            verdicts.decide("tab", "Ann", [Decision(1, "present")])


def test_a_pipe_is_no_journal(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StorageError, match="pipe"):
        Journal(tmp_path / "pipe", subject_of())


def test_names_of_any_kind_come_back(tmp_path: Path) -> None:
    names = ('a"b\\c.png', "line\nend.png", "\u202egnp.exe", "<img src=x>.png", "é.png", "x" * 4000)
    subject = subject_of(images=names)
    with opened(tmp_path / "j.jsonl", subject) as verdicts:
        verdicts.decide("tab", "Ann\u2028<b>", [Decision(3 * row, "present") for row in range(len(names))])
        before = state(verdicts)
    with opened(tmp_path / "j.jsonl", subject) as verdicts:
        assert state(verdicts) == before
    lines = (tmp_path / "j.jsonl").read_bytes().splitlines()
    assert len(lines) == 2 + len(names)
    assert all(json.loads(line) for line in lines)


@pytest.mark.slow
def test_200_000_records_are_read_in_seconds(tmp_path: Path) -> None:
    images = tuple(f"folder/{number:06d}.jpg" for number in range(20_000))
    subject = subject_of(images=images, classes=tuple(f"class {number}" for number in range(10)))
    path = tmp_path / "j.jsonl"
    with Journal(path, subject) as journal:
        names = ("present", "absent", "unsure", "none")
        for start in range(1, 200_001, 2_000):
            journal.append(
                [
                    Record(
                        n, images[n % 20_000], f"class {n % 10}", names[n % 4], "none", "Ann", "t", now(), "verdict", n
                    )
                    for n in range(start, start + 2_000)
                ]
            )
    began = time.process_time()
    with opened(path, subject) as verdicts:
        seconds = time.process_time() - began
        assert verdicts.number == 200_000
    assert seconds < 12  # 1.4 on a core that others use as well; read a record at a time from the start, hours
