"""A better order comes while one judges: told, and taken only when one asks for it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from partlabel.formats import write_table
from partlabel.labels import LabelTable
from partlabel.runs.folder import RunFolder

pytestmark = pytest.mark.slow

Data = tuple[Path, LabelTable]
LONG = 240_000
"""Milliseconds that a first fit may take on a busy machine: torch is imported for it."""
NEWER = '#refresh.newer:has-text("Better order")'
TAKEN = '#refresh:not(.newer):has-text("Refresh")'
SHOWN = """() => [...document.querySelectorAll(".tile")]
    .filter((tile) => tile.checkVisibility())
    .map((tile) => ({
      place: tile.place,
      label: tile.getAttribute("aria-label"),
      picture: tile.querySelector("img").getAttribute("src"),
      top: tile.getBoundingClientRect().top,
      left: tile.getBoundingClientRect().left,
      active: tile.classList.contains("active"),
    }))
    .sort((one, other) => one.place - other.place)"""
SETTLED = """() => [...document.querySelectorAll(".tile")]
    .filter((tile) => tile.checkVisibility())
    .every((tile) => ["open", "saved"].includes(tile.dataset.state) && tile.classList.contains("loaded"))"""
LINES = """() => [...document.querySelectorAll(".label")].map((line) => ({
    text: line.querySelector(".name, .label-cell").textContent,
    verdict: line.dataset.verdict ?? null,
    top: line.getBoundingClientRect().top,
    active: line.classList.contains("active"),
  }))"""


class Gate:
    """Holds what the server says of a new order back until it is opened, so that one can look before."""

    def __init__(self, page: Any) -> None:
        self.page, self.revision, self.learned = page, 1, False
        self.told: list[Any] = []
        page.route("**/api/changes*", self._answer)

    def _answer(self, route: Any) -> None:
        got = route.fetch().json()
        if not self.learned:
            got |= {"revision": self.revision, "announcements": self.told}
        self.revision, self.told = got["revision"], got["announcements"]
        route.fulfill(json=got)

    def close(self) -> None:
        """From now on the page does not hear of another order."""
        self.revision = self.page.evaluate("async () => (await (await fetch('/api/session')).json()).revision")
        self.learned = False

    def open(self) -> None:
        """Until now it did not."""
        self.learned = True


def _order(page: Any, server_queue: str = "value", name: str = "all") -> list[int]:
    address = f"/api/order?queue={server_queue}&class={name}&show=open"
    return list(page.evaluate("async (address) => (await (await fetch(address)).json()).cells", address))


def _images_shown(page: Any) -> list[int]:
    """Numbers of the images on the screen, in the order of the tiles."""
    return [int(tile["picture"].split("/")[2].split("?")[0]) for tile in page.evaluate(SHOWN)]


@pytest.fixture
def learning(
    served: Any, visit: Any, tmp_path: Path, fitted_run: RunFolder, color_images: Data
) -> Iterator[tuple[Any, Gate]]:
    """A small window on 96 cells, after the model has looked at the pictures and the order was taken; and its gate."""
    source = tmp_path / "labels.parquet"
    truth = color_images[1]
    write_table(LabelTable.from_cells(truth.images, truth.classes, [], [], []), source)
    server = served(source, color_images[0], run=fitted_run.path, learn_every=3)
    window = visit(server.url, viewport={"width": 900, "height": 520})
    gate = Gate(window.page)
    gate.open()
    assert window.page.input_value("#queue") == "value"
    assert window.page.locator(".class-line[aria-selected=true]").get_attribute("data-id") == "all"
    window.page.wait_for_selector(NEWER, timeout=LONG)
    gate.close()
    window.keys("r")
    window.page.wait_for_selector(TAKEN)
    window.ready()
    yield window, gate
    window.page.unroute_all(behavior="wait")


def test_nothing_moves_in_the_grid_until_one_asks(learning: Any) -> None:
    window, gate = learning
    page = window.page
    first = _order(page)
    assert len(first) > 25
    window.keys(*["s"] * 17)
    assert window.active() == 17
    window.keys("p", "a", "u")
    window.saved()
    assert window.active() == 20
    page.wait_for_function(SETTLED)
    tiles, scrolled = page.evaluate(SHOWN), page.evaluate("document.getElementById('scroller').scrollTop")
    assert scrolled > 0
    assert [tile["place"] for tile in tiles if tile["active"]] == [20]
    assert page.locator("#refresh.newer").count() == 0
    page.evaluate("document.getElementById('toast').hidden = true")
    gate.open()
    page.wait_for_selector(NEWER, timeout=LONG)
    assert page.text_content("#toast") == "The model has learned from 3 verdicts: press r for the better order."
    assert page.is_visible("#toast")
    page.wait_for_timeout(2500)  # another look at what changed
    assert page.evaluate(SHOWN) == tiles
    assert window.active() == 20
    assert page.evaluate("document.getElementById('scroller').scrollTop") == scrolled

    window.keys("r")
    page.wait_for_selector(TAKEN)
    page.wait_for_function(SETTLED)
    assert window.active() == 0
    order = _order(page)
    assert order != [cell for cell in first if cell not in first[17:20]]
    assert not set(first[17:20]) & set(order)
    shown = _images_shown(page)
    assert shown == [cell // 3 for cell in order[: len(shown)]]


def test_nothing_moves_beside_a_single_image_until_one_asks(learning: Any) -> None:
    window, gate = learning
    page = window.page
    first = _order(page)
    window.keys("ArrowRight", "ArrowRight", "i")
    page.wait_for_selector(".stage.loaded .big")
    name = page.inner_text(".single-name")
    window.keys("ArrowUp", "ArrowUp", "p", "ArrowDown", "a", "ArrowDown", "u")
    window.saved()
    page.wait_for_timeout(500)
    lines, place = page.evaluate(LINES), page.inner_text("#single-view")
    assert [line["verdict"] for line in lines] == ["present", "absent", "unsure"]
    assert page.locator("#refresh.newer").count() == 0
    gate.open()
    page.wait_for_selector("#refresh.newer", state="attached", timeout=LONG)
    page.wait_for_timeout(2500)
    assert page.evaluate(LINES) == lines
    assert page.inner_text("#single-view") == place
    assert page.inner_text(".single-name") == name

    window.keys("r")
    page.wait_for_selector("#refresh:not(.newer)", state="attached")
    window.keys("g")
    page.wait_for_function(SETTLED)
    order, image = _order(page), first[2] // 3
    assert not {cell for cell in order if cell // 3 == image}
    shown = page.evaluate(SHOWN)
    start = shown[0]["place"]
    assert _images_shown(page) == [cell // 3 for cell in order[start : start + len(shown)]]
