"""A user's own network: small and fast, and it can be paused by a file."""

from __future__ import annotations

import time
from pathlib import Path

from torch import Tensor, nn

HOLD = Path("hold")
"""Training waits while this file and a snapshot of a run exist in the current folder."""


class OwnNetwork(nn.Module):
    """One convolution: float [N, 3, H, W] -> float [N, 8, H / 2, W / 2]."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 3, stride=2, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        while self.training and HOLD.exists() and any(Path("runs").glob("*/checkpoints/step-*")):
            time.sleep(0.005)
        maps: Tensor = self.convolution(images)
        return maps.relu()
