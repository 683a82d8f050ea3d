"""One step of a training: forward and backward passes, and the update of the weights."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor

from hashkit.runs.config import TrainConfig
from hashkit.training.batches import Batch
from hashkit.training.devices import seed_generators
from hashkit.training.learner import Learner
from hashkit.training.losses import LossValue
from hashkit.training.optimisers import (
    build_optimiser,
    centralise_gradients,
    set_learning_rate,
)
from hashkit.training.sampling import DROPOUT_STREAM, step_seed
from hashkit.training.schedule import learning_rate
from hashkit.training.sharpness import worst_nearby
from hashkit.training.unlabelled import with_trusted

__all__ = ["Stepper"]


class Stepper:
    """Takes the steps of one training.

    Parameters
    ----------
    learner
        Model and losses.
    config
        Settings.
    n_steps
        Steps of the whole training.
    device
        Device of the learner.

    Attributes
    ----------
    optimiser, scaler
        Optimiser of all trainable parameters, and scaler of the loss, used in fp16 only.
    """

    def __init__(
        self, learner: Learner, config: TrainConfig, n_steps: int, device: torch.device
    ) -> None:
        self._learner = learner
        self._config = config
        self._n_steps = n_steps
        self._device = device
        self.optimiser = build_optimiser(learner, config)
        self.scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "fp16")

    def take(self, batch: Batch, step: int, fixed_features: Tensor | None) -> LossValue:
        """Take a step, and return the loss before it.

        Parameters
        ----------
        batch
            Images, or rows of ``fixed_features``, with their labels.
        step
            Steps done before.
        fixed_features
            Features of all images, if training does not change them.
        """
        self._learner.begin_step(step / self._n_steps)
        self._seed(step)
        batch = with_trusted(batch, self._learner, self.autocast)
        loss = self._passes(batch, step, fixed_features)
        if self._config.sam and step >= self._config.sam_start * self._n_steps:
            with worst_nearby(self._learner, self._config.sam):
                self._passes(batch, step, fixed_features)
        self._update(step)
        return loss

    def learning_rate(self, step: int) -> float:
        """Learning rate of step ``step``, from 0."""
        config = self._config
        return learning_rate(
            step,
            self._n_steps,
            base=config.learning_rate,
            schedule=config.schedule,
            milestones=config.milestones,
            gamma=config.gamma,
            n_warmup=config.warmup_steps,
        )

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """The context of mixed precision."""
        if self._config.precision == "fp32":
            return contextlib.nullcontext()
        dtype = torch.bfloat16 if self._config.precision == "bf16" else torch.float16
        return torch.autocast(self._device.type, dtype=dtype)

    def _passes(self, batch: Batch, step: int, fixed_features: Tensor | None) -> LossValue:
        """One forward and one backward pass, which leaves new gradients."""
        self._seed(step)
        with torch.set_grad_enabled(step >= self._config.head_first * self._n_steps):
            features = self._features(batch, fixed_features)
        with self.autocast():
            logits = self._learner.model.logits(features)
        loss = self._distilled(self._loss(logits.float(), features, batch), logits, features)
        self.optimiser.zero_grad(set_to_none=True)
        self.scaler.scale(loss.value).backward()  # type: ignore[no-untyped-call]
        return loss

    def _seed(self, step: int) -> None:
        """Seed all random values of network, heads and losses in a pass, the same in each."""
        seed_generators(step_seed(self._config.seed, DROPOUT_STREAM, step), self._device)

    def _features(self, batch: Batch, fixed_features: Tensor | None) -> Tensor:
        """Features of a batch; for a loss that learns from views, of both views of each image."""
        if batch.images is None:
            assert fixed_features is not None  # noqa: S101 - the reason for no images
            features = fixed_features[batch.rows]
            return torch.cat([features] * 2) if self._learner.learns_from == "views" else features
        with self.autocast():
            return self._learner.model.features(batch.images)

    def _distilled(self, loss: LossValue, logits: Tensor, features: Tensor) -> LossValue:
        """A loss with its part that keeps the similarities of frozen features, if it has one."""
        if not self._config.distill:
            return loss
        distance = self._learner.relational_distance(logits.float(), features.float())
        value = loss.value + self._config.distill * distance
        return LossValue(value, loss.active, loss.confident)

    def _loss(self, logits: Tensor, features: Tensor, batch: Batch) -> LossValue:
        if batch.triplets is not None:
            return self._learner.triplet_loss(logits, batch.triplets)
        if batch.n_trusted:
            assert batch.labels is not None  # noqa: S101 - by `with_trusted`
            return self._learner.loss_with_trusted(
                logits, features, batch.labels, batch.kept, batch.n_trusted
            )
        return self._learner.loss(logits, features, batch.labels, batch.kept)

    def _update(self, step: int) -> None:
        config = self._config
        set_learning_rate(self.optimiser, self.learning_rate(step))
        if config.centralise:
            centralise_gradients(self._learner.model)
        if config.clip_norm:
            self.scaler.unscale_(self.optimiser)
            torch.nn.utils.clip_grad_norm_(self._learner.parameters(), config.clip_norm)
        with self.autocast():  # for Muon's matrix products, which dominate the cost of its step
            self.scaler.step(self.optimiser)
        self.scaler.update()
