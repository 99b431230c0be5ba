"""One cell of a grid: which training it is, and the record of how it went."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from partlabel.grids.grid import slug

Record = dict[str, Any]
"""Content of cell.json. `key` says what was asked for; `status` is "started", "done", "failed" (`error` says why) or
"misfit": the method cannot learn from these labels (`error` says why, `lacking` which known cells the labels lack, if
they do).
"""


class Cell(NamedTuple):
    """A training of the grid by its labels."""

    data: str
    masking: str
    method: str
    seed: int

    def __str__(self) -> str:
        return f"{self.data} / {self.masking} / {self.method} / seed {self.seed}"

    @property
    def slug(self) -> str:
        """Its name as a folder."""
        return "--".join((*map(slug, self[:3]), f"seed{self.seed}"))


def digest(value: Mapping[str, Any]) -> str:
    """What identifies JSON-able facts: a hash that does not depend on the order of keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False, default=str).encode()).hexdigest()


def read_record(path: Path) -> Record:
    """The record of a cell; an empty one where there is none that can be read."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}
