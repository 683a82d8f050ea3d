"""Baseline hashing methods to compare a trained network with: from features to codes, in NumPy.

Each method is fitted on the features of training images, ``fit(features, labels, n_bits, seed)``,
and returns a `BaselineModel` that encodes the features of any images. To add a method, add a file
here and an entry to `METHODS`.
"""

from __future__ import annotations

from hashkit.baselines.classifier import ClassCodes, fit_classifier
from hashkit.baselines.itq import fit_itq
from hashkit.baselines.lsh import fit_lsh
from hashkit.baselines.model import BaselineModel, Features, Fit, LinearHash
from hashkit.baselines.pcah import fit_pcah
from hashkit.baselines.random_codes import RandomCodes, fit_random
from hashkit.baselines.spectral import SpectralHash, fit_spectral
from hashkit.errors import ConfigError

__all__ = [
    "METHODS",
    "BaselineModel",
    "ClassCodes",
    "Features",
    "Fit",
    "LinearHash",
    "RandomCodes",
    "SpectralHash",
    "method_named",
]

METHODS: dict[str, Fit] = {
    "classifier": fit_classifier,
    "itq": fit_itq,
    "pcah": fit_pcah,
    "lsh": fit_lsh,
    "sh": fit_spectral,
    "random": fit_random,
}
"""Methods by name."""


def method_named(name: str) -> Fit:
    """The method named ``name``.

    Raises
    ------
    ConfigError
        If there is no method of that name.
    """
    if name not in METHODS:
        raise ConfigError(f"unknown baseline {name!r}; known: {', '.join(METHODS)}")
    return METHODS[name]
