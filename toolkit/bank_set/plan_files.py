"""The plan by which the shards of a set were made, when it no longer describes them."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Final

__all__ = ["PLAN_FILES", "remove_plan"]

PLAN_FILES: Final = ("plan.json", "slices")
"""Those of `hashkit.datasets.slices`: the plan, and the folder with the images of each shard."""


def remove_plan(folder: Path) -> None:
    """Remove the plan of a set whose shards are no longer those of a fixed list.

    ``hashkit encode --finish`` would look for the shards of the plan.
    """
    plan, slices = (folder / name for name in PLAN_FILES)
    if plan.is_file():
        with contextlib.suppress(OSError):  # it is only of use to go on with the list
            plan.unlink()
            shutil.rmtree(slices)
