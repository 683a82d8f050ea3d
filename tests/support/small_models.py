"""Small networks and ONNX graphs for the tests of export, runtimes and encoding."""

from __future__ import annotations

import numpy as np
import torch
from linear_models import linear_model, linear_weights
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_image
from torch import Tensor, nn

__all__ = ["TinyHash", "linear_model", "linear_weights", "photographs"]


class TinyHash(nn.Module):
    """Layers that exporters often get wrong: ceil-mode pools, grouped 1x1, dropout, batch norm.

    Shapes: uint8 [N, H, W, 3] -> float32 [N, n_bits].
    """

    def __init__(self, n_bits: int, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.features = nn.Sequential(
                nn.Conv2d(3, 8, 3, padding=1),
                nn.BatchNorm2d(8),
                nn.ReLU(),
                nn.MaxPool2d(3, stride=2, ceil_mode=True),
                nn.Dropout(0.5),
                nn.AvgPool2d(3, stride=2, ceil_mode=True),
                nn.Conv2d(8, 2 * n_bits, 1),
                nn.AdaptiveAvgPool2d(1),
                nn.Conv2d(2 * n_bits, n_bits, 1, groups=n_bits),
                nn.Flatten(),
            )
            norm = self.features[1]
            nn.init.uniform_(norm.running_mean, -0.5, 0.5)
            nn.init.uniform_(norm.running_var, 0.5, 2.0)

    def forward(self, images: Tensor) -> Tensor:
        pixels = images.permute(0, 3, 1, 2).to(torch.float32)
        logits: Tensor = self.features(pixels / 64 - 2)
        return logits

    def centre(self, images: NDArray[np.uint8]) -> TinyHash:
        """Set the biases so that each logit has mean 0 over ``images``, for bits of both values."""
        self.eval()
        with torch.no_grad():
            self.features[8].bias -= self(torch.from_numpy(images)).mean(dim=0)
        return self


def photographs(n_images: int, height: int, width: int) -> NDArray[np.uint8]:
    """Crops of the two photographs that come with scikit-learn, uint8 [n, height, width, 3]."""
    photos = [Image.fromarray(load_sample_image(name)) for name in ("china.jpg", "flower.jpg")]
    rng = np.random.default_rng(0)
    crops = []
    for number in range(n_images):
        photo = photos[number % 2]
        side = int(rng.integers(48, 200))
        left, top = rng.integers(0, photo.width - side), rng.integers(0, photo.height - side)
        crop = photo.crop((left, top, left + side, top + side)).resize((width, height))
        crops.append(np.asarray(crop))
    return np.stack(crops)
