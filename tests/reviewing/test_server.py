"""The server over real HTTP: what it says of cells, two people at once, kills between requests."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Timer
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.slow  # servers of their own

Serve = Callable[..., Any]


@pytest.fixture
def page(served: Serve, suggestions: Path, photos: Path) -> Iterator[httpx.Client]:
    with served(suggestions, photos, who="Ann").client() as client:
        yield client


@pytest.fixture(scope="module")
def reading(served_once: Serve, shared_suggestions: Path, photos: Path) -> Iterator[httpx.Client]:
    """For tests that change nothing."""
    with served_once(shared_suggestions, photos, who="Ann").client() as client:
        yield client


def post(page: httpx.Client, verdicts: dict[int, str], client: str = "tab", **more: Any) -> Any:
    sent = [
        {"cell": cell, "verdict": verdict, "seen": None, "force": False} | more for cell, verdict in verdicts.items()
    ]
    answer = page.post("/api/verdicts", json={"client": client, "verdicts": sent})
    assert answer.status_code == 200, answer.text
    return answer.json()


def get(page: httpx.Client, path: str, **parameters: Any) -> Any:
    answer = page.get(path, params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_session(reading: httpx.Client) -> None:
    session = get(reading, "/api/session")
    assert session["title"] == "suggestions.csv"
    assert (session["who"], session["images"], session["cells"], session["seq"]) == ("Ann", 12, 24, 0)
    assert session["classes"][0] == {
        "id": 0, "name": "sea", "cells": 8, "open": 8, "present": 0, "absent": 0, "unsure": 0, "implied": 0,
    }  # fmt: skip
    assert [queue["id"] for queue in session["queues"]] == ["probability", "unsure_first"]
    assert session["has_suggestions"]
    assert not session["has_evidence"]
    assert session["progress"] is None


def test_cells_in_the_order_of_their_queue(reading: httpx.Client) -> None:
    first = get(reading, "/api/cells", queue="probability", limit=10)
    rest = get(reading, "/api/cells", queue="probability", offset=10)
    cells = first["cells"] + rest["cells"]
    assert (first["total"], len(first["cells"]), len(cells)) == (24, 10, 24)
    probabilities = [cell["probability"] for cell in cells]
    assert probabilities == sorted(probabilities, reverse=True)
    assert cells[0] == {
        "cell": 0, "image": 0, "class": 0, "name": "00.png", "kind": "suggested", "suggests": "present",
        "known": "unknown", "probability": 0.99, "verdict": None, "seq": None,
    }  # fmt: skip
    order = get(reading, "/api/order", queue="probability")
    assert order["cells"] == [cell["cell"] for cell in cells]
    assert get(reading, "/api/cells", ids="5,0,999999999,2")["cells"] == [
        next(cell for cell in cells if cell["cell"] == 5),
        cells[0],
        {
            "cell": 2, "image": 0, "class": 2, "name": "00.png", "kind": "unlabelled", "suggests": None,
            "known": "unknown", "probability": None, "verdict": None, "seq": None,
        },
    ]  # fmt: skip
    unsure = get(reading, "/api/order", queue="unsure_first")
    assert unsure["cells"] == order["cells"][::-1]


def test_filters(page: httpx.Client) -> None:
    everything = get(page, "/api/order")["cells"]
    post(page, {everything[0]: "present", everything[1]: "absent", everything[2]: "unsure"})
    assert get(page, "/api/order", show="open")["cells"] == everything[3:]
    assert get(page, "/api/order", show="all")["cells"] == everything
    for place, show in enumerate(("present", "absent", "unsure")):
        assert get(page, "/api/order", show=show)["cells"] == [everything[place]]
    assert {cell % 3 for cell in get(page, "/api/order", **{"class": 1})["cells"]} == {1}
    found = get(page, "/api/cells", search="1.PN", show="all")
    assert {cell["name"] for cell in found["cells"]} == {"01.png", "11.png"}
    assert get(page, "/api/images", search="03")["images"][0]["name"] == "03.png"
    counts = get(page, "/api/session")["classes"]
    assert sum(one["open"] for one in counts) == 21
    assert [sum(one[name] for one in counts) for name in ("present", "absent", "unsure")] == [1, 1, 1]


WRONG: tuple[tuple[str, dict[str, str], int], ...] = (
    ("/api/cells", {"queue": "nothing"}, 400),
    ("/api/cells", {"class": "3"}, 400),
    ("/api/cells", {"class": "-1"}, 400),
    ("/api/cells", {"show": "none"}, 400),
    ("/api/cells", {"offset": "9" * 30}, 400),
    ("/api/cells", {"ids": "1,x"}, 400),
    ("/api/cells", {"ids": ",".join(["1"] * 2_001)}, 400),
    ("/api/changes", {"after": "now"}, 400),
    ("/api/image/12", {}, 404),
    ("/api/image/٣", {}, 404),
    ("/thumb/99", {}, 404),
    ("/thumb/1", {"size": "161"}, 400),
    ("/image/-1", {}, 404),
    ("/evidence/1/1", {}, 404),
    ("/nothing", {}, 404),
    ("/static/nothing.js", {}, 404),
    ("/api/session/", {}, 404),
)


def test_what_is_wrong_is_said_in_json(reading: httpx.Client) -> None:
    for path, parameters, status in WRONG:
        answer = reading.get(path, params=parameters)
        assert answer.status_code == status, (path, answer.text)
        assert answer.json()["error"]


WRONG_BODIES = (
    b"",
    b"{",
    b"[]",
    b'{"client": "a"}',
    b'{"client": "", "verdicts": []}',
    b'{"client": "a", "verdicts": [{"cell": 0}]}',
    b'{"client": "a", "verdicts": [{"cell": 0.5, "verdict": "present"}]}',
    b'{"client": "a", "verdicts": [{"cell": "0", "verdict": "present"}]}',
    b'{"client": "a", "verdicts": [{"cell": 36, "verdict": "present"}]}',
    b'{"client": "a", "verdicts": [{"cell": 99999999999999999999999, "verdict": "present"}]}',
    b'{"client": "a", "verdicts": [{"cell": 0, "verdict": "maybe"}]}',
    b'{"client": "a", "verdicts": [{"cell": 0, "verdict": "present"}, {"cell": 0, "verdict": "absent"}]}',
    b'{"client": "\\udc80", "verdicts": []}',
    b"[" * 100_000,
)


def test_a_wrong_body_changes_nothing(reading: httpx.Client) -> None:
    for body in WRONG_BODIES:
        answer = reading.post("/api/verdicts", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 400, (body, answer.text)
        assert answer.json()["error"]
    assert get(reading, "/api/session")["seq"] == 0


def test_two_thousand_verdicts_at_once_and_no_more(served: Serve, tmp_path: Path, photos: Path) -> None:
    (tmp_path / "classes.txt").write_text("\n".join(f"class {number}" for number in range(400)))
    with served(tmp_path / "classes.txt", photos).client() as page:
        assert len(post(page, dict.fromkeys(range(2_000), "absent"))["accepted"]) == 2_000
        sent = [{"cell": cell, "verdict": "absent"} for cell in range(2_001)]
        assert page.post("/api/verdicts", json={"client": "a", "verdicts": sent}).status_code == 400
        assert get(page, "/api/session")["seq"] == 2_000


def test_two_people_at_once(served: Serve, suggestions: Path, photos: Path) -> None:
    server = served(suggestions, photos)
    with server.client() as ann, server.client() as bob:
        assert post(ann, {0: "present", 1: "absent"}, "ann")["conflicts"] == []
        told = post(bob, {0: "absent", 5: "present"}, "bob")
        assert told["accepted"] == [{"cell": 5, "verdict": "present", "seq": 3}]
        assert [(one["cell"], one["verdict"], one["seq"]) for one in told["conflicts"]] == [(0, "present", 1)]
        assert set(told["conflicts"][0]) == {"cell", "verdict", "seq", "who", "when"}
        changes = get(bob, "/api/changes", after=0, client="bob")
        assert [(one["cell"], one["verdict"]) for one in changes["changes"]] == [(0, "present"), (1, "absent")]
        assert changes["seq"] == 3
        assert get(bob, "/api/changes", after=3, client="bob")["changes"] == []
        assert post(bob, {0: "absent"}, "bob", seen=1)["conflicts"] == []
        assert post(ann, {0: "unsure"}, "ann", seen=1)["conflicts"][0]["verdict"] == "absent"
        assert post(ann, {0: "unsure"}, "ann", force=True)["conflicts"] == []
        (cleared,) = post(ann, {5: "none"}, "ann", seen=3)["accepted"]
        assert cleared == {"cell": 5, "verdict": None, "seq": 6}
        assert get(bob, "/api/changes", after=5, client="bob")["changes"][0]["verdict"] is None


def test_a_page_of_another_review_cannot_write(served: Serve, suggestions: Path, photos: Path) -> None:
    first = served(suggestions, photos)
    with first.client() as page:
        subject = get(page, "/api/session")["subject"]
        assert post(page, {0: "present"}, subject=None)["seq"] == 1
    first.kill()
    same = served(suggestions, photos, port=first.port)
    with same.client() as page:
        assert get(page, "/api/session")["subject"] == subject
        body = {"client": "tab", "verdicts": [{"cell": 1, "verdict": "present"}], "subject": subject}
        assert page.post("/api/verdicts", json=body).status_code == 200
        assert get(page, "/api/changes", after=0, client="x", subject=subject)["seq"] == 2
    same.kill()
    suggestions.write_text(suggestions.read_text().replace("00.png", "new.png"))
    other = served(suggestions, photos, port=first.port, journal=suggestions.with_name("other.jsonl"))
    with other.client() as page:
        answer = page.post("/api/verdicts", json=body)
        assert answer.status_code == 409
        assert "another review" in answer.json()["error"]
        assert page.get("/api/changes", params={"subject": subject}).status_code == 409
        assert get(page, "/api/session")["seq"] == 0


@pytest.mark.slow
def test_many_tabs_write_whole_lines(served: Serve, tmp_path: Path, photos: Path) -> None:
    (tmp_path / "classes.txt").write_text("\n".join(f"class {number}" for number in range(50)))
    server = served(tmp_path / "classes.txt", photos)
    with server.client() as page, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda cell: post(page, {cell: "present"}, f"tab {cell % 8}"), range(200)))
        assert get(page, "/api/session")["seq"] == 200
    lines = server.journal.read_text().splitlines()
    assert sorted(line.partition(",")[0] for line in lines[1:]) == sorted(f'{{"n":{n}' for n in range(1, 201))


@pytest.mark.slow
def test_kills_between_requests_lose_nothing(served: Serve, suggestions: Path, photos: Path) -> None:
    answered: dict[int, str] = {}
    cells = [cell for cell in range(36) if (cell // 3 + (cell % 3 + 1) % 3) % 3][:6]
    for start in range(3):
        server = served(suggestions, photos)
        with server.client() as page:
            known = {
                one["cell"]: one["verdict"]
                for one in get(page, "/api/cells", ids=",".join(map(str, range(36))))["cells"]
            }
            assert {cell: verdict for cell, verdict in known.items() if verdict} == answered
            assert get(page, "/api/session")["seq"] == len(answered)
            for cell, verdict in zip(cells[2 * start : 2 * start + 2], ("present", "unsure"), strict=True):
                post(page, {cell: verdict})
                answered[cell] = verdict
            server.kill()
    assert len(answered) == 6


@pytest.mark.slow
def test_kills_at_any_moment_keep_what_was_answered(served: Serve, tmp_path: Path, photos: Path) -> None:
    (tmp_path / "classes.txt").write_text("\n".join(f"class {number}" for number in range(1_000)))
    answered: dict[int, str] = {}
    random = np.random.default_rng(0)
    for start in range(4):
        server = served(tmp_path / "classes.txt", photos)
        with server.client() as page:
            kept = dict.fromkeys(get(page, "/api/order", show="present")["cells"], "present")
            kept |= dict.fromkeys(get(page, "/api/order", show="absent")["cells"], "absent")
            assert answered.items() <= kept.items()
            assert len(kept) <= len(answered) + 50  # a request that was written, and killed before its answer
            answered = kept
            killing = Timer(random.uniform(0.1, 0.6), server.kill)
            killing.start()
            with suppress(httpx.TransportError):
                for first in range(3_000 * start, 3_000 * start + 3_000, 50):
                    verdicts = {cell: ("present", "absent")[cell % 2] for cell in range(first, first + 50)}
                    post(page, verdicts)
                    answered |= verdicts
            killing.join()
    assert len(answered) > 100


def test_a_kill_within_a_line(served: Serve, suggestions: Path, photos: Path) -> None:
    server = served(suggestions, photos)
    with server.client() as page:
        post(page, {0: "present"})
        post(page, {1: "present"})
    server.kill()
    server.journal.write_bytes(server.journal.read_bytes()[:-30])
    again = served(suggestions, photos)
    with again.client() as page:
        assert get(page, "/api/session")["seq"] == 1
        assert post(page, {1: "absent"})["seq"] == 2
    said = again.interrupt()
    assert "killed while writing" in said
    assert f"{server.journal}.torn" in said


def test_labelling_from_nothing(served: Serve, tmp_path: Path, photos: Path) -> None:
    (tmp_path / "classes.txt").write_text("sky\n\n  sea  \nsky\n", encoding="utf-8-sig")
    with served(tmp_path / "classes.txt", photos).client() as page:
        session = get(page, "/api/session")
        assert (session["images"], session["cells"], session["has_suggestions"]) == (12, 24, False)
        assert [one["name"] for one in session["classes"]] == ["sky", "sea"]
        assert [queue["id"] for queue in session["queues"]] == ["images"]
        assert get(page, "/api/order")["cells"] == list(range(24))
        post(page, {3: "present", 4: "absent"})
        assert get(page, "/api/order")["cells"] == [cell for cell in range(24) if cell not in {3, 4}]
        assert get(page, "/api/order", show="present")["cells"] == [3]
        assert get(page, "/api/order", **{"class": 1})["cells"] == [cell for cell in range(1, 24, 2) if cell != 3]
        assert [one["open"] for one in get(page, "/api/images")["images"]][:4] == [2, 1, 1, 2]
        assert get(page, "/api/order", search="01")["cells"] == [2]


def test_a_table_has_its_unknown_cells_asked(served: Serve, tmp_path: Path, photos: Path) -> None:
    (tmp_path / "labels.csv").write_text("image,sky,sea\n00.png,1,\n01.png,,0\n02.png,1,0\n")
    codes = "1=present,0=absent,=unknown"
    with served(tmp_path / "labels.csv", photos, codes=codes).client() as page:
        assert get(page, "/api/order", show="all")["cells"] == [1, 2]
        image = get(page, "/api/image/0")
        assert (image["width"], image["height"], image["complete"]) == (64, 48, True)
        assert [(one["known"], one["kind"]) for one in image["cells"]] == [
            ("present", "unlabelled"),
            ("unknown", "unlabelled"),
        ]
        assert get(page, "/api/images")["images"][2]["known_present"] == [0]


def test_cells_that_a_table_knows_are_not_asked_again(served: Serve, suggestions: Path, photos: Path) -> None:
    table = suggestions.with_name("table.csv")
    table.write_text("image,class,state\n00.png,sea,present\n00.png,boat,absent\n00.png,hill,present\n")
    lines = suggestions.read_text().splitlines()
    lines = [f"{line},note {place}" for place, line in enumerate(lines)]
    lines[0] = "image,class,state,source,probability,logit,rule,note"
    fields = lines[2].split(",")  # of 00.png and boat
    lines[2] = ",".join([*fields[:2], "absent", fields[3], "0.9", fields[5], "doubtful", "note"])
    suggestions.write_text("\n".join(lines) + "\n")
    server = served(suggestions, photos, table=table)
    with server.client() as page:
        session = get(page, "/api/session")
        assert session["cells"] == 23
        assert [queue["id"] for queue in session["queues"]] == ["probability", "unsure_first", "doubtful"]
        (doubtful,) = get(page, "/api/cells", queue="doubtful")["cells"]
        assert (doubtful["known"], doubtful["suggests"], doubtful["kind"]) == ("absent", "present", "doubtful")
        assert doubtful["probability"] == 0.9
        assert {one["name"] for one in session["classes"]} == {"sea", "boat", "hill", "sky"}
    assert "1 suggestion of" in server.interrupt()


def test_many_classes_show_what_somebody_said_something_about(served: Serve, tmp_path: Path, photos: Path) -> None:
    (tmp_path / "classes.txt").write_text("\n".join(f"class {number}" for number in range(400)))
    with served(tmp_path / "classes.txt", photos).client() as page:
        post(page, {401: "present", 799: "unsure"})
        image = get(page, "/api/image/1")
        assert not image["complete"]
        assert [one["cell"] for one in image["cells"]] == [401, 799]


HOSTILE = (
    "<img src=x onerror=alert(1)>.png",
    "a\"b'c`${1}&amp;.png",
    "\u202egnp.exe.png",
    "שלום עולם.png",
    "tab\tand\x1b[31mred\x7f.png",
    "line\nend.png",
    "e\u0301 \U0001f600.png",
    "x" * 200 + ".png",
    "%2e%2e%2f.png",
    "=cmd|' C calc'!A0.png",
)


def test_names_of_any_kind(served: Serve, tmp_path: Path) -> None:
    root = tmp_path / "pictures"
    root.mkdir()
    for name in HOSTILE:
        Image.new("RGB", (20, 10), "red").save(root / name)
    classes = [name.replace("\n", " ").removesuffix(".png") + " class" for name in HOSTILE]
    (tmp_path / "classes.txt").write_text("\n".join(classes), encoding="utf-8")
    server = served(tmp_path / "classes.txt", root)
    with server.client() as page:
        session = page.get("/api/session")
        assert [one["name"] for one in session.json()["classes"]] == classes
        images = page.get("/api/images")
        assert sorted(one["name"] for one in images.json()["images"]) == sorted(HOSTILE)
        for answer in (session, images):
            assert answer.headers["content-type"] == "application/json"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert not set("<>&") & set(answer.text)
            assert answer.text.isascii()
        for number in range(len(HOSTILE)):
            assert page.get(f"/thumb/{number}").headers["etag"]
            assert get(page, f"/api/image/{number}")["width"] == 20
        post(page, dict.fromkeys(range(100), "present"))
    server.kill()
    with served(tmp_path / "classes.txt", root).client() as page:
        assert sum(one["present"] for one in get(page, "/api/session")["classes"]) == 100
