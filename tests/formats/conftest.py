"""The programs that written files are meant for, each in an environment of its own beside the project's."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import strategies as st

from partlabel.formats import Suggested, Suggestion
from partlabel.labels import LabelTable, Source
from partlabel.names import not_a_name

collect_ignore_glob = ["consumers/*"]
_ROOT = Path(__file__).parents[2]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that start another program are slow."""
    for item in items:
        if "consumer" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def consumer() -> Callable[..., Any]:
    """Runs a script of `tests/formats/consumers` where the other programs are installed (`make .venv-consumers`).

    It gets paths and texts as arguments and prints JSON on its last line, which is the answer. Their dependencies clash
    with the project's, and so they are not in its environment; PARTLABEL_CONSUMERS names another Python that has them.
    """
    python = Path(os.environ.get("PARTLABEL_CONSUMERS", _ROOT / ".venv-consumers" / "bin" / "python"))
    if not python.exists():
        pytest.skip("the programs that files are written for are not installed: make .venv-consumers/installed")

    def run(script: str, *arguments: str | Path) -> Any:
        command = [str(python), str(_ROOT / "tests" / "formats" / "consumers" / script), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        return json.loads(done.stdout.strip().splitlines()[-1])

    return run


class Told(NamedTuple):
    """What an annotation tool is told."""

    table: LabelTable
    suggested: Suggested


@pytest.fixture
def told() -> Told:
    """Labels of every kind, two suggestions, and names that XML and JSON have to quote."""
    images, classes = ["a.jpg", "sub dir/b&c.jpg", "nothing.jpg"], ["unused", 'a "quoted" <b>', "dog"]
    sources = [Source.IMPORT, Source.IMPORT, Source.IMPORT, Source.UNSURE]
    table = LabelTable.from_cells(images, classes, [0, 0, 1, 1], [2, 1, 2, 0], [1, -1, -1, 0], sources)
    suggested = [Suggestion("a.jpg", "unused", 0.1), Suggestion("sub dir/b&c.jpg", 'a "quoted" <b>', 0.97)]
    return Told(table, Suggested.of(suggested))


PLAIN = (
    st.text("abcdefg xyz_-0123456789éÖ猫", min_size=1, max_size=12)
    .map(str.strip)
    .filter(lambda name: name.strip("-_ ") != "" and not_a_name(name) is None and not name.startswith("-"))
)
ODD = st.text(
    st.sampled_from("ab,;|\"' \n\r\t\\*=#é猫\u2028\u00a0/<>&") | st.characters(exclude_categories=["Cs"]),
    min_size=1,
    max_size=6,
).filter(lambda name: not_a_name(name) is None)


@st.composite
def _tables(draw: st.DrawFn, odd_names: bool) -> LabelTable:
    images = draw(st.lists(ODD if odd_names else PLAIN.map("{}.jpg".format), unique=True, min_size=1, max_size=4))
    classes = draw(st.lists(ODD if odd_names else PLAIN, unique=True, min_size=1, max_size=4))
    keys = draw(st.lists(st.integers(0, len(images) * len(classes) - 1), unique=True))
    rows, columns = np.divmod(np.array(keys, np.int64), len(classes))
    states = [draw(st.sampled_from([-1, 0, 1])) for _ in keys]
    sources = [
        draw(st.sampled_from([one for one in Source if one is not Source.UNSURE or not state])) for state in states
    ]
    background = [draw(st.sampled_from([-1, 0])) for _ in classes]
    return LabelTable.from_cells(images, classes, rows, columns, states, sources or Source.IMPORT, background)


@pytest.fixture(scope="session")
def label_tables() -> Callable[..., st.SearchStrategy[LabelTable]]:
    """Small tables with all three states and both backgrounds; their names are such as people give, or any text."""
    return lambda *, odd_names: _tables(odd_names)
