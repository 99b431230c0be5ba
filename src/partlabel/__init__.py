"""Multi-label image recognition from incomplete labels: present, absent, unknown.

The verbs of the command line as functions, and the tables they take; imported when first used, so that `import
partlabel` is quick and needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from partlabel.version import __version__ as __version__

if TYPE_CHECKING:
    from partlabel.api.add_class import add_class
    from partlabel.api.bench import bench
    from partlabel.api.convert import convert
    from partlabel.api.demo import demo
    from partlabel.api.evaluate import evaluate, evaluate_scores
    from partlabel.api.explain import explain
    from partlabel.api.hide import hide
    from partlabel.api.look import look
    from partlabel.api.merge import merge
    from partlabel.api.predict import predict
    from partlabel.api.recover import recover
    from partlabel.api.review import review, reviewed
    from partlabel.api.split import split
    from partlabel.api.train import resume, train
    from partlabel.errors import PartlabelError
    from partlabel.formats import read_table, write_table
    from partlabel.labels import LabelTable, Source, State
    from partlabel.opening import read_dataset
    from partlabel.runs.folder import RunFolder

_HOMES = {
    "add_class": "api.add_class",
    "bench": "api.bench",
    "convert": "api.convert",
    "demo": "api.demo",
    "evaluate": "api.evaluate",
    "evaluate_scores": "api.evaluate",
    "explain": "api.explain",
    "hide": "api.hide",
    "look": "api.look",
    "merge": "api.merge",
    "predict": "api.predict",
    "recover": "api.recover",
    "resume": "api.train",
    "review": "api.review",
    "reviewed": "api.review",
    "split": "api.split",
    "train": "api.train",
    "PartlabelError": "errors",
    "read_dataset": "opening",
    "read_table": "formats",
    "write_table": "formats",
    "LabelTable": "labels",
    "Source": "labels",
    "State": "labels",
    "RunFolder": "runs.folder",
}

__all__ = [
    "LabelTable",
    "PartlabelError",
    "RunFolder",
    "Source",
    "State",
    "add_class",
    "bench",
    "convert",
    "demo",
    "evaluate",
    "evaluate_scores",
    "explain",
    "hide",
    "look",
    "merge",
    "predict",
    "read_dataset",
    "read_table",
    "recover",
    "resume",
    "review",
    "reviewed",
    "split",
    "train",
    "write_table",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'partlabel' has no attribute {name!r}")
    return getattr(import_module(f"partlabel.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
