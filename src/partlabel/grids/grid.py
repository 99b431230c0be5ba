"""The grid file: what to compare, checked before anything is computed.

title = "Corel5k, frozen backbone"
seeds = [0, 1, 2]             # each seeds the masking, the held-out cells and the training
measures = ["mAP", "OF1"]     # of partlabel.grids.measures; these and CF1 if left out
top = 6                       # the first seed runs every row; the others only the best rows of each data and
                              # masking, by the mAP of held-out known cells on the first seed; without it every seed
                              # runs every row
curves = ["bce"]              # rows, at most 8, whose held-out mAP by epoch is drawn; see validate_every
keep_runs = false             # true keeps the weights of every run
log_test = false              # true draws test mAP by epoch too, to be looked at; nothing is chosen by it
log_truth = false             # true counts in each log what the method sets aside against the complete labels
recognised = { images = 6, top = 50 }   # draws which rows have each present label of the first 6 test images with one
                              # among the image's 50 highest predictions

baseline = "bce"              # a row: the differences of the others to it are tested over seeds

[data.corel5k]                # one or more; paths are relative to this file, ${NAME} is an environment variable
train = "train.csv"           # complete labels, of which the maskings hide some
test = "test.csv"
images = "${COREL5K}/images"
codes = "1=present,0=absent"  # like the other arguments of `partlabel.formats.read_table`
min_present = 50              # classes with at least so many known present training cells

[data.coco]                   # published data sets: `partlabel datasets` tells names and options
train = "coco2014:${COCO},split=train"
test = "coco2014:${COCO},split=val"

[data.scenes]                 # built-in data
builtin = "digit_scenes"
train = 2000

[masking.known10]             # one or more; a masking and its settings
name = "known_ratio"
ratio = 0.1

[settings]                    # of every training, as in `partlabel train`
freeze = true

[start.linear]                # rows that others begin from, which are trained but not in the table
method = "bce"

[method.bce]                  # one or more rows; settings of this row, `method` if its label is not the method's name
lr = [1e-3, 3e-3]             # a list is searched, on the first seed, by the mAP of held-out known cells

[method.interactive]
start = "linear"              # its weights are the first ones (`init`): of the same data, masking and seed; a row of
                              # [start] or [method]

[[override]]                  # any number; settings of the cells of some data sets, maskings and rows, later ones last
data = "corel5k"              # a name or a list of names; all where one of the three is left out
method = ["bce"]
settings = { epochs = 30 }

[published]                   # numbers of a paper that ours stand beside: the CSV is described in grids.published
file = "papers/csl.csv"
table = "3"
rows = { bce = "Partial BCE" }  # the paper's names, where they are others than here
data = { corel5k = "Corel5k" }
"""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from partlabel.errors import UsageError
from partlabel.grids.overrides import Override, changes, make_overrides
from partlabel.grids.published import Published, read_published
from partlabel.grids.schema import DigitScenes, GridFile, LabelFiles, Masking, Recognised
from partlabel.grids.small import small
from partlabel.masking import check_settings
from partlabel.methods.auto import AUTO
from partlabel.methods.base import MethodConfig
from partlabel.methods.build import method_class, method_config, setting_names
from partlabel.methods.catalogue import CATALOGUE, check_prior, check_start
from partlabel.methods.fitted import check_fitted
from partlabel.runs.config_file import read_config
from partlabel.runs.settings import TrainSettings, make_settings, of_steps_alone

_VARIABLE = re.compile(r"\$\{(\w+)\}")


@dataclass(frozen=True)
class Row:
    """A row of the table: a method with its settings.

    Args:
        label: its name in the table.
        settings: arguments of `train`, without seed, and without lr where that is searched.
        rates: learning rates to search; empty if the settings say it.
        written: the settings as written, variables not filled in and without lr, so that they are the same on any
            machine.
        holdout: share of the known cells or of the images that is held out.
        holdout_by: which of the two.
        refit: whether it trains once more on all known cells.
        start: the row whose weights it begins from, if any.
    """

    label: str
    settings: dict[str, Any]
    rates: tuple[float, ...]
    written: dict[str, Any]
    holdout: float
    holdout_by: str
    refit: bool
    start: str | None


