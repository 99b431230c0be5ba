"""`look`: what is known of a table and its images, and what is wrong, before any training."""

from pathlib import Path

from partlabel.errors import UsageError
from partlabel.images.limits import DEFAULT_MAX_IMAGE_MB, limits_of
from partlabel.images.paths import image_root
from partlabel.inspection.findings import findings
from partlabel.inspection.image_files import inspect_images
from partlabel.inspection.look import Against, Look, MethodFit
from partlabel.inspection.states import KnownStates
from partlabel.methods.auto import choices
from partlabel.methods.catalogue import CATALOGUE, misfit
from partlabel.opening import ReadArguments, Table, is_published, open_table
from partlabel.progress import SILENT, Reporter

# Beyond this, unlike images pair up: hashes of unrelated ones differ in 32 of 64 bits, give or take 8 in large sets.
_LARGEST_DISTANCE = 16


def look(
    table: Table,
    *,
    images: Path | str | None = None,
    against: Table | None = None,
    max_distance: int = 4,
    max_image_mb: float = DEFAULT_MAX_IMAGE_MB,
    reporter: Reporter = SILENT,
    read: ReadArguments | None = None,
    against_read: ReadArguments | None = None,
) -> Look:
    """Tell what is known by class and by image, which methods fit, and what is wrong with labels and images.

    Nothing is changed. Each image is decoded once, to its last byte. Cells that a file calls present on one line and
    absent on another are reported, unless `read` says that they fail.

    Args:
        table: label table, the path of a label file, or `NAME:DIR` of a published data set.
        images: folder that the image names are relative to; None looks at the labels alone.
        against: a second table in the same folder, such as the test split, that should share no image with the first:
            shared names, identical files and near-duplicates are told.
        max_distance: most bits, of 64, in which the perceptual hashes of near-duplicates differ; 0 to 16.
        max_image_mb: most memory, in MB, that decoding one image may take; larger images are reported.
        reporter: where progress goes.
        read: how to read the label file.
        against_read: how to read the second one, if otherwise: one file may hold both splits in a column (`where`).

    Raises:
        LabelError: a label file cannot be read.
        ImageError: the image folder does not exist. Missing and broken images are reported, not raised.
        UsageError: `max_distance` or `max_image_mb` is out of range.
    """
    if not 0 <= max_distance <= _LARGEST_DISTANCE:
        raise UsageError(f"max_distance {max_distance} is not between 0 and {_LARGEST_DISTANCE}")
    limits = limits_of(max_image_mb)
    if images is not None:
        image_root(images)
    both = against is not None and against_read is None
    # What reading a file finds is part of the look, so it is not said twice.
    labels, reading = open_table(
        table, reporter if is_published(table) else SILENT, {"conflicts": "unknown", **(read or {})}, shared=both
    )
    second, other = None, None
    if against is not None:
        how: ReadArguments = {"conflicts": "unknown", **(against_read or read or {})}
        other, other_reading = open_table(against, reporter if is_published(against) else SILENT, how, shared=both)
        shared = tuple(name for name in other.images if name in labels.image_positions)
        second = Against(images=len(other), shared_names=shared, report=other_reading and other_reading.report)
    known, report = KnownStates.of(labels), reading and reading.report
    methods = tuple(MethodFit(name, entry.unknown, misfit(name, labels)) for name, entry in CATALOGUE.items())
    image_files = None
    if images is not None:
        others = None if other is None else other.images
        with reporter.track("looking at images") as tick:
            image_files = inspect_images(
                images, labels.images, others, max_distance=max_distance, limits=limits, progress=tick
            )
    return Look(
        known=known,
        methods=methods,
        auto=choices(labels),
        report=report,
        image_files=image_files,
        against=second,
        problems=findings(known, methods, report, image_files, second),
    )
