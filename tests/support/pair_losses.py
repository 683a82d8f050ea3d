"""Losses of pairs and triplets, with their oracles, and batches to try them on."""

from __future__ import annotations

import numpy as np
import oracles_losses_pairs as oracles
import torch

from hashkit.training.losses import Task, build_loss
from hashkit.training.losses.dch import DchLoss
from hashkit.training.losses.dpsh import DpshLoss
from hashkit.training.losses.dsh import DshLoss
from hashkit.training.losses.dtsh import DtshLoss
from hashkit.training.losses.hashnet import HashNetLoss
from hashkit.training.losses.multi_similarity import MultiSimilarityLoss
from hashkit.training.losses.supcon import SupConLoss

N_BITS = 5
CLASSES = 4

NAMES = {
    "dpsh": DpshLoss,
    "dtsh": DtshLoss,
    "dsh": DshLoss,
    "hashnet": HashNetLoss,
    "dch": DchLoss,
    "multi-similarity": MultiSimilarityLoss,
    "supcon": SupConLoss,
}

RELATIVE = ("multi-similarity", "supcon")
"""Losses that only order pairs by similarity: codes of a class may differ by a few bits."""

ABSOLUTE = tuple(name for name in NAMES if name not in RELATIVE)

SINGLE = torch.tensor([0, 1, 1, 2, 0, 1, 3])
UNLABELLED = torch.tensor([0, -1, 0, 1, -1, 1, -1])
MULTI = torch.tensor(
    [[1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 0], [0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]],
    dtype=torch.uint8,
)
LABELS = {"single": SINGLE, "unlabelled": UNLABELLED, "multi": MULTI}

# float64 against Python floats: sums of a few hundred terms of magnitude 1.
TOLERANCE = {"rel": 1e-12, "abs": 1e-13}


def random_logits(n_images, seed=0, spread=1.0):
    values = np.random.default_rng(seed).normal(0, spread, (n_images, N_BITS))
    return torch.tensor(values, dtype=torch.float64)


def task_of(targets, n_bits=N_BITS):
    return Task(n_bits, CLASSES, is_multi_label=targets.ndim == 2)


def build(name, targets, n_bits=N_BITS, **options):
    return build_loss(name, task_of(targets, n_bits), options)


# Options that differ from the defaults, and the oracle with the same options.
CASES = {
    "dpsh": ({"quantisation": 0.7}, lambda x, y: oracles.dpsh(x, y, 0.7)),
    "dtsh": (
        {"margin": 0.4, "quantisation": 0.7},
        lambda x, y: oracles.dtsh(x, oracles.triplets_of(y), 0.4, 0.7),
    ),
    "dsh": ({"margin": 6.0, "quantisation": 0.7}, lambda x, y: oracles.dsh(x, y, 6.0, 0.7)),
    "hashnet": ({"scale": 0.6}, lambda x, y: oracles.hashnet(x, y, 0.6, 1.0)),
    "dch": (
        {"scale": 2.5, "quantisation": 0.7},
        lambda x, y: oracles.dch(x, y, 2.5, 0.7, 0.01),
    ),
    "multi-similarity": (
        {"scale": 7.0, "margin": 0.2, "epsilon": 0.05, "quantisation": 0.7},
        lambda x, y: oracles.multi_similarity(x, y, (2.0, 7.0), 0.2, 0.05, 0.7),
    ),
    "supcon": (
        {"temperature": 0.4, "quantisation": 0.7},
        lambda x, y: oracles.supcon(x, y, 0.4, 0.7),
    ),
}

# The oracle with the default options.
DEFAULTS = {
    "dpsh": lambda x, y: oracles.dpsh(x, y, 0.1),
    "dtsh": lambda x, y: oracles.dtsh(x, oracles.triplets_of(y), N_BITS / 2, 0.2),
    "dsh": lambda x, y: oracles.dsh(x, y, 2 * N_BITS, 0.01),
    "hashnet": lambda x, y: oracles.hashnet(x, y, 10 / N_BITS, 1.0),
    "dch": lambda x, y: oracles.dch(x, y, 20.0, 0.1, 0.01),
    "multi-similarity": lambda x, y: oracles.multi_similarity(x, y, (2.0, 50.0), 0.5, 0.1, 0.1),
    "supcon": lambda x, y: oracles.supcon(x, y, 0.1, 0.1),
}