@dataclass(frozen=True)
class Grid:
    """A checked grid; `starts` are the rows that others begin from and no table shows."""

    path: Path
    title: str
    seeds: tuple[int, ...]
    measures: tuple[str, ...]
    top: int | None
    curves: tuple[str, ...]
    keep_runs: bool
    log_truth: bool
    log_test: bool
    data: dict[str, LabelFiles | DigitScenes]
    maskings: dict[str, Masking]
    starts: dict[str, Row]
    rows: dict[str, Row]
    baseline: str | None = None
    overrides: tuple[Override, ...] = ()
    published: Published | None = None
    recognised: Recognised | None = None

    def row_of(self, data: str, masking: str, method: str) -> Row:
        """A row as it is trained on some labels."""
        row = self.row(method)
        idle = of_steps_alone if _is_fitted(str(row.settings["method"])) else None
        settings, written = changes(self.overrides, data, masking, method, idle)
        return replace(row, settings={**row.settings, **settings}, written={**row.written, **written})

    def row(self, label: str) -> Row:
        """A row by its name, in the table or not."""
        return self.rows[label] if label in self.rows else self.starts[label]


def read_grid(path: Path | str, *, tiny: bool = False, fill: bool = True) -> Grid:
    """Read and check a grid file.

    Args:
        path: the file.
        tiny: take the small grid that tries the file out (`partlabel.grids.small`).
        fill: fill variables in; without them nothing can be read or trained.

    Raises:
        UsageError: it cannot be read, or a key, setting or variable in it cannot be used; names file and key.
    """
    path = Path(path)
    written = read_config(path, "grid file", ".toml")
    if tiny:
        _checked(written, path)
        written = small(written)
    file = _checked(_filled(written, path) if fill else written, path)
    for kind, labels in (("data", [*file.data]), ("masking", [*file.masking]), ("method", [*file.start, *file.method])):
        _check_slugs(f"{path}: {kind}", labels)
    for label, masking in file.masking.items():
        if reserved := {"seed", "table", "masking", "out", "reporter", "read"} & set(masking.settings):
            raise UsageError(
                f"{path}: masking.{label}: {min(reserved)} is no setting of a masking; seeds come from `seeds`"
            )
        try:
            check_settings(masking.name, masking.settings)
        except UsageError as error:
            raise UsageError(f"{path}: masking.{label}: {error}") from error
    starts = {label: _row(label, "start", file, written, path) for label in file.start}
    rows = {label: _row(label, "method", file, written, path) for label in file.method}
    _check_choices(path, file, rows)
    _check_starts(path, {**starts, **rows})
    grid = Grid(
        path,
        file.title,
        file.seeds,
        file.measures,
        file.top,
        file.curves,
        file.keep_runs,
        file.log_truth,
        file.log_test,
        file.data,
        file.masking,
        starts,
        rows,
        file.baseline,
        recognised=file.recognised,
    )
    return _with_overrides(_with_published(grid, file), file, written)


def _checked(content: Mapping[str, Any], path: Path) -> GridFile:
    try:
        return GridFile.model_validate(content)
    except ValidationError as error:
        raise UsageError(f"{path}: {_sentence(error)}") from error


def _with_overrides(grid: Grid, file: GridFile, written: Mapping[str, Any]) -> Grid:
    """The grid with its overrides, each cell's settings checked."""
    if not file.override:
        return grid
    known = {"data": [*grid.data], "masking": [*grid.maskings], "method": [*grid.starts, *grid.rows]}
    try:
        found = replace(grid, overrides=make_overrides(file.override, written["override"], known))
        for data, masking, label in product(known["data"], known["masking"], known["method"]):
            row = found.row_of(data, masking, label)
            if row.rates and "lr" in row.settings:
                raise UsageError(f"override: lr of {label!r} is searched; leave it out, or give the row one lr")
            try:
                _check_settings(row.settings, row.rates)
            except UsageError as error:
                raise UsageError(f"override: {data} / {masking} / {label}: {error}") from error
    except UsageError as error:
        raise UsageError(f"{grid.path}: {error}") from error
    return found


