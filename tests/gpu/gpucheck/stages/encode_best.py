"""Encoding with the model of the recipe ``best``."""

from __future__ import annotations

from gpucheck.record import Record
from gpucheck.settings import Settings
from gpucheck.stages.encoding_stage import encode


def run(record: Record, settings: Settings) -> None:
    """Encode 10,000 images."""
    encode(record, settings, "best", 300 if settings.is_small else 10_000)
