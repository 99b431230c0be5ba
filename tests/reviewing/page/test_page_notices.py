"""What the server may say while one works: progress, notices, a newer order; and where the model sees a class."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

pytestmark = pytest.mark.slow


def test_notices_change_nothing_on_the_screen(served: Any, visit: Any, suggestions: Path, photos: Path) -> None:
    window = visit(served(suggestions, photos).url)
    page = window.page
    assert not page.is_visible("#session-progress")
    said = {"text": "Audit: 12 of 60 judged; precision at least 0.81", "judged": 12, "needed": 60}
    told = [{"id": 1, "text": "Class sea is settled"}]

    def answer(route: Any) -> None:
        got = route.fetch().json()
        route.fulfill(json={**got, "revision": 99, "progress": said, "announcements": told})

    page.route("**/api/changes*", answer)
    before = [window.tile(index).get_attribute("aria-label") for index in range(6)]
    page.wait_for_selector('#refresh.newer:has-text("Better order")')
    assert "12 of 60" in page.inner_text("#session-progress")
    assert page.text_content("#toast") == "Class sea is settled"
    assert [window.tile(index).get_attribute("aria-label") for index in range(6)] == before
    page.wait_for_timeout(2200)
    assert page.text_content("#live") != ""
    page.unroute_all(behavior="wait")


def test_evidence_in_the_grid_and_in_the_single_image(served: Any, visit: Any, suggestions: Path, photos: Path) -> None:
    window = visit(served(suggestions, photos).url, tolerate=("404 (Not Found)",))
    page = window.page
    window.keys("e")
    assert "no evidence maps" in page.text_content("#toast")
    picture = io.BytesIO()
    Image.new("RGB", (64, 48), (200, 30, 30)).save(picture, "PNG")
    asked = []

    def evidence(route: Any) -> None:
        asked.append(route.request.url.rsplit("/evidence/", 1)[1])
        route.fulfill(body=picture.getvalue(), content_type="image/png")

    def session(route: Any) -> None:
        route.fulfill(body=json.dumps({**route.fetch().json(), "has_evidence": True}), content_type="application/json")

    page.route("**/evidence/**", evidence)
    page.route("**/api/session", session)
    page.reload()
    window.ready()
    page.click('#bar [data-action="evidence"]')
    page.wait_for_selector(".tile.active .evidence[src]")
    window.keys("ArrowRight")
    page.wait_for_selector("#tile-1 .evidence[src]")
    assert page.locator(".evidence[src]").count() == 1
    window.keys("i")
    page.wait_for_selector(".big-evidence[src]")
    window.keys("e")
    assert page.locator(".big-evidence[src]").count() == 0
    assert len(set(asked)) >= 2
    page.unroute_all(behavior="wait")


def test_doubtful_and_audited_cells_say_what_is_asked(served: Any, visit: Any, tmp_path: Path, photos: Path) -> None:
    source = tmp_path / "asked.csv"
    table = tmp_path / "known.csv"
    table.write_text("image,class,state\n01.png,sea,present\n02.png,sea,absent\n")
    source.write_text(
        "image,class,state,probability,rule\n"
        "00.png,sea,present,0.9,own\n"
        "01.png,sea,present,0.97,doubtful\n"
        "02.png,sea,absent,0.97,doubtful\n"
        "03.png,sea,unknown,0.4,audit\n"
    )
    window = visit(served(source, photos, table=table).url)
    page = window.page
    page.select_option("#queue", "doubtful")
    page.wait_for_selector('#tile-1:has-text("doubtful")')
    labels = sorted(str(window.tile(index).get_attribute("aria-label")) for index in range(2))
    assert labels[0] == "sea absent? 3.0 % present, known as present, doubtful, image 01.png, not judged"
    assert labels[1] == "sea? 97.0 %, known as absent, doubtful, image 02.png, not judged"
    page.select_option("#queue", "audit")
    page.wait_for_selector(
        '[aria-label="sea?, image 03.png, not judged"]'
    )  # what the model thinks would sway the judge
