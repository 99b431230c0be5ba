"""No verdict is lost: two windows on one cell, a server that is killed, a window that closes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

Read = Callable[[Path], list[tuple[str, str, str]]]
AWAY = ("net::ERR_", "401 (Unauthorized)", "Failed to load resource")


def test_two_windows_that_contradict_each_other_are_asked(
    served: Any, visit: Any, suggestions: Path, photos: Path, verdicts_in: Read
) -> None:
    server = served(suggestions, photos)
    one = visit(server.url)
    two = visit(server.base, beside=one)
    nothing = {"seq": 0, "changes": [], "revision": 1, "announcements": [], "progress": None}
    two.page.route("**/api/changes*", lambda route: route.fulfill(json=nothing))
    one.keys("p", "p", "p")
    one.saved()
    two.keys("a", "a", "p")  # before it hears of the others
    two.saved()
    two.page.unroute_all(behavior="wait")
    two.page.wait_for_selector('#conflicts-button:has-text("2 conflicts")')
    assert two.tile(0).get_attribute("data-state") == "conflict"
    assert two.tile(0).inner_text().splitlines() == ["you: absent", "another window: present"]
    assert two.tile(2).get_attribute("data-state") == "saved"
    assert len(verdicts_in(server.journal)) == 4  # the third agrees; those that contradict are not written
    two.page.click("#conflicts-button")
    two.page.wait_for_selector('#question:has-text("another window says present")')
    two.keys("t")
    assert two.tile(0).get_attribute("data-verdict") == "present"
    two.page.click("#conflicts-button")
    two.page.click('#question-actions button:has-text("Keep mine")')
    two.saved()
    two.page.wait_for_selector('#tile-1[data-verdict="absent"][data-state="saved"]')
    assert verdicts_in(server.journal)[-1][2] == "absent"
    assert not two.page.is_visible("#conflicts-button")
    one.page.wait_for_selector('#tile-1[data-state="conflict"]')  # heard by asking, in two seconds
    one.page.click("#conflicts-button")
    one.keys("a")  # any verdict on it settles it, too
    one.saved()
    one.page.wait_for_selector('#tile-1[data-verdict="absent"][data-state="saved"]')


def test_verdicts_of_others_show_up_where_one_has_none(
    served: Any, visit: Any, suggestions: Path, photos: Path
) -> None:
    server = served(suggestions, photos)
    one = visit(server.url)
    two = visit(server.base, beside=one)
    one.keys("ArrowRight", "ArrowRight")
    two.keys("p", "u")
    one.page.wait_for_selector('#tile-1[data-verdict="unsure"][data-state="saved"]')
    assert one.tile(0).get_attribute("data-verdict") == "present"
    assert one.active() == 2
    assert not one.page.is_visible("#conflicts-button")


def test_a_killed_server_costs_no_verdict(
    served: Any, visit: Any, suggestions: Path, photos: Path, verdicts_in: Read
) -> None:
    server = served(suggestions, photos)
    window = visit(server.url, tolerate=AWAY)
    window.keys("p", "p")
    window.saved()
    server.kill()
    window.keys("a", "a", "u")
    window.page.wait_for_selector('#banner:has-text("3 verdicts are not saved yet")')
    assert window.page.inner_text("#save-text") == "3 unsent"
    assert window.tile(2).get_attribute("data-state") == "pending"
    assert len(verdicts_in(server.journal)) == 2
    again = served(suggestions, photos, port=server.port)
    window.page.wait_for_selector('#banner:has-text("Open the address that it printed")')
    beside = visit(again.url, beside=window, tolerate=AWAY)  # its cookie serves both windows
    window.saved()
    assert [verdict for *_, verdict in verdicts_in(server.journal)] == [
        "present",
        "present",
        "absent",
        "absent",
        "unsure",
    ]
    window.page.wait_for_selector("#banner", state="hidden")
    beside.keys("r")
    beside.page.wait_for_selector('#scroller[aria-rowcount="1"] #tile-0[data-state="open"]')


def test_what_a_closed_window_could_not_send_is_sent_by_the_next_one(
    served: Any, visit: Any, suggestions: Path, photos: Path, verdicts_in: Read
) -> None:
    server = served(suggestions, photos)
    window = visit(server.url, tolerate=(*AWAY, "dialog: "))
    window.keys("p")
    window.saved()
    server.kill()
    window.keys("a", "u")
    window.page.wait_for_selector('#save-state[data-state="trouble"]')
    with window.page.expect_event("close"):
        window.page.close(run_before_unload=True)
    assert any(problem.startswith("dialog: ") for problem in window.problems)  # it warned
    again = served(suggestions, photos, port=server.port)
    following = visit(again.url, beside=window, tolerate=AWAY)
    following.saved()
    assert [verdict for *_, verdict in verdicts_in(server.journal)] == ["present", "absent", "unsure"]


def test_a_verdict_that_the_server_refuses_is_said_to_be_unsaved(
    served: Any, visit: Any, suggestions: Path, photos: Path, verdicts_in: Read
) -> None:
    server = served(suggestions, photos)
    window = visit(server.url, tolerate=("Failed to load resource",))

    def refuse(route: Any) -> None:
        if any(verdict["verdict"] == "unsure" for verdict in json.loads(route.request.post_data)["verdicts"]):
            route.fulfill(status=400, json={"error": "no verdict of that name; take another"})
        else:
            route.continue_()

    window.page.route("**/api/verdicts", refuse)
    window.keys("Shift+ArrowRight", "p", "u", "a")
    window.page.wait_for_selector('#save-state[data-state="failed"]')
    assert window.page.locator("#banner").inner_text().startswith("The server did not take 1 verdict")
    assert window.tile(2).get_attribute("data-state") == "failed"
    window.page.wait_for_selector('#tile-3[data-state="saved"]')
    assert [verdict for *_, verdict in verdicts_in(server.journal)] == ["present", "present", "absent"]


def test_a_window_of_another_review_writes_nothing(
    served: Any, visit: Any, suggestions: Path, photos: Path, tmp_path: Path, verdicts_in: Read
) -> None:
    server = served(suggestions, photos)
    window = visit(server.url, tolerate=(*AWAY, "409 (Conflict)"))
    server.kill()
    window.keys("p", "a")  # cells whose numbers mean others below
    window.page.wait_for_selector('#save-state[data-state="trouble"]')
    source = tmp_path / "other.csv"
    source.write_text("image,class,state,probability\n05.png,cloud,present,0.9\n06.png,storm,present,0.8\n")
    other = served(source, photos, port=server.port)
    beside = visit(other.url, beside=window, tolerate=AWAY)  # its cookie serves both windows
    window.page.wait_for_selector('#banner:has-text("Another review is running at this address now")')
    window.keys("u")
    window.page.wait_for_timeout(500)
    beside.keys("p")
    beside.saved()
    assert verdicts_in(other.journal) == [("05.png", "cloud", "present")]
    other.kill()
    again = served(suggestions, photos, port=server.port)
    back = visit(again.url, beside=window, tolerate=AWAY)
    window.page.click("#banner-button")
    for _ in range(100):
        if len(verdicts_in(server.journal)) == 3:
            break
        back.page.wait_for_timeout(100)
    assert sorted(verdict for *_, verdict in verdicts_in(server.journal)) == ["absent", "present", "unsure"]
