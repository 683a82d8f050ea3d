"""Models that come with hashkit, by name, the same in every installation.

A model is a file of the package. Or it is made from such a file and the weights of another package,
when its name is first used.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from hashkit.files.cache import cache_folder
from hashkit.inputs.suggestions import did_you_mean
from hashkit.model_names import BUILTIN_SHA256, builtin_name

__all__ = [
    "BUILTIN_MODELS",
    "BuiltinModel",
    "advice_on_missing",
    "constant_bits_of",
    "made_folder",
    "model_path",
    "no_such_model",
    "shown_model",
]

_logger: Final = logging.getLogger(__name__)
_FOLDER: Final = Path(__file__).parent


@dataclasses.dataclass(frozen=True)
class BuiltinModel:
    """A model that comes with hashkit.

    Attributes
    ----------
    file
        Name of its file in this folder; with ``weights``, of the file in `made_folder`.
    sha256
        SHA-256 of the file, hexadecimal. It never changes, as banks name it: a new version of a
        model is a new entry.
    constant_bits
        Bits that have one value in nearly all images by definition, and are not reported.
    weights
        The network whose weights are added to the graph in this folder; empty if the file is whole.
    """

    file: str
    sha256: str
    constant_bits: frozenset[int] = frozenset()
    weights: str = ""

    @property
    def path(self) -> Path:
        """The model's file, which may not be made yet."""
        return (made_folder() if self.weights else _FOLDER) / self.file

    def make(self) -> None:
        """Make the file if it is not there; see `hashkit.runtimes.installed_weights.make_model`."""
        if self.weights:
            from hashkit.runtimes.installed_weights import make_model

            graph = (_FOLDER / self.file).with_suffix(".graph")
            make_model(graph, self.weights, self.path, self.sha256)


_BRIGHTNESS: Final = frozenset({0})
"""The first coefficient of a perceptual hash is the mean brightness, which is above the median."""

BUILTIN_MODELS: Final[dict[str, BuiltinModel]] = {
    "phash": BuiltinModel(
        "phash-v1.onnx",
        BUILTIN_SHA256["phash"],
        _BRIGHTNESS,
    ),
    "phash-256": BuiltinModel(
        "phash-256-v1.onnx",
        BUILTIN_SHA256["phash-256"],
        _BRIGHTNESS,
    ),
    "lite0": BuiltinModel(
        "lite0-v1.onnx",
        BUILTIN_SHA256["lite0"],
        weights="efficientnet-lite0",
    ),
    "lite0-256": BuiltinModel(
        "lite0-256-v1.onnx",
        BUILTIN_SHA256["lite0-256"],
        weights="efficientnet-lite0",
    ),
}
"""Built-in models by name."""


def model_path(
    model: str | os.PathLike[str], warn: Callable[[str], None] = _logger.warning
) -> Path:
    """The file of a model; one that is made from installed weights is made now.

    Parameters
    ----------
    model
        A name of `BUILTIN_MODELS` as text; anything else is a path, including ``./phash`` and
        every ``Path``.
    warn
        Called with a sentence if a name is also that of a file or folder here.

    Raises
    ------
    MissingExtraError
        If the package with the model's weights is not installed.
    ModelError
        If the model cannot be made.
    """
    known = BUILTIN_MODELS.get(model) if isinstance(model, str) else None
    if known is None:
        return Path(model)
    if os.path.lexists(model):
        warn(f"{model} is the built-in model: write ./{model} for the file or folder of that name")
    known.make()
    return known.path


def made_folder() -> Path:
    """Folder of the models that are made."""
    return cache_folder() / "models"


def constant_bits_of(sha256: str) -> frozenset[int]:
    """Bits that are constant by definition in the codes of a model; none if it is not built in."""
    name = builtin_name(sha256)
    return frozenset() if name is None else BUILTIN_MODELS[name].constant_bits


def shown_model(path: Path) -> str:
    """A model's path for notes: the name if it is built in."""
    names = {one.path: name for name, one in BUILTIN_MODELS.items()}
    return names.get(path, str(path))


def no_such_model(path: Path) -> str:
    """The message about a model that is missing."""
    return f"{path}: there is no such model file: {advice_on_missing(path)}"


def advice_on_missing(path: Path) -> str:
    """The advice of a message about a path that is missing and may be meant for a model."""
    if str(path) in BUILTIN_MODELS:  # ./phash, or a Path of that name
        return f"a path is a file; the built-in model is the name {path} alone, in Python a text"
    hint = did_you_mean(str(path), BUILTIN_MODELS)
    known = ", ".join(BUILTIN_MODELS)
    return f"check the path, or name a built-in model: {known}{f'; {hint}' if hint else ''}"
