"""`split`: one table made several that share no image, no group and no copy, every class known in each."""

import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from partlabel.errors import LabelError, UsageError
from partlabel.files import file_sha256, write_json
from partlabel.formats import write_table
from partlabel.images.capture_date import capture_day
from partlabel.images.limits import DEFAULT_LIMITS, Limits
from partlabel.images.paths import image_root
from partlabel.inspection.contents import read_contents
from partlabel.inspection.near import near_groups
from partlabel.labels import IntArray, LabelTable
from partlabel.opening import ReadArguments, Table, open_table, origin, published_root, refuse_to_overwrite
from partlabel.opening.groups_file import read_groups
from partlabel.progress import SILENT, Reporter
from partlabel.splitting import Units, stratify, units_of
from partlabel.version import __version__
from partlabel.wording import amount

REASONS = ("folder", "date", "near-duplicates")
DEFAULT_SHARES: Mapping[str, float] = {"train": 0.8, "test": 0.2}


@dataclass(frozen=True, kw_only=True)
class Split:
    """A table in parts.

    Args:
        parts: the table of each part, by its name.
        record: what `split.json` holds: shares, seed, reasons to stay together, counts, hashes.
    """

    parts: Mapping[str, LabelTable]
    record: dict[str, Any]


def split(
    table: Table,
    *,
    out: Path | str | None = None,
    shares: Mapping[str, float] | None = None,
    by: Iterable[str] = (),
    groups: Path | str | None = None,
    images: Path | str | None = None,
    max_distance: int = 4,
    stratified: bool = True,
    seed: int = 0,
    reporter: Reporter = SILENT,
    read: ReadArguments | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Split:
    """Split a table.

    Args:
        table: label table, the path of a label file, or `NAME:DIR` of a published data set; it is not changed.
        out: folder to write a CSV for each part to, and `split.json`.
        shares: of the images, by the name of the part; None: train 0.8, test 0.2.
        by: what keeps images together, among `REASONS`; a chain of reasons does as well.
        groups: CSV with an image column and one of groups, which stay together.
        images: folder of the images, for date and near-duplicates.
        max_distance: bits, of 64, in which near-duplicates may differ.
        stratified: whether the known cells of each class are shared out too.
        seed: of the order in which equals are dealt out.
        reporter: where findings go.
        read: how to read the label file.
        limits: what an image may be.

    Raises:
        LabelError: the labels or groups cannot be read, or there are fewer units than parts.
        UsageError: an argument cannot be used.
        ImageError: the image folder does not exist.
        StorageError: a file cannot be written.
    """
    wanted, reasons = _checked_shares(shares or DEFAULT_SHARES), _checked_reasons(by)
    files = [] if out is None else [Path(out) / f"{name}.csv" for name in wanted]
    refuse_to_overwrite(files, table, *([] if groups is None else [groups]))
    if out is not None and Path(out).exists() and (not Path(out).is_dir() or any(Path(out).iterdir())):
        raise UsageError(f"{out} is there already, and parts of two splits must not mix; name a new folder")
    labels, _ = open_table(table, reporter, read or {})
    ties = _ties(labels, reasons, images or published_root(table), max_distance, limits, reporter)
    if groups is not None:
        ties["groups"] = _grouped(labels, groups, reporter)
    units = units_of(len(labels), list(ties.values()))
    parts = _parts(labels, units, wanted, seed, by_class=stratified)
    record = {
        "partlabel": __version__,
        "table": origin(table),
        "table_hash": labels.hash,
        "shares": dict(wanted),
        "together": sorted(ties),
        "max_distance": max_distance if "near-duplicates" in ties else None,
        "stratified": stratified,
        "seed": seed,
        "images": len(labels),
        "units": len(units),
        "largest_unit": int(units.sizes.max()),
        "parts": {name: _counted(one) for name, one in parts.items()},
    }
    if out is not None:
        _write(Path(out), parts, record)
    for sentence in _findings(labels, parts, units):
        reporter.say(sentence)
    return Split(parts=parts, record=record)


def _grouped(labels: LabelTable, groups: Path | str, reporter: Reporter) -> IntArray:
    numbers = read_groups(groups, labels.images)
    if alone := int((numbers < 0).sum()):
        reporter.say(f"{amount(alone, 'image')} without a group in {groups}, each a unit of its own")
    return numbers


def _parts(
    labels: LabelTable, units: Units, wanted: Mapping[str, float], seed: int, *, by_class: bool
) -> dict[str, LabelTable]:
    """The table of each part.

    Raises:
        LabelError: a part would be empty.
    """
    if len(units) < len(wanted):
        raise LabelError(
            f"{amount(len(labels), 'image')} are {amount(len(units), 'unit')} that must stay together, fewer than the "
            f"{len(wanted)} parts; give fewer reasons to stay together"
        )
    part = stratify(labels, units, list(wanted.values()), seed, by_class=by_class)
    parts = {name: labels.select_images(np.flatnonzero(part == number)) for number, name in enumerate(wanted)}
    if empty := [name for name, one in parts.items() if not len(one)]:
        raise LabelError(f"part {empty[0]!r} gets no image: {amount(len(units), 'unit')} are too few or too large")
    return parts


def _checked_shares(shares: Mapping[str, float]) -> dict[str, float]:
    if len(shares) < 2 or not all(0 < share < 1 for share in shares.values()):
        raise UsageError(f"shares {dict(shares)} are not two or more numbers between 0 and 1")
    if abs(sum(shares.values()) - 1) > 1e-6:
        raise UsageError(f"shares {dict(shares)} sum to {sum(shares.values()):g}, not to 1")
    for name in shares:
        if not name or name in {".", ".."} or any(mark in name for mark in "/\\\0") or name == "split":
            raise UsageError(f"{name!r} cannot be the name of a part, which is the name of a file")
    return dict(shares)


def _checked_reasons(by: Iterable[str]) -> tuple[str, ...]:
    reasons = tuple(by)
    for reason in reasons:
        if reason not in REASONS:
            raise UsageError(
                f"by {reason!r} is not one of {', '.join(REASONS)}; groups of your own go into --groups FILE"
            )
    return reasons


def _ties(
    labels: LabelTable,
    reasons: Sequence[str],
    images: Path | str | None,
    max_distance: int,
    limits: Limits,
    reporter: Reporter,
) -> dict[str, IntArray]:
    """Group numbers by each reason, -1 for an image that it ties to nothing."""
    ties: dict[str, IntArray] = {}
    if "folder" in reasons:
        folders = [posixpath.dirname(name.replace("\\", "/")) for name in labels.images]
        ties["folder"] = np.unique(folders, return_inverse=True)[1]
    if not {"date", "near-duplicates"} & {*reasons}:
        return ties
    if images is None:
        raise UsageError("date and near-duplicates are read from the images: say where they are (--images DIR)")
    root = image_root(images)
    if "date" in reasons:
        with reporter.track("reading dates") as tick:
            days = [_day(root, name, tick, n, len(labels)) for n, name in enumerate(labels.images)]
        numbers = {day: number for number, day in enumerate(sorted({*days} - {None}))}  # type: ignore[type-var]
        ties["date"] = np.array([-1 if day is None else numbers[day] for day in days], np.int64)
        if unsaid := days.count(None):
            reporter.say(f"{amount(unsaid, 'image')} have no date of capture, which ties them to nothing")
    if "near-duplicates" in reasons:
        with reporter.track("comparing images") as tick:
            contents = read_contents(root, labels.images, with_hashes=True, limits=limits, progress=tick)
        if contents.problems:
            first = contents.problems[0]
            reporter.say(f"{amount(len(contents.problems), 'image')} cannot be compared, first: {first.image!r}")
        same = np.unique(contents.digests, return_inverse=True)[1]
        ties["identical files"] = np.where(contents.digests == b"", -1, same)
        ties["near-duplicates"] = near_groups(contents.hashes, max_distance)
    return ties


def _day(root: Path, name: str, tick: Any, done: int, total: int) -> str | None:
    tick(done + 1, total)
    return capture_day(root, name)


def _counted(part: LabelTable) -> dict[str, Any]:
    counts = part.counts_by_class()
    return {"images": len(part), "hash": part.hash, **{name: int(of.sum()) for name, of in counts._asdict().items()}}


def _write(out: Path, parts: Mapping[str, LabelTable], record: dict[str, Any]) -> None:
    for name, part in parts.items():
        write_table(part, out / f"{name}.csv")
        record["parts"][name] |= {"file": f"{name}.csv", "sha256": file_sha256(out / f"{name}.csv")}
    write_json(out / "split.json", record)


def _findings(labels: LabelTable, parts: Mapping[str, LabelTable], units: Units) -> Iterable[str]:
    if len(units) < len(labels):
        yield (
            f"{amount(len(labels), 'image')} in {amount(len(units), 'unit')} that stay together, the largest of "
            f"{units.sizes.max():,}"
        )
    for name, part in parts.items():
        counts = _counted(part)
        states = f"{counts['present']:,} present and {counts['absent']:,} absent cells"
        yield f"{name}: {amount(len(part), 'image')}, {states}"
    known = labels.counts_by_class().present > 0
    for name, part in parts.items():
        lacking = np.flatnonzero(known & (part.counts_by_class().present == 0))
        if lacking.size:
            first = labels.classes[lacking[0]]
            yield f"{name}: {amount(lacking.size, 'class', 'classes')} without a known present cell, first: {first!r}"