def _with_published(grid: Grid, file: GridFile) -> Grid:
    if (entry := file.published) is None:
        return grid
    try:
        numbers = read_published(
            grid.path.parent / entry.file, entry.table, entry.rows, entry.data, own=(grid.rows, grid.data)
        )
    except UsageError as error:
        raise UsageError(f"{grid.path}: {error}") from error
    return replace(grid, published=numbers)


def slug(label: str) -> str:
    """A label as a part of a file name."""
    return re.sub(r"[^\w.]+", "-", label.casefold()).strip("-.")


def _row(label: str, table: str, file: GridFile, written: Mapping[str, Any], path: Path) -> Row:
    """A row of the table [start] or [method]."""
    where = f"{path}: {table}.{label}"
    own = getattr(file, table)[label]
    idle = of_steps_alone(file.settings) if _is_fitted(str(own.get("method", label))) else []
    settings, as_written = (
        {"method": label, **{name: value for name, value in shared.items() if name not in idle}, **mine}
        for shared, mine in ((file.settings, own), (written.get("settings", {}), written[table][label]))
    )
    start = settings.pop("start", None)
    if start is not None and not isinstance(start, str):
        raise UsageError(f"{where}: start is {start!r}; it must be the name of a row")
    rates: tuple[float, ...] = ()
    if isinstance(settings.get("lr"), list):
        rates = tuple(settings.pop("lr"))
        if not rates:
            raise UsageError(f"{where}: lr is an empty list; list the learning rates to search")
    try:
        checked = _check_settings(settings, rates)
        if checked.method != AUTO:
            check_start(checked.method, start)
            check_prior(checked.method, checked.method_settings)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error
    if len(set(rates)) < len(rates):
        raise UsageError(f"{where}: lr lists a value twice")
    for name in ("lr", "start"):
        as_written.pop(name, None)
    return Row(label, settings, rates, as_written, checked.holdout, checked.holdout_by, checked.refit, start)


def _is_fitted(method: str) -> bool:
    """Whether a method takes no steps, so that settings of steps that all rows share are left out of its own."""
    return method in CATALOGUE and CATALOGUE[method].fitted


def _check_starts(path: Path, rows: Mapping[str, Row]) -> None:
    """Whether each row that another begins from is there, is not that row itself, and knew no cell held out from it."""
    for label, row in rows.items():
        where, start, begun = f"{path}: row {label!r} starts from {row.start!r}", row.start, [label]
        while start is not None:
            if start not in rows:
                raise UsageError(f"{where}: there is no row {start!r}; rows are {', '.join(rows)}")
            if start in begun:
                raise UsageError(f"{where}, which starts from {label!r} in the end; break the circle")
            begun.append(start)
            first = rows[start]
            held_out_alike = (first.holdout, first.holdout_by) == (row.holdout, row.holdout_by)
            if row.holdout and (not held_out_alike or first.refit):
                raise UsageError(
                    f"{where}: {start!r} must hold out the same cells, or what {label!r} is chosen by was trained on; "
                    f"give both one holdout and holdout_by, and {start!r} no refit"
                )
            start = first.start


def _check_choices(path: Path, file: GridFile, rows: Mapping[str, Row]) -> None:
    """Whether `top` can compare the rows, and `curves` and `baseline` are rows."""
    if file.top is not None and (
        len({(row.holdout, row.holdout_by) for row in rows.values()}) > 1 or not next(iter(rows.values())).holdout
    ):
        raise UsageError(
            f"{path}: top compares the rows on the same held-out cells; give all of them one holdout above 0 and "
            "one holdout_by"
        )
    for key, labels in (("curves", file.curves), ("baseline", [file.baseline] if file.baseline is not None else [])):
        for label in labels:
            if label not in rows:
                raise UsageError(f"{path}: {key}: no row {label!r}; rows are {', '.join(rows)}")


