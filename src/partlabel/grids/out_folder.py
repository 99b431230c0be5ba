"""What of a grid's results can be made again."""

import shutil
from pathlib import Path


def shed_weights(run: Path) -> None:
    """Delete what is large and can be made again; settings, log and held-out cells stay."""
    for folder in (run, *run.glob("find_lr/*")):
        for name in ("checkpoints", "model"):
            shutil.rmtree(folder / name, ignore_errors=True)
        (folder / "labels.parquet").unlink(missing_ok=True)
