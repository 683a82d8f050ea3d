"""The training loop.

Everything that is drawn is drawn from the seed and the step (see `hashkit.training.sampling`),
so a state is weights, momentum and a step number, and a run that was killed and resumed goes
through the same numbers as one that was not.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hashkit.errors import CheckpointError, ConfigError, TrainingError
from hashkit.manifest import Manifest
from hashkit.runs import Run
from hashkit.training.augment import augment, choose_augmentation
from hashkit.training.checkpoint import (
    Checkpoint,
    library_versions,
    new_model,
    read_checkpoint,
    write_checkpoint,
)
from hashkit.training.config import TrainConfig
from hashkit.training.data import TrainingData, ahead
from hashkit.training.losses import LOSSES, TripletLoss
from hashkit.training.model import pixel_statistics
from hashkit.training.networks import NETWORKS
from hashkit.training.optimiser import (
    build_optimiser,
    load_momentum,
    momentum_of,
    set_learning_rate,
)
from hashkit.training.progress import METRICS_FIELDS, Meter, StepReport, TrainResult
from hashkit.training.sampling import AUGMENT_STREAM, DROPOUT_STREAM, BatchOrder, step_seed
from hashkit.training.schedule import learning_rate
from hashkit.training.selection import held_out_score

__all__ = ["Trainer"]

STATISTICS_BYTES = 2**28
"""Memory of the images that mean and deviation are computed from: 87,381 of 32x32."""

CALIBRATION_IMAGES = 256
"""Images that fresh weights are adjusted to."""


class Trainer:
    """One training run.

    Parameters
    ----------
    config
        Settings.
    data
        What it learns from.
    run
        Where metrics and checkpoints go.
    device
        Where it computes.
    """

    def __init__(
        self, config: TrainConfig, data: TrainingData, run: Run, device: torch.device
    ) -> None:
        if config.precision != "fp32" and device.type != "cuda":
            raise ConfigError(
                f"precision {config.precision} is mixed precision on a GPU; on the CPU use fp32"
            )
        if len(data.fit_items) < 3:
            raise ConfigError(f"training needs 3 images or more, found {len(data.fit_items)}")
        self.config = config
        self.data = data
        self.run = run
        self.device = device
        self.augmentation = choose_augmentation(config.augmentation, data.dataset)
        self.loss = LOSSES[config.loss](config.margin, config.average)
        self.order = BatchOrder(
            n_items=len(data.fit_items),
            batch_size=config.batch_size,
            seed=config.seed,
            labels=data.fit_labels(),
            group_size=_group_size(config, data),
        )
        self.n_steps = config.steps or max(1, round(config.epochs * self.order.steps_per_epoch))
        self.step = 0
        self.best_step: int | None = None
        self.best_score: float | None = None
        self.held_out: float | None = None
        self._build()

    def _build(self) -> None:
        config = self.config
        n_images = max(1, STATISTICS_BYTES // (config.height * config.width * 3))
        mean, std = pixel_statistics(
            self.data.pixels.sample(n_images),
            mean_image=NETWORKS[config.network].subtracts_mean_image,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.model = new_model(config, mean, std)
            self.model.eval()
            self.model.calibrate(torch.from_numpy(self.data.pixels.sample(CALIBRATION_IMAGES)))
        if config.channels_last:
            self.model = self.model.to(memory_format=torch.channels_last)
        self.model.to(self.device)
        self.optimiser = build_optimiser(self.model, config)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=config.precision == "fp16")

    @property
    def manifest(self) -> Manifest:
        """What the model will say of itself."""
        config = self.config
        return Manifest(
            n_bits=config.n_bits,
            height=config.height,
            width=config.width,
            resize=config.resize,
            network=config.network,
            loss=config.loss,
            dataset=self.data.dataset,
            protocol=self.data.protocol,
            class_names=self.data.class_names,
            seed=config.seed,
            versions=library_versions(),
        )

    def resume(self) -> int:
        """Go on from the run's last snapshot, if it has one; returns the steps done.

        Raises
        ------
        CheckpointError
            If the snapshot was made with other settings or from other images.
        """
        snapshots = self.run.snapshots()
        if not snapshots:
            self.run.rewind_metrics(0)
            return 0
        path = snapshots[-1][1]
        checkpoint = read_checkpoint(path)
        if checkpoint.config != self.config:
            raise CheckpointError(
                f"{path} was made with other settings than {self.run.config_path}"
            )
        if checkpoint.state["names_sha256"] != self.data.names_sha256:
            raise CheckpointError(
                f"{path} was made from other training images than there are now: bring back those "
                "that were added, removed, renamed or damaged since, or train a new run"
            )
        self.model.load_state_dict(dict(checkpoint.model))
        load_momentum(self.model, self.optimiser, checkpoint.optimiser)
        self.scaler.load_state_dict(checkpoint.state["scaler"])
        self.best_step = checkpoint.state["best_step"]
        self.best_score = checkpoint.state["best_score"]
        self.held_out = checkpoint.state["held_out"]
        self.step = checkpoint.step
        self.run.rewind_metrics(self.step)
        return self.step

    def fit(
        self,
        on_step: Callable[[StepReport], None] | None = None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> TrainResult:
        """Train until the last step, or until ``should_stop`` says so between two steps.

        Either way the state is saved before this returns, and `resume` goes on from it.
        """
        start, first_step, n_images = time.perf_counter(), self.step, 0
        per_epoch = self.order.steps_per_epoch
        self.model.train()
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            meter = Meter()
            while self.step < self.n_steps and not should_stop():
                epoch, skipped = divmod(self.step, per_epoch)
                batches = list(self.order.epoch(epoch)[skipped:])
                rows = [self._rows(items) for items in batches]
                announce = ahead(self.data.pixels, rows)
                for index, items in enumerate(batches):
                    announce(index)
                    meter.add(self._train_step(items, rows[index]), len(rows[index]))
                    n_images += len(rows[index])
                    meter = self._report(meter, epoch, on_step)
                    self._after_step()
                    if self.step >= self.n_steps or should_stop():
                        break
        if self.step > first_step:
            self._snapshot()
        seconds = time.perf_counter() - start
        return TrainResult(
            step=self.step,
            n_steps=self.n_steps,
            best_step=self.best_step,
            best_score=self.best_score,
            seconds=seconds,
            images_per_second=n_images / max(seconds, 1e-9),
        )

    def _rows(self, items: NDArray[np.int64]) -> NDArray[np.int64]:
        """Images of a batch, each once."""
        chosen = self.data.fit_items[items]
        return chosen if self.data.triplets is None else np.unique(self.data.triplets[chosen])

    def _train_step(self, items: NDArray[np.int64], rows: NDArray[np.int64]) -> TripletLoss:
        config, step = self.config, self.step
        draws = torch.Generator().manual_seed(step_seed(config.seed, AUGMENT_STREAM, step))
        images = self.data.pixels.batch(rows).to(self.device, non_blocking=True)
        images = augment(images, self.augmentation, draws)
        torch.manual_seed(step_seed(config.seed, DROPOUT_STREAM, step))
        with self._autocast():
            logits = self.model(images)
        loss = self._loss(self.model.network.relax(logits.float()), items, rows)
        self._update(loss.value)
        self.step += 1
        return loss

    def _loss(
        self, codes: Tensor, items: NDArray[np.int64], rows: NDArray[np.int64]
    ) -> TripletLoss:
        if self.data.triplets is not None:
            triplets = np.searchsorted(rows, self.data.triplets[self.data.fit_items[items]])
            return self.loss.of_triplets(codes, torch.from_numpy(triplets).to(self.device))
        assert self.data.labels is not None  # noqa: S101 - by TrainingData
        labels = torch.from_numpy(self.data.labels[rows]).to(self.device)
        loss: TripletLoss = self.loss(codes, labels)
        return loss

    def _update(self, loss: Tensor) -> None:
        config = self.config
        set_learning_rate(self.optimiser, self._learning_rate(self.step))
        self.optimiser.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        if config.clip_norm:
            self.scaler.unscale_(self.optimiser)
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), config.clip_norm)
        self.scaler.step(self.optimiser)
        self.scaler.update()

    def _learning_rate(self, step: int) -> float:
        config = self.config
        return learning_rate(
            step,
            self.n_steps,
            base=config.learning_rate,
            schedule=config.schedule,
            milestones=config.milestones,
            gamma=config.gamma,
            n_warmup=config.warmup_steps,
        )

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self.config.precision == "fp32":
            return contextlib.nullcontext()
        dtype = torch.bfloat16 if self.config.precision == "bf16" else torch.float16
        return torch.autocast(self.device.type, dtype=dtype)

    def _report(
        self, meter: Meter, epoch: int, on_step: Callable[[StepReport], None] | None
    ) -> Meter:
        """Show progress and write it down where it is due; reading the meter waits for a GPU."""
        is_line = self.step % self.config.display_steps == 0 or self.step >= self.n_steps
        if not is_line and (on_step is None or not meter.is_due()):
            return meter
        loss, active, images_per_second = meter.means()
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss is {loss} at step {self.step}: lower --lr or set --clip-norm; "
                f"snapshots up to step {self._last_snapshot()} are kept in {self.run.path}"
            )
        report = StepReport(
            step=self.step,
            n_steps=self.n_steps,
            epoch=epoch + 1,
            loss=loss,
            active=active,
            learning_rate=self._learning_rate(self.step - 1),
            images_per_second=images_per_second,
            held_out=self.held_out,
        )
        if on_step is not None:
            on_step(report)
        if not is_line:
            return meter
        line = dataclasses.asdict(report)
        self.run.append_metrics({name: line[name] for name in METRICS_FIELDS})
        return Meter()

    def _after_step(self) -> None:
        per_epoch = self.order.steps_per_epoch
        is_last = self.step >= self.n_steps
        if len(self.data.held_items) and (
            is_last or self.step % (per_epoch * self.config.validate_epochs) == 0
        ):
            self._validate()
        if not is_last and self.step % (self.config.snapshot_steps or per_epoch) == 0:
            self._snapshot()

    def _last_snapshot(self) -> int:
        return max((step for step, _ in self.run.snapshots()), default=0)

    def _validate(self) -> None:
        self.held_out = held_out_score(self.model, self.data, self.device)
        self.run.append_metrics({"step": self.step, "held_out": self.held_out})
        if self.best_score is None or self.held_out > self.best_score:
            self.best_step, self.best_score = self.step, self.held_out
            write_checkpoint(self.run.best_path, self._checkpoint(with_momentum=False))

    def _snapshot(self) -> None:
        write_checkpoint(self.run.snapshot_path(self.step), self._checkpoint(with_momentum=True))
        if self.config.keep_snapshots:
            for _, path in self.run.snapshots()[: -self.config.keep_snapshots]:
                path.unlink()

    def _checkpoint(self, *, with_momentum: bool) -> Checkpoint:
        return Checkpoint(
            step=self.step,
            config=self.config,
            manifest=self.manifest,
            model=self.model.state_dict(),
            optimiser=momentum_of(self.model, self.optimiser) if with_momentum else {},
            state={
                "names_sha256": self.data.names_sha256,
                "scaler": self.scaler.state_dict(),
                "best_step": self.best_step,
                "best_score": self.best_score,
                "held_out": self.held_out,
            },
        )


def _group_size(config: TrainConfig, data: TrainingData) -> int:
    """Images of one label that stay together; as many as keep all labels in a batch, at least 4."""
    labels = data.fit_labels()
    if labels is None:
        return 1
    if config.images_per_class:
        return config.images_per_class
    return max(4, config.batch_size // max(1, len(np.unique(labels))))
