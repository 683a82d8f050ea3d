"""The trainable part of a run: the model, and one loss per code length."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn

from hashkit.runs.config import TrainConfig
from hashkit.training.checks import check_learnable
from hashkit.training.consistency import Consistency, class_probabilities
from hashkit.training.data import TrainingData
from hashkit.training.devices import seeded
from hashkit.training.first_heads import start_from_itq
from hashkit.training.losses import Loss, LossValue, build_loss
from hashkit.training.losses.relations import relational_distance
from hashkit.training.model import HashModel, input_statistics, new_model
from hashkit.training.networks import find_network
from hashkit.training.networks.base import pooled

__all__ = ["Learner"]

STATISTICS_BYTES = 2**28
"""Bytes of the images that mean and standard deviation are computed from: 87,381 of 32x32."""

CALIBRATION_IMAGES = 256
"""Number of images that random weights are calibrated on."""


class Learner(nn.Module):
    """A model and its losses; holds all trainable parameters.

    Parameters
    ----------
    model
        Map from images to logits.
    losses
        One loss per head of the model.
    consistency
        Chooses the unlabelled images that are learned from; None without any.
    """

    def __init__(
        self, model: HashModel, losses: list[Loss], consistency: Consistency | None = None
    ) -> None:
        super().__init__()
        self.model = model
        # Its running means are saved and resumed with the losses.
        self.losses = nn.ModuleList([*losses, *([] if consistency is None else [consistency])])
        self.learns_from = losses[0].learns_from
        self.consistency = consistency

    @classmethod
    def build(cls, config: TrainConfig, data: TrainingData, *, is_new: bool = True) -> Self:
        """Initial model and losses, with random values from the seed of the settings.

        Parameters
        ----------
        config, data
            Settings and training data.
        is_new
            Whether training starts from the beginning. Otherwise the caller loads a snapshot, so
            pretrained weights and calibration are skipped.

        Raises
        ------
        ConfigError
            If the loss cannot learn from the data, or the network has too few stages to freeze.
        """
        check_learnable(config, from_triplets=data.triplets is not None)
        kind, argument = find_network(config.network)
        n_images = max(1, STATISTICS_BYTES // (config.height * config.width * 3))
        mean, std = input_statistics(
            data.pixels.sample(n_images), kind.input_rule(argument, config.pretrained)
        )
        with seeded(config.seed):
            model = new_model(
                config,
                mean,
                std,
                dataset=data.dataset,
                pretrained=config.pretrained and is_new,
            ).eval()
            if is_new and config.calibrate and not (config.pretrained and kind.has_weights):
                model.calibrate(torch.from_numpy(data.pixels.sample(CALIBRATION_IMAGES)))
            if is_new and config.start == "itq":
                start_from_itq(model, data.pixels.batch(data.fit_rows()).numpy(), config.seed)
            losses = [
                build_loss(config.loss, data.task(n_bits), config.loss_options)
                for n_bits in config.lengths
            ]
        model.freeze(config.freeze)
        if config.channels_last:
            model = model.to(memory_format=torch.channels_last)
        consistency = None
        if config.unlabelled_ratio:
            n_classes = data.task(config.lengths[0]).n_classes
            consistency = Consistency(n_classes, config.confidence, config.unlabelled_weight)
        return cls(model, losses, consistency)

    def begin_step(self, progress: float) -> None:
        """Pass the fraction of the run done, in [0, 1), to the losses."""
        for loss in self._each_loss():
            loss.begin_step(progress)

    def trusted_classes(self, logits: Tensor) -> Tensor:
        """Classes of unlabelled images from their logits; -1 where they are not trusted: int64 [N].

        With several code lengths, the mean of the cosines decides.
        """
        assert self.consistency is not None  # noqa: S101 - by the trainer
        parts = zip(self._each_loss(), self._parts(logits), strict=True)
        cosines = torch.stack([loss.class_cosines(part) for loss, part in parts]).mean(0)
        return self.consistency.trusted(class_probabilities(cosines))

    def loss_with_trusted(
        self, logits: Tensor, features: Tensor, labels: Tensor, kept: float, n_trusted: int
    ) -> LossValue:
        """Loss of a batch whose last ``n_trusted`` rows are unlabelled images.

        Their part is the mean loss of the trusted ones, times their share of the unlabelled images
        and its weight: FixMatch, equation 4. The other parameters are those of `loss`.
        """
        assert self.consistency is not None  # noqa: S101 - by the trainer
        n_own = len(logits) - n_trusted
        own = self.loss(logits[:n_own], features[:n_own], labels[:n_own], kept)
        others = self.loss(logits[n_own:], features[n_own:], labels[n_own:])
        share = (labels[n_own:] >= 0).float().mean()
        value = own.value + self.consistency.weight * share * others.value
        return LossValue(value, own.active, share)

    def loss(
        self, logits: Tensor, features: Tensor, labels: Tensor | None, kept: float = 1.0
    ) -> LossValue:
        """Loss of a batch, the mean over code lengths.

        Parameters
        ----------
        logits, features
            Outputs of the model for N rows. If the loss learns from views, the second half are
            other views of the images in the first half.
        labels
            int64 [N] or uint8 [N, n_classes]; None if the loss does not learn from labels.
        kept
            Fraction of each image's pixels that are its own; see
            `hashkit.training.mixing.cut_and_mix`.
        """
        if self.learns_from == "views":
            targets = torch.arange(len(logits) // 2, device=logits.device).repeat(2)
        elif self.learns_from == "features":
            targets = pooled(features.detach()).float()
        else:
            assert labels is not None  # noqa: S101 - by the trainer
            targets = labels
        parts = list(zip(self._each_loss(), self._parts(logits), strict=True))
        own = _mean([loss(part, targets) for loss, part in parts])
        if kept == 1:
            return own
        others = _mean([loss(part, targets.flip(0)) for loss, part in parts])
        return _weighted_sum(own, others, kept)

    def triplet_loss(self, logits: Tensor, triplets: Tensor) -> LossValue:
        """Loss over triplets of rows of ``logits``, int64 [T, 3]; the mean over code lengths."""
        return _mean(
            [
                loss.of_triplets(part, triplets)
                for loss, part in zip(self._each_loss(), self._parts(logits), strict=True)
            ]
        )

    def relational_distance(self, logits: Tensor, features: Tensor) -> Tensor:
        """Difference of similarities between logits and features; the mean over code lengths."""
        return torch.stack(
            [relational_distance(part, features) for part in self._parts(logits)]
        ).mean()

    def _parts(self, logits: Tensor) -> tuple[Tensor, ...]:
        return torch.split(logits, list(self.model.lengths), dim=1)

    def _each_loss(self) -> list[Loss]:
        return [loss for loss in self.losses if isinstance(loss, Loss)]


def _mean(values: list[LossValue]) -> LossValue:
    if len(values) == 1:
        return values[0]
    active = [value.active.float() for value in values if value.active is not None]
    return LossValue(
        torch.stack([value.value for value in values]).mean(),
        torch.stack(active).mean() if active else None,
    )


def _weighted_sum(own: LossValue, others: LossValue, kept: float) -> LossValue:
    """Sum of two losses of one batch, with the weights ``kept`` and ``1 - kept``."""
    active = None
    if own.active is not None and others.active is not None:
        active = kept * own.active + (1 - kept) * others.active
    return LossValue(kept * own.value + (1 - kept) * others.value, active)
