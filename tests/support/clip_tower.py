"""A small image tower like CLIP's: patches, class token, transformer, projection.

Radford et al., *Learning Transferable Visual Models From Natural Language Supervision*, ICML 2021
(arXiv 2103.00020), section 2.4 and figure 3.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["ClipTower"]


class ClipTower(nn.Module):
    """Normalised images, float [N, 3, size, size] -> tokens [N, T, width] and features [N, 32]."""

    def __init__(self, size: int = 64, width: int = 48, n_layers: int = 2) -> None:
        super().__init__()
        n_tokens = (size // 16) ** 2 + 1
        self.patches = nn.Conv2d(3, width, 16, stride=16, bias=False)
        self.class_token = nn.Parameter(torch.randn(width))
        self.positions = nn.Parameter(torch.randn(n_tokens, width) / 4)
        self.before = nn.LayerNorm(width)
        self.blocks = nn.ModuleList(_Block(width) for _ in range(n_layers))
        self.after = nn.LayerNorm(width)
        self.projection = nn.Parameter(torch.randn(width, 32) / width**0.5)

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens and features."""
        tokens = self.patches(pixel_values).flatten(2).transpose(1, 2)
        first = self.class_token.expand(tokens.shape[0], 1, -1)
        tokens = self.before(torch.cat([first, tokens], dim=1) + self.positions)
        for block in self.blocks:
            tokens = block(tokens)
        return tokens, self.after(tokens[:, 0]) @ self.projection


class _Block(nn.Module):
    """Attention and a perceptron with the activation that CLIP uses."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.attention = nn.MultiheadAttention(width, 4, batch_first=True)
        self.inner = nn.Linear(width, 4 * width)
        self.outer = nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        normed = self.norms[0](tokens)
        tokens = tokens + self.attention(normed, normed, normed, need_weights=False)[0]
        inner = self.inner(self.norms[1](tokens))
        result: Tensor = tokens + self.outer(inner * torch.sigmoid(1.702 * inner))
        return result
