"""A real browser before a real server; every page is watched for errors and for requests that leave this machine."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-precise-memory-info",
    "--js-flags=--expose-gc",
]


@dataclass
class Window:
    """A page in a browser, and what went wrong on it."""

    page: Any
    problems: list[str] = field(default_factory=list)

    def keys(self, *keys: str) -> None:
        """Press keys, one after the other, as fast as can be, and wait until the page has drawn what they did."""
        for key in keys:
            self.page.keyboard.press(key)
        self.page.evaluate("() => new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)))")

    def saved(self) -> None:
        """Wait until all verdicts are acknowledged."""
        self.page.wait_for_selector('#save-state[data-state="saved"]')

    def tile(self, index: int) -> Any:
        """The tile at a place of the list."""
        return self.page.locator(f"#tile-{index}")

    def active(self) -> int:
        """Place of the tile with the focus."""
        return int(self.page.get_attribute("#scroller", "aria-activedescendant").removeprefix("tile-"))

    def choose(self, name: str) -> None:
        """Take a class, by its name, and wait for its first pictures."""
        self.page.locator(".class-line", has=self.page.locator(".name", has_text=name)).first.click()
        self.ready()

    def ready(self) -> None:
        """Wait until the pictures on the screen are there."""
        self.page.wait_for_selector(".tile.active.loaded[data-verdict], .tile.active.loaded[data-state=open]")


Open = Callable[..., Window]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """The browser; ended with the file, because the thread has its event loop until then."""
    api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("neither chromium nor google-chrome is installed")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Any) -> Iterator[Open]:
    """`visit(url)`: a window; `beside=` another one: a second tab of that browser; `like=` another one: a browser of
    its own with the same cookies. Problems fail the test at its end.

    `tolerate` is part of the console messages that may come, of requests that fail because the server is away.
    """
    windows: list[tuple[Window, tuple[str, ...]]] = []
    contexts: list[Any] = []

    def open_window(
        url: str,
        *,
        beside: Window | None = None,
        like: Window | None = None,
        tolerate: tuple[str, ...] = (),
        **options: Any,
    ) -> Window:
        if like is not None:
            options["storage_state"] = {"cookies": like.page.context.cookies(), "origins": []}
        if beside is None:
            context = chromium.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
            context.set_default_timeout(60_000)  # a bound that holds on a busy machine
            contexts.append(context)
        else:
            context = beside.page.context
        window = Window(context.new_page())
        _watch(window, url.split("/?", maxsplit=1)[0])
        windows.append((window, tolerate))
        window.page.goto(url)
        window.ready()
        return window

    yield open_window
    for context in contexts:
        context.close()
    for window, tolerate in windows:
        wrong = [problem for problem in window.problems if not any(part in problem for part in tolerate)]
        assert not wrong


def _watch(window: Window, base: str) -> None:
    page, problems = window.page, window.problems
    page.on("console", lambda said: problems.append(said.text) if said.type in {"error", "warning"} else None)
    page.on("pageerror", lambda error: problems.append(f"uncaught: {error}"))
    page.on("request", lambda asked: None if asked.url.startswith(base) else problems.append(f"leaves: {asked.url}"))

    def dialog(shown: Any) -> None:
        problems.append(f"dialog: {shown.message}")
        shown.accept()

    page.on("dialog", dialog)


@pytest.fixture(scope="session")
def verdicts_in() -> Callable[[Path], list[tuple[str, str, str]]]:
    """`verdicts_in(journal)`: (image, class, verdict) of every record, in order."""

    def read(journal: Path) -> list[tuple[str, str, str]]:
        lines = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
        return [(line["image"], line["class"], line["verdict"]) for line in lines if line.get("kind") == "verdict"]

    return read
