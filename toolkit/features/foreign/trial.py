"""Runs an embedder on a few pictures, to see that it can be used."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hashkit.errors import ModelError
from hashkit.features.embedder import FEATURE, IMAGE
from hashkit.messages.foreign_errors import foreign_message
from hashkit.runtimes.backends.onnxruntime_session import create_session
from hashkit.threads import check_threads

__all__ = ["TrialInput", "check_features", "open_graph", "pictures", "run_graph"]

_N_PICTURES: Final = 5
_LARGEST_DRAWN: Final = 160
_BATCHES: Final = (2, _N_PICTURES)

_CPU: Final = "CPUExecutionProvider"
_SILENT: Final = 4

_ROUNDING: Final = {False: 1e-5, True: 2e-3}
"""Differences between batch sizes, relative to the largest feature; by whether it is float16."""
_SHARE: Final = 0.01
"""Differences between batch sizes, relative to those between pictures."""
_EXPORT: Final = (
    "export it with a dynamic first axis, in torch with "
    "torch.onnx.export(..., dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))"
)
_NEGLIGIBLE: Final = 1e-6
"""Differences between pictures that count as none, relative to the largest feature."""


@dataclasses.dataclass(frozen=True)
class TrialInput:
    """Facts about an embedder's input.

    Attributes
    ----------
    path
        The file, for messages.
    size
        (height, width) in pixels.
    is_half
        Whether the network computes in float16.
    fixed_batch
        Number of images that the file was exported for; None for any.
    """

    path: Path
    size: tuple[int, int]
    is_half: bool
    fixed_batch: int | None

    def count_fault(self, reason: str) -> ModelError:
        """The error that the network does not take any number of images."""
        found = (
            "one whose shapes hold a fixed number"
            if self.fixed_batch is None
            else f"a fixed batch of {self.fixed_batch} that cannot be made dynamic"
        )
        return ModelError(
            f"{self.path}: expected a network for any number of images, found {found} ({reason}): "
            f"{_EXPORT}"
        )

    def mixing_fault(self, reason: str) -> ModelError:
        """The error that an image's features depend on the other images of a batch."""
        if self.fixed_batch is not None:
            return self.count_fault(reason)
        return ModelError(
            f"{self.path}: expected features that depend on one image, found a network that mixes "
            f"those of a batch ({reason}): export the network in evaluation mode, without dynamic "
            "quantisation"
        )


