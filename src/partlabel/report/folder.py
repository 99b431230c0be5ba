"""Which folder the images of a run's report come from."""

from pathlib import Path

from partlabel.errors import ImageError
from partlabel.images.paths import image_root
from partlabel.report.parts import LeftOut
from partlabel.runs.folder import RunFolder
from partlabel.runs.origin import is_own


def training_images(run: RunFolder, named: Path | None = None) -> Path | LeftOut:
    """The folder that a run was trained on, if its images may be read.

    A run from elsewhere may name any folder and any file below it. So the folder that a run names is opened only where
    the user named the same one, or where the run was trained by this user.

    Args:
        run: the run.
        named: a folder that the user gave.
    """
    inputs = run.inputs
    stored = Path(inputs["images"])
    same = named is not None and named.resolve() == stored.resolve()
    if not same and not is_own(inputs, run.labels().hash):
        return LeftOut(
            f"the image folder that this run names, {stored}, is not opened, because nothing shows that the run was "
            "trained by you"
        )
    try:
        return image_root(stored)
    except ImageError:
        return LeftOut(f"the images that this run was trained on are not in {stored} any more")
