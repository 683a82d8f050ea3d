"""Labels of unlabelled images, by the codes of a teacher.

Self-training: a model that learned from the labelled images labels the others, and another model
learns from both (Lee, *Pseudo-Label: The Simple and Efficient Semi-Supervised Learning Method for
Deep Neural Networks*, ICML 2013 workshop; Xie et al., *Self-training with Noisy Student improves
ImageNet classification*, CVPR 2020, arXiv 1911.04252). Here the codes themselves say the class.
Each class has a code, the majority of its labelled images' bits, and an image is of the class
whose code is nearest. By how much the next class's is farther tells how sure that is, and only
the surest images are learned from.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashkit.codes import pack, unpack
from hashkit.errors import ConfigError
from hashkit.hamming import distances

__all__ = ["PseudoLabels", "class_codes", "guess_labels"]


@dataclasses.dataclass(frozen=True, eq=False)
class PseudoLabels:
    """The surest labels of some images.

    Attributes
    ----------
    rows
        int64 [n], sorted: which images have one.
    labels
        int64 [n].
    margins
        int64 [n], bits, 1 or more: how much farther the code of the next class is.
    """

    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    margins: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)


def class_codes(
    codes: NDArray[np.uint8], n_bits: int, labels: NDArray[np.integer[Any]]
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """The code of each class: each bit is 1 where it is in more than half of the class's codes.

    Parameters
    ----------
    codes
        Packed, uint8 [n, ceil(n_bits / 8)].
    labels
        Integer [n], 0 or more.

    Returns
    -------
    tuple
        The classes there are, int64 [n_classes], ascending, and their codes, packed.
    """
    classes = np.unique(labels).astype(np.int64)
    bits = unpack(codes, n_bits)
    shares = np.stack([bits[labels == label].mean(axis=0) for label in classes])
    return classes, pack(shares > 0.5)


def guess_labels(
    codes: NDArray[np.uint8],
    classes: NDArray[np.int64],
    codes_of_classes: NDArray[np.uint8],
    share: float,
) -> PseudoLabels:
    """Label images by the nearest class code, and keep the surest.

    Parameters
    ----------
    codes
        Packed, uint8 [n, size], of the images.
    classes, codes_of_classes
        See `class_codes`.
    share
        Of the images, in (0, 1], that is kept, those of the largest margins. Images of the margin
        that decides are all kept, so the choice depends on no order; images that are as near to
        a second class are not kept.

    Raises
    ------
    ConfigError
        If there are fewer than two classes or no images, or none has a nearest class.
    """
    if len(classes) < 2:
        raise ConfigError(
            f"pseudo-labels need labelled images of two or more classes, found {len(classes)}"
        )
    if not len(codes):
        raise ConfigError(
            "there is no unlabelled image to learn from: all of the database is training images; "
            "choose a protocol, or --training-per-class, that leaves some"
        )
    to_classes = distances(codes, codes_of_classes).astype(np.int64)
    nearest = to_classes.argmin(axis=1)
    two = np.partition(to_classes, 1, axis=1)
    margins = two[:, 1] - two[:, 0]
    n_kept = max(1, round(share * len(margins)))
    least = max(1, int(np.partition(margins, -n_kept)[-n_kept]))
    rows = np.flatnonzero(margins >= least)
    if not len(rows):
        raise ConfigError(
            "the teacher's codes are as near to one class as to another for all unlabelled "
            "images: train a better teacher"
        )
    return PseudoLabels(rows, classes[nearest[rows]], margins[rows])
