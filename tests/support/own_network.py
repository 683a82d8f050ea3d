"""A user's own network, to train in no time, or to stop: it stands still when told to."""

from __future__ import annotations

import time
from pathlib import Path

from torch import Tensor, nn

HOLD = Path("hold")
"""Training waits while there is such a file in the current folder, and a run's snapshot."""


class OwnNetwork(nn.Module):
    """One convolution, which takes no time: float [N, 3, H, W] to float [N, 8, H / 2, W / 2]."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 3, stride=2, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        while self.training and HOLD.exists() and any(Path("runs").glob("*/checkpoints/step-*")):
            time.sleep(0.005)
        maps: Tensor = self.convolution(images)
        return maps.relu()
