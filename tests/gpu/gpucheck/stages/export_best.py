"""The recipe ``best``, trained for 8 epochs."""

from __future__ import annotations

from typing import Any

from gpucheck.record import Record
from gpucheck.settings import Settings
from gpucheck.stages.exporting import export


def run(record: Record, settings: Settings) -> None:
    """Train and export it."""
    changes: dict[str, Any] = {
        "recipe": "best",
        "lengths": (48,),
        "precision": "bf16",
        "epochs": 8.0,
    }
    if settings.is_small:
        changes |= {"steps": 12, "batch_size": 32, "precision": "fp32", "display_steps": 4}
    export(record, settings, changes, None)
