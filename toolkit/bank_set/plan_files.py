"""The files of the plan by which the shards of a set were made."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Final

__all__ = ["MAX_SHARDS", "PLAN_NAME", "SLICES_FOLDER", "remove_plan"]

PLAN_NAME: Final = "plan.json"
"""File with the plan; see `hashkit.datasets.slices.plan`."""

MAX_SHARDS: Final = 99_999
"""Their names have five digits."""
SLICES_FOLDER: Final = "slices"
"""Folder with the images of each shard."""


def remove_plan(folder: Path) -> None:
    """Remove the plan of a set whose shards are no longer those of a fixed list.

    ``hashkit encode --finish`` would look for the shards of the plan.
    """
    plan = folder / PLAN_NAME
    if plan.is_file():
        with contextlib.suppress(OSError):  # it is only needed to continue the list
            plan.unlink()
            shutil.rmtree(folder / SLICES_FOLDER)
