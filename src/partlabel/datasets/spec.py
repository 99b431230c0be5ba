"""`NAME:DIR,option=value`: a data set on disk, written where a label file can be named."""

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from partlabel.datasets.base import Dataset, Options
from partlabel.datasets.catalogue import DATASETS
from partlabel.errors import LabelError, UsageError

_SPEC = re.compile(r"([A-Za-z][A-Za-z0-9_-]*):(.+)", re.DOTALL)
_OPTION = re.compile(r",(?=[a-z_]+=)")


@dataclass(frozen=True)
class Spec:
    """A data set in a folder, read in one way.

    Args:
        dataset: which one.
        root: the folder that image names are relative to.
        options: the value of each of its options.
    """

    dataset: Dataset
    root: Path
    options: Options

    def __str__(self) -> str:
        """The same as text, with an absolute folder and the options that differ from their defaults."""
        set_ = [
            f",{option.name}={self.options[option.name]}"
            for option in self.dataset.options
            if self.options[option.name] != option.default
        ]
        return f"{self.dataset.name}:{self.root}{''.join(set_)}"

    def sources(self) -> list[Path]:
        """The files that are read.

        Raises:
            LabelError: one of them is missing; says what is expected.
        """
        paths = list(self.dataset.sources(self.root, self.options))
        for path in paths:
            if not path.is_file():
                if option := next((name for name, value in self.options.items() if value == str(path)), None):
                    raise LabelError(f"{self.dataset.name}: {path} does not exist; it is named by {option}=")
                raise LabelError(
                    f"{self.dataset.name}: {path} does not exist; in {self.root} are expected {_expected(self.dataset)}"
                )
        return paths

    def sources_of_all_splits(self) -> list[Path]:
        """The files that are read for any split, as far as they are there."""
        found: list[Path] = []
        for option in self.dataset.options:
            for value in option.meanings if option.name == "split" else ():
                with suppress(LabelError):
                    found += self.dataset.sources(self.root, {**self.options, "split": value})
        return found or self.sources()


def parse(text: str | os.PathLike[str], more: Mapping[str, str] | None = None, base: Path | None = None) -> Spec | None:
    """What a text names: a data set, or None where it is the path of a file.

    Args:
        text: such as `coco2014:/data/coco,split=val`. What exists as a file or folder is never a data set.
        more: further options, such as `where` says.
        base: the folder that DIR is relative to; None: the present one.

    Raises:
        UsageError: there is no such data set, or no such option or value of it, or two values for one option.
        LabelError: the folder is missing.
    """
    if os.path.lexists(text):
        return None
    if (alone := os.fspath(text).removesuffix(":")) in DATASETS:
        raise UsageError(f"{text} is no file; to read this data set give its folder as well: {alone}:DIR")
    match = _SPEC.fullmatch(os.fspath(text))
    if match is None:
        return None
    name, rest = match.groups()
    if name not in DATASETS:
        known = ", ".join(DATASETS)
        raise UsageError(f"{text} is no file, and there is no data set {name!r} ({known}){_near(name, DATASETS)}")
    dataset = DATASETS[name]
    given, *assignments = _OPTION.split(rest)
    options = {option.name: option.default for option in dataset.options}
    chosen: dict[str, str] = {}
    for key, value in [(word.partition("=")[0], word.partition("=")[2]) for word in assignments] + list(
        (more or {}).items()
    ):
        _check(dataset, key, value)
        if chosen.setdefault(key, value) != value:
            raise UsageError(f"{text}: {key} is given as {chosen[key]!r} and as {value!r}; leave one out")
    folder = ((base or Path.cwd()) / Path(given).expanduser()).resolve()
    if not folder.is_dir():
        raise LabelError(
            f"{name}: {folder} is no folder; give the one that holds the official files: {_expected(dataset)}"
        )
    free = {option.name for option in dataset.options if not option.meanings and not option.default}
    for key in free & chosen.keys():
        chosen[key] = str((base or Path.cwd()) / Path(chosen[key]).expanduser())
    return Spec(dataset, dataset.root(folder), {**options, **chosen})


def _check(dataset: Dataset, key: str, value: str) -> None:
    known = {option.name: option for option in dataset.options}
    if key not in known:
        raise UsageError(
            f"{dataset.name} has no option {key!r}; it has {', '.join(known)} "
            f"(`partlabel datasets {dataset.name}` explains them){_near(key, known)}"
        )
    meanings = known[key].meanings
    if meanings and value not in meanings:
        raise UsageError(f"{dataset.name}: {key} {value!r} is not one of {', '.join(meanings)}{_near(value, meanings)}")


def _expected(dataset: Dataset) -> str:
    return ", ".join(name for name, _ in dataset.files)


def _near(word: str, known: Mapping[str, object]) -> str:
    near = get_close_matches(word.casefold(), known, 1)
    return f"; did you mean {near[0]!r}?" if near else ""
