"""Encoding with the model of the recipe ``pretrained``."""

from __future__ import annotations

from gpucheck.record import Record
from gpucheck.settings import Settings
from gpucheck.stages.encoding_stage import encode


def run(record: Record, settings: Settings) -> None:
    """Encode 2,000 images."""
    encode(record, settings, "pretrained", 64 if settings.is_small else 2_000)
