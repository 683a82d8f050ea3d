"""The training loop.

All random values depend only on the seed and the step (see `hashkit.training.sampling`), so the
state is weights, momentum and a step number. A run that was killed and resumed computes the same
values as an uninterrupted one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable
from typing import Final

import numpy as np
import torch
from torch import Tensor

from hashkit.errors import CheckpointError, ConfigError
from hashkit.manifest import Manifest
from hashkit.runs.checkpoint_header import resume_state
from hashkit.runs.config import TrainConfig
from hashkit.runs.run import Run
from hashkit.training.augment import choose_augmentation
from hashkit.training.averaging import WeightAverage
from hashkit.training.batches import Batch, BatchAugmentation, BatchSource
from hashkit.training.checkpoint import (
    Checkpoint,
    library_versions,
    load_weights,
    read_checkpoint,
    write_checkpoint,
)
from hashkit.training.checks import check_precision
from hashkit.training.data import TrainingData, memory_limit
from hashkit.training.devices import repeatable_kernels
from hashkit.training.learner import Learner
from hashkit.training.losses import LossValue
from hashkit.training.optimisers import (
    load_momentum,
    momentum_of,
    without_momentum,
)
from hashkit.training.ordering import batch_order
from hashkit.training.progress import StepReport, TrainResult
from hashkit.training.recipes import model_manifest
from hashkit.training.recorder import Recorder
from hashkit.training.scoring import Scorer
from hashkit.training.stepping import Stepper
from hashkit.training.unlabelled import UnlabelledViews

__all__ = ["Trainer"]

_FEATURE_BATCH: Final = 64
"""Number of images whose features are computed at a time."""

_SNAPSHOT_IMAGES: Final = 256
"""Images for the statistics of a snapshot during the training, which costs less than two steps."""


class Trainer:
    """One training run.

    Parameters
    ----------
    config
        Settings.
    data
        Training data.
    run
        Run folder for metrics and checkpoints.
    device
        Device to train on.
    network, loss
        Names of the network and the loss to build, if their files lie elsewhere than ``config``
        says.
    """

    def __init__(
        self,
        config: TrainConfig,
        data: TrainingData,
        run: Run,
        device: torch.device,
        *,
        network: str | None = None,
        loss: str | None = None,
    ) -> None:
        check_precision(config, device)
        if len(data.fit_items) < 3:
            raise ConfigError(
                "training needs at least 3 images besides the queries and the held-out ones, "
                f"found {len(data.fit_items)}: add images"
            )
        self.config = config
        self.data = data
        self.run = run
        self.device = device
        self.augmentation = dataclasses.replace(
            choose_augmentation(config.augmentation, data.dataset),
            cutout=config.cutout,
            policy=config.policy,
        )
        to_build = dataclasses.replace(
            config, network=network or config.network, loss=loss or config.loss
        )
        self.learner = Learner.build(to_build, data, is_new=not run.snapshots()).to(device)
        self.batches = BatchSource(
            data,
            BatchAugmentation(
                augmentation=self.augmentation,
                cutmix=config.cutmix,
                n_views=2 if self.learner.learns_from == "views" else 1,
                seed=config.seed,
            ),
            (config.height, config.width),
            device,
        )
        self.unlabelled = self._unlabelled_views()
        self.order = batch_order(to_build, data)
        self.n_steps = config.steps or max(1, round(config.epochs * self.order.steps_per_epoch))
        self.step = 0
        self.stepper = Stepper(self.learner, config, self.n_steps, device)
        self.average = WeightAverage(self.learner.model, config.ema)
        self.record = Recorder(
            run,
            config,
            n_steps=self.n_steps,
            steps_per_epoch=self.order.steps_per_epoch,
            learning_rate=self.stepper.learning_rate,
        )
        self.scorer = Scorer(self.learner.model, data, self.batches, device)

    def _unlabelled_views(self) -> UnlabelledViews | None:
        if not self.config.unlabelled_ratio:
            return None
        if self.data.unlabelled is None:
            raise ConfigError(
                "`unlabelled_ratio` needs images without labels, found none: add some, or set "
                "`unlabelled_ratio=0`"
            )
        return UnlabelledViews.of_run(
            self.data.unlabelled, self.config, self.augmentation, self.device
        )

    @property
    def optimiser(self) -> torch.optim.Optimizer:
        """The optimiser of all trainable parameters."""
        return self.stepper.optimiser

    @property
    def manifest(self) -> Manifest:
        """Metadata of the model."""
        return model_manifest(
            self.config,
            dataset=self.data.dataset,
            protocol=self.data.protocol,
            class_names=self.data.class_names,
            versions=library_versions(),
        )

    def resume(self) -> int:
        """Load the run's last snapshot, if it has one; returns the steps done.

        Raises
        ------
        CheckpointError
            If the snapshot was made with other settings or from other images.
        """
        snapshots = self.run.snapshots()
        if not snapshots:
            self.record.rewind(0)
            return 0
        path = snapshots[-1][1]
        checkpoint = read_checkpoint(path)
        if checkpoint.config != self.config:
            raise CheckpointError(
                f"{path} was written with different settings from {self.run.config_path}: restore "
                "that file, or train a new run"
            )
        state = resume_state(checkpoint.state, path)
        if state.names_sha256 != self.data.names_sha256:
            raise CheckpointError(
                f"{path} was trained on different images: undo all additions, removals, renames "
                "and damage of image files since then, or train a new run"
            )
        load_weights(self.learner.model, checkpoint.model, path)
        load_weights(self.learner.losses, checkpoint.losses, path)
        self.average.restore(checkpoint.trained, path)
        load_momentum(self.learner, self.optimiser, checkpoint.optimiser, state.without_momentum)
        try:
            self.stepper.scaler.load_state_dict(dict(state.scaler))
        except (KeyError, RuntimeError, TypeError) as error:
            raise CheckpointError(f"{path}: its scaler is damaged: {error}") from None
        self.step = checkpoint.step
        self.record.restore(checkpoint.state, self.step)
        return self.step

    def compute_features(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Compute and cache the features of all images if training does not change them.

        This is the case if the whole network is frozen and images are not augmented. Otherwise, or
        if the features do not fit into memory, this does nothing. `fit` calls it if needed.

        Parameters
        ----------
        progress
            Called with the number of images done and the total.
        """
        if not self.has_fixed_features or self.scorer.fixed_features is not None:
            return
        n_images = len(self.data.pixels)
        features: Tensor | None = None
        self.learner.eval()
        # Not in inference mode: its tensors cannot be used to compute gradients of the heads.
        with torch.no_grad(), repeatable_kernels(self.device):
            for start in range(0, n_images, _FEATURE_BATCH):
                rows = np.arange(start, min(start + _FEATURE_BATCH, n_images))
                part = self.learner.model.features(self.batches.images(rows))
                if features is None:
                    if part[0].nbytes * n_images > memory_limit(self.device):
                        return
                    features = part.new_empty((n_images, *part.shape[1:]))
                features[start : start + len(rows)] = part
                if progress is not None:
                    progress(int(rows[-1]) + 1, n_images)
        self.scorer.fixed_features = features

    @property
    def has_fixed_features(self) -> bool:
        """Whether training does not change the features of an image."""
        leaves_images = self.augmentation.leaves_images and not self.config.cutmix
        leaves_images = leaves_images and self.unlabelled is None
        return self.learner.model.has_fixed_features and leaves_images

    def fit(
        self,
        on_step: Callable[[StepReport], None] | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> TrainResult:
        """Train to the last step, or until ``should_stop``, called between steps, returns True.

        In both cases a snapshot is saved, which `resume` loads.
        """
        start, first_step = time.perf_counter(), self.step
        self.record.start()
        self.compute_features()
        self.learner.train()
        cuda = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=cuda), repeatable_kernels(self.device):
            n_images = self._steps(on_step, should_stop)
        if self.step > first_step:
            self._snapshot()
        self.record.stop()
        return TrainResult(
            step=self.step,
            n_steps=self.n_steps,
            best_step=self.record.best_step,
            best_score=self.record.best_score,
            seconds=self.record.seconds,
            images_per_second=n_images / max(time.perf_counter() - start, 1e-9),
        )

    def _steps(
        self, on_step: Callable[[StepReport], None] | None, should_stop: Callable[[], bool]
    ) -> int:
        """Take the remaining steps; returns the number of images seen."""
        n_images = 0
        if self.step >= self.n_steps or should_stop():
            return n_images
        batches = self.batches.steps(
            self.order,
            first_step=self.step,
            n_steps=self.n_steps,
            with_images=self.scorer.fixed_features is None,
        )
        if self.unlabelled is not None:
            batches = self.unlabelled.beside(batches, first_step=self.step, n_steps=self.n_steps)
        with contextlib.closing(batches):
            for batch in batches:
                self.record.count(self._train_step(batch), batch.n_images)
                n_images += batch.n_images
                self.record.report(self.step, on_step)
                self._after_step()
                if self.step < self.n_steps and should_stop():
                    break
        return n_images

    def _train_step(self, batch: Batch) -> LossValue:
        loss = self.stepper.take(batch, self.step, self.scorer.fixed_features)
        self.scorer.forget()
        self.step += 1
        self.average.update(self.step)
        return loss

    def _after_step(self) -> None:
        if len(self.data.held_items) and self.record.is_validation_due(self.step):
            self._validate()
        if self.record.is_snapshot_due(self.step):
            self._snapshot(_SNAPSHOT_IMAGES)

    def score_held_out(self) -> float:
        """Score of the current model on the held-out images, see `held_out_score`."""
        with self.average.used():
            score = self.scorer.score(self.config.lengths)
        self.learner.train()
        return score

    def _validate(self) -> None:
        self._check_weights()
        if self.record.score(self.step, self.score_held_out()):
            with self.average.used():
                write_checkpoint(self.run.best_path, self._checkpoint(to_resume=False))

    def _snapshot(self, n_images: int | None = None) -> None:
        """Save the state, with statistics of ``n_images`` images; None for all `reference_rows`."""
        self._check_weights()
        with self.average.used():
            self.scorer.refresh(n_images)
            self.learner.train()
            write_checkpoint(self.run.snapshot_path(self.step), self._checkpoint(to_resume=True))
        self.record.after_snapshot()

    def _check_weights(self) -> None:
        """Raise an error before bad weights are saved: the loss is checked only now and then."""
        finite = [values.isfinite().all() for values in self.learner.parameters()]
        if not bool(torch.stack(finite).all()):
            raise self.record.diverged(self.step, "weights are NaN or infinite")

    def _checkpoint(self, *, to_resume: bool) -> Checkpoint:
        """The state, while the model has the averages of its weights."""
        return Checkpoint(
            step=self.step,
            config=self.config,
            manifest=self.manifest,
            model=self.learner.model.state_dict(),
            trained=self.average.weights() if to_resume else {},
            losses=self.learner.losses.state_dict() if to_resume else {},
            optimiser=momentum_of(self.learner, self.optimiser) if to_resume else {},
            state={
                "names_sha256": self.data.names_sha256,
                "scaler": self.stepper.scaler.state_dict(),
                "without_momentum": without_momentum(self.learner, self.optimiser),
                **self.record.state(),
            },
        )
