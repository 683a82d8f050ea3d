"""Runs of Weights & Biases, written to the run's folder and sent only if the user asks for it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import Any

__all__ = ["WandbLogger"]


class WandbLogger:
    """Writes a run of Weights & Biases in ``wandb``, in the run's folder.

    Nothing is sent unless ``mode`` or the environment's ``WANDB_MODE`` is ``online``; ``wandb
    sync`` sends it later. A resumed training continues the same run.

    Parameters
    ----------
    project
        Name of the project; None for the environment's ``WANDB_PROJECT``, or ``hashkit``.
    mode
        ``offline`` or ``online``; None for the environment's ``WANDB_MODE``, or ``offline``.
    """

    def __init__(self, project: str | None = None, mode: str | None = None) -> None:
        self.project = project
        self.mode = mode
        self._run: Any = None

    def start(self, config: Mapping[str, Any]) -> None:
        """Begin the run, or continue it."""
        mode = self.mode or os.environ.get("WANDB_MODE", "offline")
        if mode != "online":
            # wandb would also send reports of its own errors; it reads this when it is imported.
            os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        # The id is made from what never changes in a run, so that a resumed training continues it.
        key = f"{config['name']} {config['created']}"
        self._run = wandb.init(
            project=self.project or os.environ.get("WANDB_PROJECT", "hashkit"),
            name=config["name"],
            id=hashlib.blake2b(key.encode(), digest_size=8).hexdigest(),
            resume="allow",
            mode=mode,
            dir=config["path"],
            config=dict(config),
            settings=wandb.Settings(console="off"),  # the terminal's output stays as it is
        )
        # wandb drops values of steps before the last one, and a resumed training repeats steps.
        self._run.define_metric("*", step_metric="step")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Log the values with their step."""
        self._run.log({**values, "step": step})

    def finish(self) -> None:
        """End the run."""
        self._run.finish()
