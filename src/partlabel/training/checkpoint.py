"""Checkpoints that are never torn and hold no arbitrary code."""

import io
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import CheckpointIO

from partlabel.errors import RunError
from partlabel.files import write_bytes


def save_state(state: dict[str, Any], path: Path) -> None:
    """`torch.save`, whole or not at all.

    Raises:
        StorageError: the disk is full.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_bytes(path, buffer.getbuffer())


class AtomicCheckpointIO(CheckpointIO):
    """Lightning's reading and writing of checkpoints, replaced: temporary file, fsync, rename; weights-only loading."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write a checkpoint so that the old one stays whole until the new one is. Takes its size in memory once
        more.
        """
        save_state(checkpoint, Path(path))

    def load_checkpoint(
        self, path: Any, map_location: Any | None = None, weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Read a checkpoint.

        Raises:
            RunError: the file is missing or not a checkpoint.
        """
        if not Path(path).is_file():
            raise RunError(f"checkpoint {path} does not exist; start the training anew")
        try:
            return torch.load(path, map_location=map_location, weights_only=True)  # type: ignore[no-any-return]
        except Exception as error:
            raise RunError(
                f"checkpoint {path} cannot be read ({type(error).__name__}); start the training anew"
            ) from error

    def remove_checkpoint(self, path: Any) -> None:
        """Delete a checkpoint."""
        Path(path).unlink(missing_ok=True)
