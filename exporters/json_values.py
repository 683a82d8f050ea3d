"""Figures as JSON can hold them: it has no word for NaN and the infinities."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

__all__ = ["finite_or_none"]


def finite_or_none(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields in which None stands for each float that is NaN or infinite."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in fields.items()
    }
