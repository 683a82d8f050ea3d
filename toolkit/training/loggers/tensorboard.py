"""Events for TensorBoard, in the run's folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["TensorBoardLogger"]


class TensorBoardLogger:
    """Writes events that TensorBoard shows.

    Parameters
    ----------
    folder
        Folder of the events; None for ``tensorboard`` in the run's folder.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._writer: Any = None

    def start(self, config: Mapping[str, Any]) -> None:
        """Open a file of events; TensorBoard then hides earlier events of repeated steps."""
        from torch.utils.tensorboard import SummaryWriter

        folder = self.folder or Path(config["path"]) / "tensorboard"
        first_step = config["first_step"]
        self._writer = SummaryWriter(
            str(folder), purge_step=first_step + 1 if first_step else None, flush_secs=10
        )
        text = json.dumps(dict(config), indent=2)
        self._writer.add_text("config", "    " + text.replace("\n", "\n    "), first_step)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Write one scalar per value."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def finish(self) -> None:
        """Write what is left, and close the file."""
        self._writer.close()
