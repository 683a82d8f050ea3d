"""The network of a run on frozen features: none, and a head with an optional hidden layer."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from hashkit.training.networks.base import Network

__all__ = ["FeatureHead", "FrozenFeatures"]


class FrozenFeatures(Network):
    """Features that an embedder has computed: float [N, n_features] -> the same.

    Parameters
    ----------
    n_features
        Numbers per image.
    hidden
        Units of the hidden layer of each head; 0 for linear heads.
    dropout
        Fraction of the hidden units (of the features, in a linear head) that is dropped.
    """

    def __init__(self, n_features: int, *, hidden: int = 0, dropout: float = 0.0) -> None:
        super().__init__()
        self.n_features = n_features
        self.hidden = hidden
        self.dropout = dropout
        self.features = nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        """The features themselves."""
        kept: Tensor = self.features(features)
        return kept

    def stages(self) -> Sequence[nn.Module]:
        """One, without weights."""
        return [self.features]

    def new_head(self, n_bits: int) -> nn.Module:
        """New head with random weights: float [N, n_features] -> logits, float [N, n_bits]."""
        return FeatureHead(self.n_features, n_bits, hidden=self.hidden, dropout=self.dropout)


class FeatureHead(nn.Module):
    """A linear map, or two with batch normalisation, ReLU and dropout between them.

    Shapes: float [N, n_features] -> float [N, n_bits]. `hashkit.features.head.head_from_tensors`
    reads its tensors by name.
    """

    def __init__(self, n_features: int, n_bits: int, *, hidden: int, dropout: float) -> None:
        super().__init__()
        self.hidden = nn.Linear(n_features, hidden) if hidden else None
        self.norm = nn.BatchNorm1d(hidden) if hidden else None
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(hidden or n_features, n_bits)

    def forward(self, features: Tensor) -> Tensor:
        """Logits of features."""
        values = features
        if self.hidden is not None and self.norm is not None:
            values = nn.functional.relu(self.norm(self.hidden(values)))
        logits: Tensor = self.linear(self.dropout(values))
        return logits
