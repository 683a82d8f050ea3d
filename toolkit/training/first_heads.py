"""First weights of heads on frozen features: those of iterative quantisation.

A head that starts at random learns the classes it is trained on. One that starts as ITQ already
keeps the directions in which images differ most, and a short training with a small learning rate
changes it little for classes that it never sees.
"""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray

from hashkit.features.fitting import fit_head
from hashkit.training.model import HashModel
from hashkit.training.networks.features import FeatureHead

__all__ = ["start_from_itq"]


@torch.no_grad()
def start_from_itq(model: HashModel, features: NDArray[Any], seed: int) -> None:
    """Give linear heads the weights of ITQ, fitted to features of the training images.

    Parameters
    ----------
    model
        A model on frozen features, whose heads have no hidden layer.
    features
        float32 [n, n_features], as the embedder gives them.
    seed
        Seed of ITQ's first rotation.

    Raises
    ------
    ConfigError
        If the features vary along fewer directions than a code has bits.
    """
    for head in model.heads:
        assert isinstance(head, FeatureHead)  # noqa: S101 - by the settings
        fitted = fit_head("itq", features, head.linear.out_features, seed)
        weight = torch.from_numpy(fitted["heads.0.linear.weight"])
        # The head sees (features - mean) / std of the model.
        head.linear.weight.copy_(weight * model.std)
        head.linear.bias.copy_(weight @ (model.mean - torch.from_numpy(fitted["mean"])))
