from pathlib import Path

import pytest

from partlabel.datasets.catalogue import DATASETS

PAGE = (Path(__file__).parents[2] / "docs" / "datasets.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", DATASETS)
def test_the_page_has_every_data_set_with_its_counts(name: str) -> None:
    rows = [line for line in PAGE.splitlines() if f"`{name}`" in line and line.startswith("|")]
    assert rows
    for stated in DATASETS[name].published:
        assert f"{stated.images:,}" in rows[0]


def test_options_on_the_page_exist() -> None:
    known = {
        f"{option.name}={value}" for one in DATASETS.values() for option in one.options for value in option.meanings
    }
    free = {option.name for one in DATASETS.values() for option in one.options if not option.meanings}
    told = [part for quoted in PAGE.split("`")[1::2] for part in quoted.split(",") if "=" in part and " " not in part]
    assert len(told) > 15
    for part in told:
        assert part.strip('"') in known or part.partition("=")[0] in free | {"side", "option"}, part
