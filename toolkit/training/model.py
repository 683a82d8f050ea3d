"""The model that is trained, saved and exported: normalisation, network and heads in one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hashkit.errors import ConfigError
from hashkit.messages.foreign_errors import foreign_message
from hashkit.runs.config import TrainConfig
from hashkit.training.augment import choose_augmentation
from hashkit.training.networks import InputRule, Network, build_network
from hashkit.training.networks.features import FrozenFeatures

__all__ = ["HashModel", "input_statistics", "new_model"]


class HashModel(nn.Module):
    """Map from images to logits.

    Shapes: uint8 [N, height, width, 3] (RGB) -> float32 [N, n_bits]. A model of several code
    lengths has one head per length; their logits are concatenated.

    Parameters
    ----------
    network
        Map from images, float [N, 3, height, width], to features.
    lengths
        Bits per code, one number per head.
    size
        (height, width), pixels.
    mean
        float32 [3, 1, 1], or [3, height, width] for a mean image; in pixel values 0..255. For the
        features of an embedder, which then take the place of the images, float32 [n_features].
    std
        float32 [3, 1, 1], in pixel values 0..255; float32 [n_features] for features.
    standardise
        Whether each logit is standardised to mean 0 and variance 1 over the batch (over the
        training set in evaluation mode, see `hashkit.training.statistics`), so that each bit is 1
        about half of the time. A ranking loss does not keep logits small or different between
        images: in longer runs they drift into the flat ends of the sigmoid together, and only a few
        distinct codes remain.
    mirror
        Whether, in evaluation mode, the logits of an image are the mean over the image and its
        mirror image (left to right). Both then have the same code; encoding takes twice the work.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: Network,
        *,
        lengths: Sequence[int],
        size: tuple[int, int],
        mean: Tensor,
        std: Tensor,
        standardise: bool,
        mirror: bool = False,
    ) -> None:
        super().__init__()
        self.mirror = mirror
        self.network = network
        self.lengths = tuple(lengths)
        self.n_bits = sum(lengths)
        self.height, self.width = size
        self.heads = nn.ModuleList(network.new_head(n_bits) for n_bits in lengths)
        self.standardise = nn.ModuleList(
            nn.BatchNorm1d(n_bits, affine=False) if standardise else nn.Identity()
            for n_bits in lengths
        )
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self._frozen: list[nn.Module] = []

    @property
    def is_standardised(self) -> bool:
        """Whether logits have mean 0 and variance 1 over the training set."""
        return not any(isinstance(layer, nn.Identity) for layer in self.standardise)

    def freeze(self, n_stages: int) -> None:
        """Exclude the network's first stages from training; -1 for all of them.

        Raises
        ------
        ConfigError
            If the network has fewer stages.
        """
        stages = self.network.stages()
        if n_stages > len(stages):
            raise ConfigError(
                f"`freeze` must be at most {len(stages)}, the number of stages of this network, "
                f"not {n_stages}"
            )
        self._frozen = list(stages[: len(stages) if n_stages < 0 else n_stages])
        for stage in self._frozen:
            stage.requires_grad_(requires_grad=False)

    @property
    def has_fixed_features(self) -> bool:
        """Whether only the heads are trained."""
        return bool(self._frozen) and len(self._frozen) == len(self.network.stages())

    def train(self, mode: bool = True) -> Self:
        """Set the mode; frozen stages stay in evaluation mode, so their statistics are fixed."""
        super().train(mode)
        for stage in self._frozen:
            stage.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Logits of images."""
        return self.standardised(self.unstandardised(images))

    def unstandardised(self, images: Tensor) -> list[Tensor]:
        """What the heads compute from images, float [N, n_bits] each, before it is standardised."""
        if self.training or not self.mirror:
            return self.head_outputs(self.features(images))
        # One batch for both, so that the exported graph contains the network once.
        both = self.head_outputs(self.features(torch.cat([images, images.flip(2)])))
        return [part.reshape(2, -1, part.shape[1]).mean(0) for part in both]

    def features(self, images: Tensor) -> Tensor:
        """Output of the network for images, uint8 [N, height, width, 3].

        Returns float [N, n_features, h, w] or float [N, n_features].
        """
        features: Tensor = self.network(self._normalised(images))
        return features

    def logits(self, features: Tensor) -> Tensor:
        """Logits of features: float32 [N, n_bits]."""
        return self.standardised(self.head_outputs(features))

    def head_outputs(self, features: Tensor) -> list[Tensor]:
        """What the heads compute from features, float [N, n_bits] each."""
        return [head(features) for head in self.heads]

    def standardised(self, parts: Sequence[Tensor]) -> Tensor:
        """Logits, float32 [N, n_bits], from what the heads compute."""
        logits = [layer(part) for layer, part in zip(self.standardise, parts, strict=True)]
        return (logits[0] if len(logits) == 1 else torch.cat(logits, dim=1)).to(torch.float32)

    def calibrate(self, images: Tensor) -> None:
        """Calibrate the network's random weights on images, uint8 [N, height, width, 3]."""
        self.network.calibrate(self._normalised(images), list(self.heads))

    def _normalised(self, images: Tensor) -> Tensor:
        if self.mean.ndim == 1:  # features of an embedder
            return (images - self.mean) / self.std
        # A permuted NHWC tensor already lies in memory as channels-last.
        pixels = images.permute(0, 3, 1, 2).to(torch.float32)
        return (pixels - self.mean) / self.std


