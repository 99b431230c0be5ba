"""`explain`: where in an image the model sees its labels, drawn over the image, and what the labels are."""

import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from partlabel.errors import UsageError
from partlabel.files import atomic_path, storage_errors, write_json
from partlabel.inference.explainer import Explainer
from partlabel.inference.file_states import given_labels
from partlabel.inference.images import Paths, image_files, image_limits, readable_images
from partlabel.inference.model import any_device, open_model
from partlabel.opening import ReadArguments, Table
from partlabel.progress import SILENT, Reporter
from partlabel.runs.folder import RunFolder
from partlabel.training.threads import free_threads
from partlabel.wording import readable_name

OVERVIEW = "explained.json"

_UNSAFE = re.compile(r"[^\w.-]+")


def explain(
    run: Path | str | RunFolder,
    paths: Paths,
    *,
    out: Path | str,
    labels: Sequence[str] | None = None,
    top: int = 5,
    maps: Literal["method", "gradient", "all"] = "method",
    table: Table | None = None,
    truth: Table | None = None,
    images: Path | str | None = None,
    broken: str = "fail",
    max_image_mb: float | None = None,
    reporter: Reporter = SILENT,
    read: ReadArguments | None = None,
) -> dict[str, Any]:
    """Draw one figure per image: for each label its map over the image, beside the strength of the backbone's own maps.

    Args:
        run: a run, or a bundle (its `model` folder) copied anywhere.
        paths: files, or folders that are searched for images.
        out: folder for one PNG per image, and explained.json, which says the same in numbers and words.
        labels: classes to show; by default the `top` most probable ones, and those that are present in table or truth.
        top: how many.
        maps: "method": the maps of the method's head, or gradient maps (Grad-CAM) if it has none; "gradient": both;
            "all": both, and the further maps that the head has for those who look closely.
        table: labels that training knew, or the path of a label file; by default those of the run itself.
        truth: true labels, or the path of a label file, by which the other labels are marked as right, wrong or not
            annotated.
        images: folder that the names in table and truth are relative to; by default the one the run was trained on. The
            run's own labels belong to that one whatever is given here, unless it is gone.
        broken: what to do about images that cannot be read: "fail" names them, "skip" leaves them out and says so.
        max_image_mb: most memory, in MB, that decoding one image may take; None: as in the run's training.
        reporter: where progress goes.
        read: how to read label files.

    Returns:
        The content of explained.json.

    Raises:
        ImageError: no such image, or one cannot be read.
        UsageError: an unknown class or setting, or labels without a folder that tells which image is which.
        LabelError: table or truth has none of the images, or none of the classes.
    """
    if maps not in {"method", "gradient", "all"}:
        raise UsageError(f"maps {maps!r} is not 'method', 'gradient' or 'all'")
    if top < 1:
        raise UsageError(f"top {top} shows no label; give 1 or more")
    tagger, info = open_model(run)
    wanted = None if labels is None else _columns(labels, info.classes)
    limits = image_limits(run, max_image_mb)
    files = readable_images(image_files(paths, reporter), broken, reporter, limits)
    known, true = given_labels(run, table, truth, images, info.classes, files, reporter, read or {})
    device = any_device()
    gradient, others = maps != "method", maps == "all"
    explainer = Explainer(tagger.to(device), device, info, wanted, top, gradient, others, known, true, limits)
    folder = Path(out)
    with storage_errors(folder):
        (folder / OVERVIEW).unlink(missing_ok=True)  # it would speak of figures that are now replaced
    entries = []
    with free_threads(), reporter.track("explaining images") as tick:
        for number, file in enumerate(files, 1):
            figure, entry = explainer(file)
            name = f"{number:03d}-{_UNSAFE.sub('_', file.stem)[:40]}.png"
            with atomic_path(folder / name) as temporary:
                figure.save(temporary, "PNG", compress_level=1)  # more: a fifth fewer bytes in four times the time
            entries.append({"image": readable_name(file), "figure": name, **entry})
            tick(number, len(files))
    overview = {
        "method": info.method,
        "calibrated": info.calibration is not None,
        "table": known is not None,
        "truth": true is not None,
        "images": entries,
    }
    write_json(folder / OVERVIEW, overview)
    return overview


def _columns(labels: Sequence[str], classes: tuple[str, ...]) -> list[int]:
    """Numbers of the named classes, in the order given, each once."""
    position = {name: column for column, name in enumerate(classes)}
    for name in labels:
        if name not in position:
            near = get_close_matches(name, classes) or get_close_matches(name.casefold(), classes)
            similar = (
                f"similar names: {', '.join(near)}" if near else f"its classes begin with {', '.join(classes[:5])}"
            )
            raise UsageError(f"the model has no class {name!r}; {similar}")
    if not labels:
        raise UsageError("no label is named; name some, or leave the option out to see the most probable ones")
    return list(dict.fromkeys(position[name] for name in labels))
