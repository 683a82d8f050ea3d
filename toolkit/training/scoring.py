"""The model as it is saved and exported: its statistics, and its score on held-out images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hashkit.training.batches import BatchSource
from hashkit.training.data import TrainingData
from hashkit.training.devices import repeatable_kernels, to_device
from hashkit.training.model import HashModel
from hashkit.training.selection import held_out_score, reference_rows
from hashkit.training.statistics import LAYER_IMAGES, refresh_layers, refresh_standardisation

__all__ = ["Scorer"]


class Scorer:
    """Prepares a model to be saved, and scores it; both leave it in evaluation mode.

    Parameters
    ----------
    model
        The model that is trained.
    data
        Training data.
    batches
        Images of its rows.
    device
        Device of the model.

    Attributes
    ----------
    fixed_features
        Features of all images, if training does not change them.
    """

    def __init__(
        self, model: HashModel, data: TrainingData, batches: BatchSource, device: torch.device
    ) -> None:
        self.fixed_features: Tensor | None = None
        self._model = model
        self._data = data
        self._batches = batches
        self._device = device
        self._rows = reference_rows(data)
        self._logits: NDArray[np.float32] | None = None

    def forget(self) -> None:
        """Note that the weights have changed."""
        self._logits = None

    def refresh(self, n_images: int | None = None) -> None:
        """Compute the model's statistics again, over evenly spaced images that it is trained on.

        Parameters
        ----------
        n_images
            Largest number of images; None for all of `reference_rows`. If all were used since the
            weights changed last, nothing is done.
        """
        self._model.eval()
        if self._logits is not None:
            return
        rows = _evenly_spaced(self._rows, n_images or len(self._rows))
        with repeatable_kernels(self._device):
            refresh_layers(self._model, self._outputs, _evenly_spaced(rows, LAYER_IMAGES))
            logits = refresh_standardisation(self._model, self._outputs, rows)
        self._logits = logits if n_images is None else None

    def score(self, lengths: Sequence[int]) -> float:
        """Score of the model on the held-out images, see `held_out_score`."""
        self.refresh()
        with repeatable_kernels(self._device):
            return held_out_score(self._encode, self._data, lengths)

    @torch.inference_mode()
    def _encode(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Logits of training images without augmentation, as the exported model gives them."""
        if self._logits is not None and np.isin(rows, self._rows).all():
            return self._logits[np.searchsorted(self._rows, rows)]
        logits: NDArray[np.float32] = self._model.standardised(self._outputs(rows)).cpu().numpy()
        return logits

    def _outputs(self, rows: NDArray[np.int64]) -> list[Tensor]:
        if self.fixed_features is None:
            return self._model.unstandardised(self._batches.images(rows))
        # The features are fixed only if images are not mirrored.
        chosen = to_device(torch.from_numpy(rows), self._device)
        return self._model.head_outputs(self.fixed_features[chosen])


def _evenly_spaced(rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """At most ``most`` evenly spaced rows."""
    return rows[:: -(-len(rows) // most)]