def pictures(size: tuple[int, int]) -> NDArray[np.uint8]:
    """Five pictures with smooth colours, edges and texture, uint8 [5, height, width, 3]; no noise.

    Their spectrum falls with the frequency, as that of photographs does.
    """
    sides = tuple(min(side, _LARGEST_DRAWN) for side in size)
    drawn = np.stack([_drawn_picture(sides, number) for number in range(_N_PICTURES)])
    rows, columns = (np.arange(side) * few // side for side, few in zip(size, sides, strict=True))
    return np.asarray(drawn[:, rows][:, :, columns])


def _drawn_picture(size: tuple[int, ...], number: int) -> NDArray[np.uint8]:
    down, across = np.meshgrid(*(np.linspace(0, 1, side) for side in size), indexing="ij")
    rng = np.random.default_rng(number)
    image = np.full((*size, 3), rng.uniform(70, 180, 3))
    for frequency in (1, 2, 3, 5, 8, 13, 21):
        fy, fx, phase = rng.normal(0, frequency), rng.normal(0, frequency), rng.uniform(0, 6)
        wave = np.cos(6.28 * (fy * down + fx * across) + phase)[..., None]
        image += wave * rng.normal(0, 50, 3) / frequency
    for _ in range(6):
        y, x, radius = rng.uniform(0, 1), rng.uniform(0, 1), rng.uniform(0.05, 0.3)
        inside = np.maximum(abs(down - y), abs(across - x) * rng.uniform(0.5, 2)) < radius
        image[inside] = 0.4 * image[inside] + rng.uniform(0, 150, 3)
    clipped: NDArray[np.uint8] = np.clip(image, 0, 255).astype(np.uint8)
    return clipped


def open_graph(graph: bytes, path: Path) -> Any:
    """Load a graph in ONNX Runtime on the CPU.

    Raises
    ------
    ModelError
        If it cannot be loaded.
    """
    try:
        return create_session(graph, _CPU, {}, check_threads(None, "n_threads"), _SILENT)
    except Exception as error:
        raise ModelError(
            f"{path}: expected a graph that ONNX Runtime runs, found a fault "
            f"({foreign_message(error)}): export the model again, with operators of ONNX alone"
        ) from None


def run_graph(session: Any, inputs: Mapping[str, NDArray[Any]], path: Path) -> list[NDArray[Any]]:
    """All outputs of a graph.

    Raises
    ------
    ModelError
        If it fails.
    """
    try:
        return [np.asarray(value) for value in session.run(None, dict(inputs))]
    except Exception as error:
        (images,) = inputs.values()
        raise ModelError(
            f"{path}: expected a network that runs on an input {list(images.shape)}, found a fault "
            f"({foreign_message(error)}): choose another `size` or `layout`, or export it again"
        ) from None


def check_features(session: Any, n_features: int, input_: TrialInput) -> None:
    """Check the features of some pictures.

    Parameters
    ----------
    session
        The embedder, loaded.

    Raises
    ------
    ModelError
        If they have another shape, are not finite, are the same for all pictures, change from one
        call to the next, or depend on the other pictures of a batch.
    """
    images, path = pictures(input_.size), input_.path
    alone = np.concatenate(
        [_features(session, image[None], n_features, input_) for image in images]
    )
    spread = _check_values(alone, path)
    again = _features(session, images[:1], n_features, input_)
    if not np.array_equal(again, alone[:1]):
        raise ModelError(
            f"{path}: expected the same features for the same picture, found a difference of "
            f"{np.abs(again - alone[:1]).max():.2g}: export the network in evaluation mode"
        )
    allowed = max(_ROUNDING[input_.is_half] * float(np.abs(alone).max()), _SHARE * spread)
    for n_images in _BATCHES:
        together = _features(session, images[:n_images], n_features, input_)
        difference = float(np.abs(together - alone[:n_images]).max())
        if not difference <= allowed:
            raise input_.mixing_fault(
                f"features change by {difference:.2g} in a batch of {n_images}, where pictures "
                f"differ by {spread:.2g}"
            )


def _check_values(features: NDArray[np.float64], path: Path) -> float:
    """Check features [n, n_features] of different pictures; return the largest difference."""
    if not np.isfinite(features).all():
        n_wrong = int((~np.isfinite(features)).sum())
        raise ModelError(
            f"{path}: expected finite features, found NaN or infinite ones ({n_wrong:,} of "
            f"{features.size:,} on pictures): export the network in fp32, and check its weights"
        )
    spread = float(np.ptp(features, axis=0).max())
    if spread <= _NEGLIGIBLE * float(np.abs(features).max()):
        raise ModelError(
            f"{path}: expected features that tell pictures apart, found the same for "
            f"{len(features)} different ones: check its weights and `output`"
        )
    return spread


def _features(
    session: Any, images: NDArray[np.uint8], n_features: int, input_: TrialInput
) -> NDArray[np.float64]:
    try:
        (found,) = run_graph(session, {IMAGE: images}, input_.path)
    except ModelError as error:  # it ran on another number of images before
        raise input_.count_fault(f"it fails on {len(images)} of them") from error
    if found.shape != (len(images), n_features):
        raise input_.count_fault(
            f"{FEATURE} is {list(found.shape)} for {len(images)} images, not "
            f"{[len(images), n_features]}"
        )
    return found.astype(np.float64)  # differences of float32 may overflow
