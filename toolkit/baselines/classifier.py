"""Codes that name the class predicted by a linear classifier.

Sablayrolles, Douze, Usunier & Jegou, "How should we evaluate supervised hashing?", ICASSP 2017
(arXiv 1609.06753): if the classes of the queries were in the training set, a code that only names
the predicted class retrieves as well as most learned codes.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hashkit.baselines.model import Features, check_features
from hashkit.codes import code_size, pack, unpack
from hashkit.errors import ConfigError, MissingExtraError

__all__ = ["ClassCodes", "fit_classifier"]

_MOST_ITERATIONS: Final = 2000


@dataclasses.dataclass(frozen=True, eq=False)
class ClassCodes:
    """A linear softmax classifier; bit j of a code is 1 if the j-th class is predicted, else 0.

    Two codes are at distance 0 if the predicted classes are the same, and 2 if not, so a ranking
    is two groups of ties.

    Attributes
    ----------
    mean, scale
        float32 [n_dimensions]; features are standardised as ``(features - mean) / scale``.
    weights, biases
        float32 [n_dimensions, n_classes] and [n_classes].
    classes
        int64 [n_classes], the labels seen in training, ascending.
    """

    mean: Features
    scale: Features
    weights: Features
    biases: Features
    classes: NDArray[np.int64]

    @property
    def n_bits(self) -> int:
        """Code length, which is the number of classes."""
        return len(self.classes)

    def encode(self, features: Features) -> NDArray[np.uint8]:
        """Packed codes, uint8 [n, ceil(n_classes / 8)]; the first class wins a tie of scores."""
        scores = (features - self.mean) / self.scale @ self.weights + self.biases
        return pack(scores.argmax(axis=1)[:, None] == np.arange(self.n_bits))

    def labels_of(self, codes: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Predicted labels, int64 [n], of codes of this model."""
        labels: NDArray[np.int64] = self.classes[unpack(codes, self.n_bits).argmax(axis=1)]
        return labels


def fit_classifier(
    features: Features, labels: NDArray[Any] | None, n_bits: int, seed: int
) -> ClassCodes:
    """Multinomial logistic regression on standardised features, with scikit-learn's penalty of 1.

    Parameters
    ----------
    features
        float32 [n, n_dimensions].
    labels
        int [n]; rows with a negative label are left out.
    n_bits
        Not used: a code has as many bits as there are classes.
    seed
        Not used: the fit has one solution.

    Raises
    ------
    ConfigError
        If there is not one label per image, or there are fewer than two classes.
    MissingExtraError
        If scikit-learn is not installed.
    """
    del n_bits, seed
    features, labels = _labelled(check_features(features), labels)
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError:
        raise MissingExtraError("scikit-learn", "train", "the classifier baseline") from None
    mean = features.mean(axis=0, dtype=np.float64).astype(np.float32)
    spread = features.std(axis=0, dtype=np.float64).astype(np.float32)
    scale = np.where(spread > 0, spread, np.float32(1))
    regression = LogisticRegression(max_iter=_MOST_ITERATIONS)
    regression.fit((features - mean) / scale, labels)
    weights, biases = regression.coef_.T, regression.intercept_
    if len(regression.classes_) == 2:  # scikit-learn gives only the score of the second class
        weights, biases = weights * [[0, 1]], biases * [0, 1]
    return ClassCodes(
        mean,
        scale,
        weights.astype(np.float32),
        biases.astype(np.float32),
        regression.classes_.astype(np.int64),
    )


def _labelled(
    features: Features, labels: NDArray[Any] | None
) -> tuple[Features, NDArray[np.int64]]:
    if labels is None or labels.ndim != 1 or len(labels) != len(features):
        found = "no labels" if labels is None else f"labels {list(labels.shape)}"
        raise ConfigError(
            f"a classifier needs one label for each of {len(features)} training images, "
            f"found {found}"
        )
    has_label = labels >= 0
    n_classes = len(np.unique(labels[has_label]))
    if n_classes < 2:
        raise ConfigError(
            f"a classifier needs training images of at least two classes, found {n_classes}"
        )
    code_size(n_classes)
    return features[has_label], labels[has_label].astype(np.int64)
