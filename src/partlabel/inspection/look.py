"""Everything that `look` found, as values, as JSON, and as a page for a terminal."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from partlabel.formats import ReadingReport
from partlabel.inspection.findings import findings
from partlabel.inspection.image_files import ImageFiles
from partlabel.inspection.page import page
from partlabel.inspection.states import KnownStates
from partlabel.labels import Counts
from partlabel.methods.auto import Choice, Network


class MethodFit(NamedTuple):
    """Whether a method can learn from the labels.

    Args:
        method: its name.
        unknown: what it does with unknown cells.
        misfit: why it cannot learn from these labels; None if it can.
    """

    method: str
    unknown: str
    misfit: str | None


@dataclass(frozen=True, kw_only=True)
class Against:
    """A second table that should share no image with the first.

    Args:
        images: how many images it has.
        shared_names: images that are in both tables.
        report: how its file was read; None if it came as a table.
    """

    images: int
    shared_names: tuple[str, ...]
    report: ReadingReport | None


@dataclass(frozen=True, kw_only=True)
class Look:
    """What is known of a table, and what is wrong with it.

    Args:
        known: states by class and by image.
        methods: every method of the catalogue, and whether it fits.
        auto: what `--method auto` takes for each way to train the network; empty if no present cell is known.
        report: how the label file was read; None if it came as a table.
        image_files: what the image folder holds; None if no folder was given.
        against: the second table; None if there is none.
    """

    known: KnownStates
    methods: tuple[MethodFit, ...]
    auto: Mapping[Network, Choice]
    report: ReadingReport | None
    image_files: ImageFiles | None
    against: Against | None

    @property
    def findings(self) -> tuple[str, ...]:
        """One sentence a problem: what would stop a training, or make an evaluation say too much."""
        return findings(self)

    @property
    def problems(self) -> int:
        """How many problems there are; 0 if nothing is wrong."""
        return len(self.findings)

    def to_text(self) -> str:
        """A page for a terminal: the first or worst ten of every list."""
        return page(self)

    def to_json(self) -> dict[str, Any]:
        r"""Everything, as a value that JSON can hold: all lists complete, except the rows of reading reports.

        Shares are fractions in 0..1, null where there is no known cell. Characters that are not valid Unicode, which
        names of files can hold, are written as `\udcff`.
        """
        known = self.known
        result: dict[str, Any] = {
            "images": len(known.images),
            "classes": len(known.classes),
            "known": known.totals,
            "declared_complete": known.declared_complete,
            "empty_classes": known.empty_classes,
            "one_sided_classes": {"only_present": known.only_present, "only_absent": known.only_absent},
            "images_without_known_cell": known.images_without_known_cell,
            "reading": _report_json(self.report),
            "methods": {
                fit.method: {"fits": fit.misfit is None, "reason": fit.misfit, "unknown": fit.unknown}
                for fit in self.methods
            },
            "auto": {
                network: {"method": choice.method, "settings": choice.settings, "reason": choice.reason}
                for network, choice in self.auto.items()
            },
            "image_files": None if self.image_files is None else _files_json(self.image_files),
            "against": None
            if self.against is None
            else {
                "images": self.against.images,
                "shared_names": self.against.shared_names,
                "reading": _report_json(self.against.report),
            },
            "problems": self.findings,
            "per_class": [
                {"class": name, "prevalence": None if math.isnan(share) else share, **counts}
                for name, share, counts in zip(
                    known.classes, known.prevalence.tolist(), _counts_json(known.by_class), strict=True
                )
            ],
            "per_image": [
                {"image": name, **counts}
                for name, counts in zip(known.images, _counts_json(known.by_image), strict=True)
            ],
        }
        return {key: _valid_unicode(value) for key, value in result.items()}


def _counts_json(counts: Counts) -> list[dict[str, int]]:
    columns = zip(*(column.tolist() for column in counts), strict=True)
    return [dict(zip(Counts._fields, row, strict=True)) for row in columns]


def _report_json(report: ReadingReport | None) -> dict[str, Any] | None:
    if report is None:
        return None
    return {
        "path": report.path,
        "format": report.format,
        "encoding": report.encoding,
        "rows": {
            "read": report.rows_read,
            "used": report.rows_used,
            "filtered": report.rows_filtered,
            "skipped": report.rows_skipped,
        },
        "skipped": [{"line": row.line, "reason": row.reason} for row in report.skipped],
        "duplicates": {"count": report.duplicate_count, "first": [_cell_json(*found) for found in report.duplicates]},
        "conflicts": {"count": report.conflict_count, "first": [_cell_json(*found) for found in report.conflicts]},
        "ignored_columns": report.ignored_columns,
    }


def _cell_json(image: str, class_name: str | None, lines: tuple[int, ...]) -> dict[str, Any]:
    return {"image": image, "class": class_name, "lines": lines}


def _files_json(image_files: ImageFiles) -> dict[str, Any]:
    return {
        "folder": image_files.folder,
        "checked": image_files.checked,
        "problems": [problem._asdict() for problem in image_files.problems],
        "suggestions": [suggestion._asdict() for suggestion in image_files.suggestions],
        "files": image_files.files,
        "unlisted": image_files.unlisted,
        "identical": [group._asdict() for group in image_files.identical],
        "near": [near._asdict() for near in image_files.near],
        "flat": image_files.flat,
    }


def _valid_unicode(value: Any) -> Any:
    """Lists for tuples, and no lone surrogates."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_valid_unicode(key): _valid_unicode(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_valid_unicode(entry) for entry in value]
    return value
