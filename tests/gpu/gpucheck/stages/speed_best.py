"""Speed of the recipe ``best``."""

from __future__ import annotations

from gpucheck.record import Record
from gpucheck.settings import Settings
from gpucheck.stages.speed import measure


def run(record: Record, settings: Settings) -> None:
    """Measure the recipe at the size of the images."""
    measure(record, settings, "best", None)
