"""Distillation of similarities: codes that are as similar as the features of a frozen network.

Tung and Mori, *Similarity-Preserving Knowledge Distillation*, ICCV 2019 (arXiv 1907.09682): the
student's similarities of the images of a batch follow the teacher's. The paper compares inner
products, each row divided by its norm; here both are cosines, of the relaxed codes h = tanh(u) of
logits u and of the features f minus their mean over the training set::

    mean over pairs i != j((cos(h_i, h_j) - cos(f_i, f_j))^2)
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hashkit.training.losses.binary import relaxed_cosines
from hashkit.training.losses.classification import mean_over

__all__ = ["relational_distance"]


def relational_distance(logits: Tensor, features: Tensor) -> Tensor:
    """Mean squared difference between the cosines of codes and those of features; 0 for one image.

    Parameters
    ----------
    logits
        float [B, n_bits].
    features
        float [B, n_features], centred.
    """
    directions = F.normalize(features.detach(), dim=1)
    differences = relaxed_cosines(logits) - directions @ directions.T
    others = ~torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    return mean_over(differences.square(), others)
