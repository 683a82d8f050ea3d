"""A small network with convolutions between its first and last layer, which int8 needs."""

from __future__ import annotations

from torch import Tensor, nn


class ThreeConvolutions(nn.Sequential):
    """Float [N, 3, H, W] -> float [N, 8, H / 2, W / 2]."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(3, 8, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, padding=1),
            nn.ReLU(),
        )

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = super().forward(images)
        return maps