def _check_settings(settings: Mapping[str, Any], rates: tuple[float, ...]) -> TrainSettings:
    """The settings of a training; raises where `train` would refuse them."""
    if "seed" in settings:
        raise UsageError("seed is no setting here; seeds come from `seeds`")
    if "init" in settings:
        raise UsageError("init is no setting here; `start` names the row to begin from")
    method = str(settings["method"])
    fields = setting_names(method)
    for rate in rates or (settings.get("lr"),):
        checked = make_settings({**settings, "lr": rate}, fields)
    if method != AUTO:  # which method it takes is known when there are labels
        _check_vectors(method, method_config(method, checked.method_settings))
        check_fitted(checked, bool(rates))
    if rates and checked.holdout == 0:
        raise UsageError("a list of learning rates is searched on held-out cells; set holdout above 0, or one lr")
    return checked


def _check_vectors(method: str, config: MethodConfig) -> None:
    """Refuse label vectors that depend on what lies in the cache of the machine."""
    if method_class(method).label_vectors(config) == "auto":
        raise UsageError(
            'label_vectors = "auto" takes what lies in the local cache, so that the same grid would be another one on '
            'another day; name "learned", a text encoder (such as "bert-base-uncased") or a file of word vectors'
        )


def _filled(value: Any, path: Path, key: str = "") -> Any:
    """The value with every ${NAME} in its strings replaced by that environment variable."""
    if isinstance(value, dict):
        return {name: _filled(entry, path, f"{key}.{name}" if key else name) for name, entry in value.items()}
    if isinstance(value, list):
        return [_filled(entry, path, key) for entry in value]
    if not isinstance(value, str):
        return value
    for name in _VARIABLE.findall(value):
        if name not in os.environ:
            raise UsageError(f"{path}: {key} needs the environment variable {name}, which is not set")
    return _VARIABLE.sub(lambda match: os.environ[match[1]], value)


def _check_slugs(where: str, labels: Iterable[str]) -> None:
    taken: dict[str, str] = {}
    for label in labels:
        name = slug(label)
        if not label.isprintable():
            raise UsageError(f"{where}: {label!r} has a line end or a control character; rename it")
        if not name or name in taken:
            problem = f"and {taken[name]!r} would share a folder" if name else "has no letter or digit"
            raise UsageError(f"{where}: {label!r} {problem}; rename it")
        taken[name] = label


def _sentence(error: ValidationError) -> str:
    """The first finding, with the key as it stands in the file."""
    first = error.errors()[0]
    key = [str(part) for part in first["loc"]]
    models: dict[str, type[BaseModel]] = {"files": LabelFiles, "builtin": DigitScenes}
    model: type[BaseModel] = GridFile
    if key[0] == "data" and len(key) > 2:
        model = models[key.pop(2)]
    if first["type"] == "missing":
        return f"{'.'.join(key)} is missing"
    if first["type"] == "extra_forbidden":
        place = f" in {'.'.join(key[:-1])}" if key[:-1] else ""
        return f"no key {key[-1]!r}{place}; keys are {', '.join(model.model_fields)}"
    if first["type"] == "too_short":
        return f"{'.'.join(key)} is empty; list at least one"
    if first["type"] == "too_long":
        return f"{'.'.join(key)} lists more than {first['ctx']['max_length']}"
    if first["type"] == "tuple_type":
        brackets = "write [[override]]" if key == ["override"] else "write it in brackets"
        return f"{'.'.join(key)} must be a list: {brackets}"
    return f"{'.'.join(key)}: {first['msg'].removeprefix('Value error, ')}, got {first['input']!r}"
