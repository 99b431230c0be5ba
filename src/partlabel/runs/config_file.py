"""Files of settings: TOML, YAML or JSON, of bounded size, depth and content.

They come from elsewhere too. A few hundred bytes of YAML whose aliases name each other, or brackets nested thousands
deep, would take minutes and gigabytes wherever the values are copied or printed.
"""

import json
import tomllib
from pathlib import Path
from typing import Any

from partlabel.errors import UsageError

MOST_BYTES = 1_000_000
MOST_VALUES = 20_000
DEEPEST = 40


def read_config(path: Path, what: str = "config file", suffix: str | None = None) -> dict[str, Any]:
    """The table of settings in a file; its suffix tells the language, JSON where it is neither TOML nor YAML.

    Args:
        path: the file.
        what: what to call it in errors.
        suffix: ".toml", ".yaml" or ".json", whatever the file is called.

    Raises:
        UsageError: it is missing, cannot be read, holds no table, or is larger than any table of settings.
    """
    if not path.is_file():
        raise UsageError(f"{what} {path} does not exist")
    try:
        content = _parsed(path, what, suffix or path.suffix)
    except UsageError:
        raise
    except RecursionError as error:
        raise UsageError(f"{what} {path} is nested too deep; no setting needs more than {DEEPEST} levels") from error
    except Exception as error:  # each parser has errors of its own, and YAML dates raise what they like
        raise UsageError(f"{what} {path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise UsageError(f"{what} {path} holds no table of settings")
    _check_extent(content, f"{what} {path}")
    return content


def _parsed(path: Path, what: str, suffix: str) -> Any:
    with path.open("rb") as stream:
        raw = stream.read(MOST_BYTES + 1)
    if len(raw) > MOST_BYTES:
        raise UsageError(f"{what} {path} has more than {MOST_BYTES:,} bytes, which no table of settings has")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{what} {path} is no UTF-8 text; save it as UTF-8") from error
    if suffix == ".toml":
        return tomllib.loads(text.replace("\r\n", "\n"))
    if suffix in {".yaml", ".yml"}:
        import yaml

        return yaml.safe_load(text)
    return json.loads(text)


def _check_extent(content: Any, where: str) -> None:
    """Count values as often as they are named: an alias costs a few bytes in the file and a copy everywhere else."""
    waiting, values = [(content, 1)], 0
    while waiting:
        value, depth = waiting.pop()
        values += 1
        if depth > DEEPEST:
            raise UsageError(f"{where} is nested too deep; no setting needs more than {DEEPEST} levels")
        if values > MOST_VALUES:
            raise UsageError(f"{where} holds more than {MOST_VALUES:,} values; write out what its aliases stand for")
        if isinstance(value, dict):
            waiting += [(part, depth + 1) for pair in value.items() for part in pair]
        elif isinstance(value, list | tuple | set):
            waiting += [(part, depth + 1) for part in value]
