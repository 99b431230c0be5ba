"""docs/formats.md says of every format what the code says of it."""

import re
from pathlib import Path

import pytest

from partlabel.formats import FORMATS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
ROWS = {
    match[1]: [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
    for line in PAGE.splitlines()
    if (match := re.match(r"\| `(\w+)` \|", line))
}
TABLES = {"one_hot_csv", "long", "tag_lists"}


def test_every_format_of_another_tool_has_a_row() -> None:
    assert ROWS.keys() == FORMATS.keys() - TABLES


@pytest.mark.parametrize("name", ROWS)
def test_the_row_is_true(name: str) -> None:
    _, _, written, states, opened, test = ROWS[name]
    assert written.startswith("no") != FORMATS[name].writes
    assert ("unsure" in states) == FORMATS[name].keeps_unsure
    path = ROOT / "tests" / "formats" / test.strip("`")
    assert path.is_file()
    source = path.read_text(encoding="utf-8")
    programs = re.findall(
        r"pycocotools|lvis|datumaro|datasets|fiftyone|pyexiv2|exiftool|label-studio-sdk|cvat-sdk", opened
    )
    for program in programs:
        assert program.replace("-", "_").removesuffix("_sdk") in source, program
