"""The recipe ``pretrained`` at 224 pixels, trained for a few steps."""

from __future__ import annotations

import importlib.util

from gpucheck.record import Record, SkipStage
from gpucheck.settings import Settings
from gpucheck.stages.exporting import export


def run(record: Record, settings: Settings) -> None:
    """Train and export it."""
    if importlib.util.find_spec("timm") is None:
        raise SkipStage("timm is not installed")
    if settings.environment()["weights"] == "missing":
        raise SkipStage("the weights of EfficientNet-Lite0 are missing")
    changes = {"recipe": "pretrained", "lengths": (48,), "precision": "bf16", "steps": 100}
    if settings.is_small:
        changes |= {"steps": 3, "batch_size": 8, "precision": "fp32"}
    export(record, settings, changes, 32 if settings.is_small else 224)
