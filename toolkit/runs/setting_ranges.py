"""Ranges of the numbers among the settings of a training run."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Final

from hashkit.errors import ConfigError
from hashkit.inputs.arguments import argument_shown

__all__ = ["MIN_INPUT_SIZE", "check_ranges"]

MIN_INPUT_SIZE: Final = 8
"""Smallest height and width in pixels, for networks with three pools of stride 2."""

_RANGES: Final = (
    ("height", MIN_INPUT_SIZE, 4096),
    ("width", MIN_INPUT_SIZE, 4096),
    ("patch", 1, 5),
    ("dropout", 0, 0.99),
    ("hidden", 0, 10**6),
    ("views", 0, 64),
    ("freeze", -1, 10**6),
    ("head_first", 0, 0.9),
    ("epsilon", 0, 0.5),
    ("quantisation", 0, 1e9),
    ("label_smoothing", 0, 0.99),
    ("distill", 0, 1e6),
    ("batch_size", 2, 10**9),
    ("steps", 1, 10**12),
    ("warmup_steps", 0, 10**12),
    ("momentum", 0, 0.9999),
    ("weight_decay", 0, 1e6),
    ("clip_norm", 0, 1e6),
    ("sam", 0, 1e3),
    ("sam_start", 0, 0.99),
    ("ema", 0, 0.999999),
    ("cutout", 0, 1),
    ("cutmix", 0, 1),
    ("unlabelled_ratio", 0, 10**4),
    ("unlabelled_weight", 0, 1e6),
    ("confidence", 0, 1),
    ("strong_cutout", 0, 1),
    ("holdout", 0, 0.9),
    ("validate_epochs", 1, 10**9),
    ("snapshot_steps", 0, 10**12),
    ("keep_snapshots", 0, 10**9),
    ("display_steps", 1, 10**9),
    ("seed", 0, 2**63 - 1),
)
"""Smallest and largest value of a setting, by name."""

_POSITIVE: Final = ("margin", "scale", "temperature", "learning_rate", "epochs", "gamma")


def check_ranges(settings: Mapping[str, Any]) -> None:
    """Raise ConfigError if a number is out of its range; None and missing settings are left out.

    Parameters
    ----------
    settings
        Values by field of `hashkit.runs.config.TrainConfig`.
    """
    most_per_class = settings.get("batch_size", sys.maxsize)
    for field, low, high in (*_RANGES, ("images_per_class", 0, most_per_class)):
        value = settings.get(field)
        if value is not None and not low <= value <= high:
            raise ConfigError(
                f"`{field}` must be between {low} and {high}, not {argument_shown(value)}"
            )
    for field in _POSITIVE:
        value = settings.get(field)
        if value is not None and not value > 0:
            raise ConfigError(f"`{field}` must be above 0, not {argument_shown(value)}")
    stage_decay, milestones = settings.get("stage_decay", 1), settings.get("milestones", ())
    if not 0 < stage_decay <= 1:
        raise ConfigError(
            f"`stage_decay` must be above 0 and at most 1, not {argument_shown(stage_decay)}"
        )
    if any(not 0 < milestone < 1 for milestone in milestones):
        raise ConfigError(
            "`milestones` must be fractions of the run, above 0 and below 1, not "
            f"{', '.join(map(argument_shown, milestones))}"
        )
    if settings.get("sampler") == "balanced" and {"batch_size", "images_per_class"} <= set(
        settings
    ):
        _check_balanced(settings["batch_size"], settings["images_per_class"])


def _check_balanced(batch_size: int, images_per_class: int) -> None:
    """A balanced batch holds at least two classes, and two images of each."""
    if batch_size < 4:
        raise ConfigError(
            '`sampler="balanced"` needs a `batch_size` of at least 4, two classes with two images '
            f'each, not {batch_size}: raise it, or use `sampler="shuffled"`'
        )
    most = batch_size // 2
    if images_per_class and not 2 <= images_per_class <= most:
        raise ConfigError(
            '`sampler="balanced"` needs `images_per_class` between 2 and half of `batch_size`, '
            f"here {most}, not {images_per_class}: change it, or set 0 to choose it"
        )
