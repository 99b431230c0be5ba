"""Readable in both themes, usable on a phone, named for screen readers, and nothing moves by itself."""

import re
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

NAMELESS = """() => [...document.querySelectorAll('button, input, select, a[href], [role], [tabindex="0"]')]
  .filter((one) => !['presentation', 'row', 'alert'].includes(one.getAttribute('role')))
  .filter((one) => one.checkVisibility())
  .filter((one) => !(one.getAttribute('aria-label') || one.innerText || one.labels?.length && one.labels[0].innerText))
  .filter((one) => !one.querySelector('button'))
  .map((one) => one.outerHTML.slice(0, 200))"""

COLOURS = """() => {
  const ground = (one) => {
    for (let at = one; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (!/, 0\\)$/.test(colour) && colour !== 'transparent') return colour;
    }
    return 'rgb(255, 255, 255)';
  };
  const found = [];
  for (const one of document.querySelectorAll('body *')) {
    if (!one.checkVisibility() || one.closest(':disabled')) continue;
    if (![...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim())) continue;
    found.push([one.className.toString() + ' ' + one.innerText.slice(0, 20), getComputedStyle(one).color, ground(one)]);
  }
  return found;
}"""

SHIFTS = """() => {
  window.shifts = 0;
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifts += entry.value;
  }).observe({ type: 'layout-shift', buffered: true });
}"""


def _luminance(colour: str) -> float:
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _contrast(one: str, other: str) -> float:
    low, high = sorted([_luminance(one), _luminance(other)])
    return (high + 0.05) / (low + 0.05)


def test_text_has_contrast_in_both_themes(served: Any, visit: Any, suggestions: Path, photos: Path) -> None:
    server = served(suggestions, photos)
    light = visit(server.url, color_scheme="light")
    dark = visit(server.base, like=light, color_scheme="dark")
    for window in (light, dark):
        window.keys("p", "a", "u", "x", "ArrowRight", "Shift+ArrowRight")
        window.saved()
        checked = 0
        for key in ("Shift", "i", "?"):
            window.keys(key)
            window.page.wait_for_timeout(300)
            for what, text, ground in window.page.evaluate(COLOURS):
                assert _contrast(text, ground) >= 4.5, (what, text, ground)
                checked += 1
        assert checked > 100
    body = "getComputedStyle(document.body).backgroundColor"
    assert _luminance(dark.page.evaluate(body)) < 0.1
    assert _luminance(light.page.evaluate(body)) > 0.8


def test_names_theme_and_motion(served: Any, visit: Any, suggestions: Path, photos: Path) -> None:
    window = visit(served(suggestions, photos).url, color_scheme="light", reduced_motion="reduce")
    page = window.page
    assert page.evaluate(NAMELESS) == []
    assert page.get_attribute("#scroller", "role") == "grid"
    active = page.evaluate(
        "(() => { const id = document.activeElement.getAttribute('aria-activedescendant');"
        " const tile = document.getElementById(id); return [tile.role, tile.parentElement.role, tile.ariaSelected] })()"
    )
    assert active == ["gridcell", "row", "true"]
    window.keys("p")
    assert "present" in page.inner_text("#live")
    window.keys("i")
    page.wait_for_selector(".label")
    assert page.evaluate(NAMELESS) == []
    moving = (
        "[...document.querySelectorAll('*')].filter(one => parseFloat(getComputedStyle(one).transitionDuration) > 0)"
    )
    assert page.evaluate(f"{moving}.length") == 0
    window.saved()
    page.click("#theme-button")
    page.reload()
    window.ready()
    assert page.get_attribute("html", "data-theme") == "dark"  # chosen once, kept


def test_a_phone_has_no_sideways_scrolling_and_its_buttons_work(
    served: Any, visit: Any, suggestions: Path, photos: Path
) -> None:
    server = served(suggestions, photos)
    window = visit(server.url, viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    page = window.page

    def sideways() -> bool:
        return bool(
            page.evaluate(
                "document.documentElement.scrollWidth > 360 || document.querySelector('.main').scrollWidth > 360"
            )
        )

    assert not sideways()
    page.tap('#bar [data-action="absent"]')
    window.saved()
    assert window.tile(0).get_attribute("data-verdict") == "absent"
    page.tap("#filters-toggle")
    assert not sideways()
    page.tap("#filters-toggle")
    page.tap("#classes-toggle")
    page.tap("#class-2")
    page.wait_for_selector('#question:has-text("sky")')
    page.tap("#single-mode")
    page.wait_for_selector(".stage.loaded .big")
    assert not sideways()
    assert {"0px"} == set(
        page.evaluate(
            "[...document.querySelectorAll('#bar button')].map(b => `${Math.max(0, b.scrollWidth - b.clientWidth)}px`)"
        )
    )


def test_nothing_moves_by_itself(served: Any, visit: Any, suggestions: Path, photos: Path) -> None:
    server = served(suggestions, photos)
    window = visit(server.url, tolerate=("net::ERR_", "Failed to load"))
    other = visit(server.base, beside=window, tolerate=("net::ERR_", "Failed to load"))
    page = window.page
    page.evaluate(SHIFTS)
    where = [window.tile(index).bounding_box() for index in range(6)]
    other.keys("p", "p", "a", "Shift+Enter")
    page.wait_for_selector('#tile-2[data-verdict="absent"]')
    server.kill()
    page.wait_for_selector("#banner:visible")
    assert [window.tile(index).bounding_box() for index in range(6)] == where
    assert page.evaluate("window.shifts") < 0.01
