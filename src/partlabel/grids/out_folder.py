"""What of a grid's results can be made again."""

import shutil
from pathlib import Path


def shed_weights(run: Path, *, others_begin_here: bool = False) -> None:
    """Delete what is large and can be made again; settings, log and held-out cells stay.

    Args:
        run: a finished run folder.
        others_begin_here: keep its model and labels, for the trainings that start from it.
    """
    for folder in (run, *run.glob("find_lr/*")):
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        if folder == run and others_begin_here:
            continue
        shutil.rmtree(folder / "model", ignore_errors=True)
        (folder / "labels.parquet").unlink(missing_ok=True)
