"""Learning while somebody reviews: real runs, real servers, real files."""

import asyncio
import json
import shutil
import signal
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import partlabel
from partlabel.errors import Interrupted, UsageError
from partlabel.formats import write_table
from partlabel.labels import LabelTable
from partlabel.progress import SILENT, Reporter
from partlabel.reviewing.journal import Journal
from partlabel.reviewing.learning import Learning
from partlabel.reviewing.pupil import Learned, Pupil
from partlabel.reviewing.session import Session
from partlabel.reviewing.source import open_subject
from partlabel.runs.folder import RunFolder

pytestmark = pytest.mark.slow

Serve = Callable[..., Any]
Data = tuple[Path, LabelTable]
LONG = 240
"""Seconds that a first fit may take on a busy machine: torch is imported for it."""
LOOKED = "The model has looked at the pictures: press r for the better order."


@pytest.fixture
def table(tmp_path: Path, partial_labels: LabelTable) -> Path:
    """Labels with gaps, of more images than the run has seen."""
    path = tmp_path / "labels.parquet"
    write_table(partial_labels, path)
    return path


def _changes(page: Any) -> dict[str, Any]:
    return dict(page.get("/api/changes", params={"after": 0, "client": "other"}).raise_for_status().json())


def _until(page: Any, fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    end = time.monotonic() + LONG
    while not fits(told := _changes(page)):
        assert time.monotonic() < end, told
        time.sleep(0.1)
    return told


def _revision(page: Any, number: int) -> dict[str, Any]:
    """What is told once the order has this number and nothing is learned any more."""
    return _until(page, lambda told: told["revision"] >= number and told["learning"] is None)


def _texts(told: dict[str, Any]) -> list[str]:
    return [one["text"] for one in told["announcements"]]


def _order(page: Any, queue: str, show: str = "open") -> list[int]:
    params = {"queue": queue, "class": "all", "show": show}
    return list(page.get("/api/order", params=params).raise_for_status().json()["cells"])


def _judge(page: Any, verdicts: dict[int, str]) -> None:
    sent = [{"cell": cell, "verdict": verdict} for cell, verdict in verdicts.items()]
    page.post("/api/verdicts", json={"client": "me", "verdicts": sent}).raise_for_status()


def _queues(page: Any) -> list[str]:
    return [one["id"] for one in page.get("/api/session").raise_for_status().json()["queues"]]


def _known(labels: LabelTable) -> set[int]:
    dense = labels.dense()
    return {row * dense.shape[1] + column for row, column in zip(*dense.nonzero(), strict=True)}


def test_every_five_verdicts_make_a_better_order(
    served: Serve, table: Path, fitted_run: RunFolder, color_images: Data, partial_labels: LabelTable
) -> None:
    server = served(table, color_images[0], run=fitted_run.path, learn_every=5)
    known = _known(partial_labels)
    with server.client() as page:
        assert _queues(page) == ["value", "images"]
        told = _revision(page, 2)
        assert (told["revision"], _texts(told)) == (2, [LOOKED])
        assert page.get("/api/session").json()["revision"] == 2
        order = _order(page, "value")
        assert len(order) > 10
        assert not known & set(order)
        cells = page.get("/api/cells", params={"queue": "value", "class": "all"}).json()
        assert cells["revision"] == 2
        assert [one["cell"] for one in cells["cells"]] == order
        assert all(0 < one["probability"] < 1 for one in cells["cells"])

        given = dict(zip(order[:5], ["present", "absent", "unsure", "present", "absent"], strict=True))
        for cell in order[:4]:
            _judge(page, {cell: given[cell]})
            told = _changes(page)
            assert (told["revision"], told["learning"]) == (2, None)
        _judge(page, {order[4]: given[order[4]]})
        told = _revision(page, 3)
        assert told["revision"] == 3
        assert told["announcements"] == [
            {"id": 2, "text": "The model has learned from 5 verdicts: press r for the better order."}
        ]
        for show in ("open", "all"):
            assert not {*known, *order[:5]} & set(_order(page, "value", show))
        for show in ("present", "absent"):  # by value there is nothing decided; whoever asks for verdicts finds them
            assert sorted(_order(page, "value", show)) == [one for one in sorted(order[:5]) if given[one] == show]
        assert sorted(_order(page, "images")) == sorted({*range(96)} - known - set(order[:5]))
        _judge(page, dict.fromkeys(order[:5], "none"))
        told = _revision(page, 4)
        assert _texts(told) == [LOOKED]
        assert _order(page, "value") == order
    assert "Traceback" not in server.interrupt()


def test_verdicts_during_a_fit_lead_to_another_one(
    served: Serve, table: Path, fitted_run: RunFolder, color_images: Data
) -> None:
    server = served(table, color_images[0], run=fitted_run.path, learn_every=5)
    with server.client() as page:
        open_ones = _order(page, "images")[:5]
        assert _changes(page)["revision"] == 1  # nobody has opened a page
        _queues(page)
        told = _until(page, lambda told: told["learning"] is not None)
        assert told["revision"] == 1
        _judge(page, dict.fromkeys(open_ones, "present"))
        told = _revision(page, 3)
        assert told["revision"] == 3
        assert _texts(told) == ["The model has learned from 5 verdicts: press r for the better order."]
        assert not set(open_ones) & set(_order(page, "value", "all"))
        assert sorted(_order(page, "images", "present")) == sorted(open_ones)


@pytest.mark.parametrize("asked", ["never", "without a run"])
def test_without_learning_there_is_no_order_by_value(
    served: Serve, table: Path, fitted_run: RunFolder, color_images: Data, asked: str
) -> None:
    how: dict[str, Any] = {"run": fitted_run.path, "learn_every": "0"} if asked == "never" else {"learn_every": 1}
    server = served(table, color_images[0], **how)
    with server.client() as page:
        assert _queues(page) == ["images"]
        _judge(page, dict.fromkeys(_order(page, "images")[:30], "absent"))
        time.sleep(1)
        told = _changes(page)
        assert (told["revision"], told["learning"], told["announcements"]) == (1, None, [])
        assert page.get("/api/order", params={"queue": "value"}).status_code == 400


def test_cells_of_an_audit_keep_the_order_of_their_draw(
    served: Serve, tmp_path: Path, fitted_run: RunFolder, color_images: Data, partial_labels: LabelTable
) -> None:
    run = tmp_path / "run"
    shutil.copytree(fitted_run.path, run)
    audit = tmp_path / "audit.csv"
    labels = fitted_run.labels()
    partlabel.recover(run, labels, images=color_images[0], out=audit, audit=6, precision=0.5, confidence=0.8)
    header, *cells = (line.split(",") for line in audit.read_text().splitlines())
    lines = [cell[:2] for cell in cells]
    more = {"image": "31.png", "class": "red", "state": "present", "probability": "0.9", "rule": "own"}
    with open(audit, "a") as file:  # somebody has put a suggestion below them
        file.write(",".join(more.get(name, "") for name in header) + "\n")
    server = served(audit, color_images[0], run=run, learn_every=1)
    with server.client() as page:
        assert _queues(page) == ["probability", "unsure_first", "audit"]
        order = _order(page, "audit")
        _judge(page, {order[1]: "present", order[2]: "absent"})
        time.sleep(1)
        told = _changes(page)
        assert (told["revision"], told["learning"], told["announcements"]) == (1, None, [])
        assert _order(page, "audit", "all") == order
        session = page.get("/api/session").json()
        names = {one["id"]: one["name"] for one in session["classes"]}
        shown = page.get("/api/cells", params={"queue": "audit", "class": "all", "show": "all"}).json()["cells"]
        assert [[one["name"], names[one["class"]]] for one in shown] == lines


def test_where_nothing_is_suggested_there_is_nothing_to_order(
    served: Serve, tmp_path: Path, fitted_run: RunFolder, color_images: Data
) -> None:
    source = tmp_path / "doubtful.csv"
    source.write_text(
        "image,class,state,probability,rule\n01.png,red,present,0.9,doubtful\n30.png,red,present,0.8,doubtful\n"
    )
    server = served(source, color_images[0], run=fitted_run.path, learn_every=1)
    with server.client() as page:
        assert _queues(page) == ["doubtful"]
        _judge(page, {_order(page, "doubtful")[0]: "present"})
        time.sleep(1)
        told = _changes(page)
        assert (told["revision"], told["learning"], told["announcements"]) == (1, None, [])
    assert "does not learn" not in server.interrupt()


def test_suggestions_are_ordered_by_what_was_learned(
    served: Serve, tmp_path: Path, fitted_run: RunFolder, color_images: Data, partial_labels: LabelTable
) -> None:
    unknown = [(image, name) for image in partial_labels.images[24:] for name in ("red", "blue")]
    source = tmp_path / "suggestions.csv"
    lines = [f"{image},{name},present,0.9,own" for image, name in unknown]
    source.write_text("\n".join(["image,class,state,probability,rule", *lines]) + "\n")
    server = served(source, color_images[0], run=fitted_run.path, learn_every=3)
    with server.client() as page:
        assert _queues(page) == ["probability", "unsure_first", "value"]
        before = _order(page, "probability")
        assert _order(page, "value") == _order(page, "unsure_first")
        _revision(page, 2)
        cells = page.get("/api/cells", params={"queue": "probability", "class": "all"}).json()["cells"]
        likely = [one["probability"] for one in cells]
        assert likely == sorted(likely, reverse=True)
        assert len(set(likely)) > 5
        assert sorted(_order(page, "probability")) == sorted(before)
        asked = _order(page, "value")
        assert set(asked) <= set(before)
        _judge(page, dict.fromkeys(asked[:3], "absent"))
        _revision(page, 3)
        assert not set(asked[:3]) & set(_order(page, "value", "all"))
        assert set(asked[:3]) < set(_order(page, "probability", "all"))


def test_a_method_of_steps_is_told_of_and_the_page_works(
    served: Serve, table: Path, stepped_run: RunFolder, color_images: Data
) -> None:
    server = served(table, color_images[0], run=stepped_run.path, learn_every=1)
    with server.client() as page:
        assert _queues(page) == ["images"]
        assert page.get("/api/session").json()["has_evidence"]
        _judge(page, dict.fromkeys(_order(page, "images")[:3], "absent"))
        told = _changes(page)
        assert (told["revision"], told["learning"], told["announcements"]) == (1, None, [])
    said = server.interrupt()
    assert server.process.returncode == 0
    assert "does not learn from verdicts" in said
    assert "--method discriminant --freeze" in said


def test_ctrl_c_while_it_learns_keeps_everything(
    served: Serve, table: Path, fitted_run: RunFolder, color_images: Data
) -> None:
    server = served(table, color_images[0], run=fitted_run.path, learn_every=2)
    with server.client() as page:
        judged = _order(page, "images")[:3]
        _queues(page)
        _until(page, lambda told: told["learning"] is not None)
        _judge(page, dict.fromkeys(judged, "present"))
        server.process.send_signal(signal.SIGINT)
        server.process.wait(120)  # at the longest until torch is imported
    said = server.interrupt()
    assert server.process.returncode == 0, said
    assert "3 verdicts in" in said
    assert "Traceback" not in said
    assert len(server.journal.read_text().splitlines()) == 4
    again = served(table, color_images[0], run=fitted_run.path, learn_every=2)
    with again.client() as page:
        assert sorted(_order(page, "images", "present")) == sorted(judged)
        _queues(page)
        told = _revision(page, 2)
        assert _texts(told) == ["The model has learned from 3 verdicts: press r for the better order."]


@pytest.mark.parametrize("broken", ["model/model.json", "labels.parquet", "everything"])
def test_a_run_that_breaks_is_announced_and_the_page_works(
    served: Serve, tmp_path: Path, table: Path, fitted_run: RunFolder, color_images: Data, broken: str
) -> None:
    run = tmp_path / "run"
    shutil.copytree(fitted_run.path, run)
    server = served(table, color_images[0], run=run, learn_every=1)
    if broken == "everything":
        shutil.rmtree(run)
    else:
        (run / broken).unlink()
    with server.client() as page:
        _queues(page)
        told = _until(page, lambda told: bool(told["announcements"]))
        (text,) = _texts(told)
        assert text.startswith("The model cannot learn, and the order stays as it is: ")
        assert (Path(broken).name if broken != "everything" else str(run)) in text
        first = _order(page, "value")[:3]
        _judge(page, dict.fromkeys(first, "present"))
        time.sleep(1)
        told = _changes(page)
        assert (told["revision"], told["learning"]) == (1, None)
        assert told["announcements"] == [{"id": 1, "text": text}]  # once: it is not tried again
        assert sorted(_order(page, "value", "present")) == sorted(first)
    said = server.interrupt()
    assert server.process.returncode == 0
    assert "Traceback" not in said
    assert [json.loads(line)["verdict"] for line in server.journal.read_text().splitlines()[1:]] == ["present"] * 3


def test_a_number_of_verdicts_below_none_is_refused(table: Path, photos: Path) -> None:
    with pytest.raises(UsageError, match="learn_every -1 is below 0"):
        partlabel.review(table, images=photos, learn_every=-1)


class Endless(Pupil):
    """Learns until its reporter ends it."""

    def learn(self, verdicts: Mapping[int, int], reporter: Reporter) -> Learned:
        """Tell of steps for ever."""
        with reporter.track("reading images") as tick:
            while True:
                tick(1200, 3400)
                time.sleep(0.01)


def test_what_learns_ends_with_the_review(tmp_path: Path, table: Path, fitted_run: RunFolder, photos: Path) -> None:
    subject, _ = open_subject(table, None, photos, SILENT, {})
    before = set(threading.enumerate())
    with Journal(tmp_path / "journal", subject) as journal:
        session = Session(subject, journal, "me", learns=True)
        learning = Learning(Endless(fitted_run.path, photos, subject), session)

        async def some_time() -> None:
            learning.look()
            learning.look()  # one fit at a time
            while session.summary()["learning"] != "reading images, 1,200 of 3,400":
                await asyncio.sleep(0.01)
            learning.close()
            while session.learning is not None:
                await asyncio.sleep(0.01)

        asyncio.run(asyncio.wait_for(some_time(), 60))
        assert (session.revision, session.changes(0, "other")["announcements"]) == (1, [])
    for thread in set(threading.enumerate()) - before:
        thread.join(60)
        assert not thread.is_alive()
    with pytest.raises(Interrupted), learning._progress.track("fitting") as tick:
        tick(0, 1)
