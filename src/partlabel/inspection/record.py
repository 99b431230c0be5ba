"""A `Look` as a value that JSON can hold."""

import math
from typing import Any

from partlabel.formats import ReadingReport
from partlabel.inspection.image_files import ImageFiles
from partlabel.inspection.look import Look
from partlabel.labels import Counts


def record(look: Look) -> dict[str, Any]:
    r"""Everything, as a value that JSON can hold: all lists complete, except the rows of reading reports.

    Shares are fractions in 0..1, null where there is no known cell. Characters that are not valid Unicode, which
    names of files can hold, are written as `\udcff`.
    """
    known = look.known
    result: dict[str, Any] = {
        "images": len(known.images),
        "classes": len(known.classes),
        "known": known.totals,
        "declared_complete": known.declared_complete,
        "unsure": known.unsure,
        "empty_classes": known.empty_classes,
        "one_sided_classes": {"only_present": known.only_present, "only_absent": known.only_absent},
        "images_without_known_cell": known.images_without_known_cell,
        "reading": _report_json(look.report),
        "methods": {
            fit.method: {"fits": fit.misfit is None, "reason": fit.misfit, "unknown": fit.unknown}
            for fit in look.methods
        },
        "auto": {
            network: {"method": choice.method, "settings": choice.settings, "reason": choice.reason}
            for network, choice in look.auto.items()
        },
        "image_files": None if look.image_files is None else _files_json(look.image_files),
        "against": None
        if look.against is None
        else {
            "images": look.against.images,
            "shared_names": look.against.shared_names,
            "reading": _report_json(look.against.report),
        },
        "problems": look.problems,
        "per_class": [
            {"class": name, "prevalence": None if math.isnan(share) else share, **counts}
            for name, share, counts in zip(
                known.classes, known.prevalence.tolist(), _counts_json(known.by_class), strict=True
            )
        ],
        "per_image": [
            {"image": name, **counts} for name, counts in zip(known.images, _counts_json(known.by_image), strict=True)
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
        "notes": report.notes,
        "suggestions": len(report.suggested),
    }


def _cell_json(image: str, class_name: str | None, lines: tuple[int, ...]) -> dict[str, Any]:
    return {"image": image, "class": class_name, "lines": lines}


def _files_json(image_files: ImageFiles) -> dict[str, Any]:
    return {
        "folder": image_files.folder,
        "checked": image_files.checked,
        "problems": [problem._asdict() for problem in image_files.problems],
        "suggestions": [rename._asdict() for rename in image_files.renames],
        "files": image_files.files,
        "left_out": dict(image_files.left_out),
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
