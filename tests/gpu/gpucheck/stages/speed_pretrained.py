"""Speed of the recipe ``pretrained`` at the size its weights were trained with."""

from __future__ import annotations

from gpucheck.record import Record
from gpucheck.settings import Settings
from gpucheck.stages.speed import measure


def run(record: Record, settings: Settings) -> None:
    """Measure the recipe at 224 pixels."""
    measure(record, settings, "pretrained", 32 if settings.is_small else 224)