def input_statistics(
    pixels: NDArray[Any], rule: InputRule, *, block: int = 1024
) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation that normalise the images of a training set.

    Parameters
    ----------
    pixels
        uint8 [n, H, W, 3]; or features of an embedder, float32 [n, n_features], whose mean is
        returned with their root mean square deviation, the same number for every feature.
    rule
        The network's input rule. If it has a mean and standard deviation, they are returned; if it
        subtracts the mean image, that of the pixels, float32 [3, H, W], and ones; otherwise mean
        and standard deviation per channel, both float32 [3, 1, 1].
    block
        Images summed at a time, which bounds the memory.
    """
    if pixels.ndim == 2:
        return _feature_statistics(pixels)
    if rule.mean is not None and rule.std is not None:
        return _per_channel(np.array(rule.mean)), _per_channel(np.array(rule.std))
    n, height, width, _ = pixels.shape
    total = np.zeros((height, width, 3))
    squares = np.zeros(3)
    for start in range(0, n, block):
        values = pixels[start : start + block].astype(np.float64)
        total += values.sum(axis=0)
        squares += np.square(values).sum(axis=(0, 1, 2))
    mean = total / n
    if rule.subtracts_mean_image:
        return torch.tensor(mean.transpose(2, 0, 1).astype(np.float32)), torch.ones(3, 1, 1)
    channel_mean = mean.mean(axis=(0, 1))
    variance = squares / (n * height * width) - np.square(channel_mean)
    # The standard deviation of a constant channel is 0.
    deviation = np.sqrt(np.maximum(variance, 1.0))
    return _per_channel(channel_mean), _per_channel(deviation)


def _feature_statistics(features: NDArray[Any]) -> tuple[Tensor, Tensor]:
    # One scale for all: directions that hardly vary hold little but noise.
    mean = features.mean(axis=0, dtype=np.float64)
    deviation = float(np.sqrt(features.var(axis=0, dtype=np.float64).mean()))
    std = np.full(len(mean), deviation or 1.0, dtype=np.float32)
    return torch.from_numpy(mean.astype(np.float32)), torch.from_numpy(std)


def _per_channel(values: NDArray[np.float64]) -> Tensor:
    return torch.tensor(values.astype(np.float32)).reshape(3, 1, 1)


def new_model(
    config: TrainConfig, mean: Tensor, std: Tensor, *, dataset: str, pretrained: bool = False
) -> HashModel:
    """Build the model of the settings, and run it on one image.

    Parameters
    ----------
    mean, std
        See `HashModel`.
    dataset
        Name of the image set, which the augmentation ``auto`` depends on. The model mirrors images
        only if training does.
    pretrained
        Whether to load pretrained weights if the network has some; all other weights are drawn
        from torch's global generator.

    Raises
    ------
    ConfigError
        If the network cannot take images of the size.
    """
    network: Network
    if config.has_embedder:
        network = FrozenFeatures(len(mean), hidden=config.hidden, dropout=config.dropout)
    else:
        network = build_network(
            config.network,
            dropout=config.dropout,
            pretrained=pretrained,
            options=config.network_options,
        )
    model = HashModel(
        network,
        lengths=config.lengths,
        size=(config.height, config.width),
        mean=mean,
        std=std,
        standardise=config.standardise,
        mirror=config.mirror
        and not config.has_embedder
        and choose_augmentation(config.augmentation, dataset).flip,
    )
    if not config.has_embedder:
        _run_once(model, config)
    return model


@torch.no_grad()
def _run_once(model: HashModel, config: TrainConfig) -> None:
    """Run a black image, so that an input size that is too small fails early.

    A network may also make layers or give them their shapes when it first runs.
    """
    image = torch.zeros(1, config.height, config.width, 3, dtype=torch.uint8)
    try:
        model.eval()(image)
    except (AssertionError, RuntimeError, ValueError) as error:  # depends on the network
        raise ConfigError(
            f"network {config.network} cannot take images of {config.height}x{config.width}: "
            f"choose another `size=...` ({foreign_message(error)})"
        ) from None
    finally:
        model.train()
