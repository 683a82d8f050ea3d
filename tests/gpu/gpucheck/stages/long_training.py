"""A full training from the README's table, with mAP over seconds of training."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gpucheck.images import open_images
from gpucheck.product import CodeSet, ImageSet, binarize, expected_map, load_pixels, spread_rows
from gpucheck.product_training import TrainConfig, Trainer, load_model, repeatable_kernels
from gpucheck.record import Record
from gpucheck.settings import Settings
from gpucheck.training import config_of, new_trainer, training_data

_GOAL = 0.719
"""mAP at 48 bits with the README's settings on the CPU, mean of three seeds."""

_MOST_SECONDS = 300.0
_BATCH_SIZE = 1000
_RESERVE = 12.0
"""Seconds reserved for the last evaluation and the figures."""

_EVALUATION_EPOCHS = (*range(10, 80, 10), *range(80, 101, 4))
"""Epochs after which mAP is measured: denser at the end, where it reaches its best."""


def run(record: Record, settings: Settings) -> None:
    """Train and measure mAP at intervals; the measurements are not part of the time."""
    config = _config(settings)
    record.figure("settings", {"lengths": list(config.lengths), "epochs": config.epochs})
    trainer = new_trainer(settings, config, training_data(settings, config, whole=True), "long")
    judge = _Judge(settings, config)
    judge.scores(trainer)  # compiles the ranking kernels and loads those of the GPU
    whole = trainer.n_steps / trainer.order.steps_per_epoch
    epochs = [whole / 2, whole] if settings.is_small else list(_EVALUATION_EPOCHS)
    curve: list[dict[str, Any]] = []
    seconds, has_time = 0.0, True
    for epoch in epochs:
        seconds += _train_until(trainer, epoch, seconds, record)
        scores = judge.scores(trainer)
        curve.append(_row(trainer, seconds, scores))
        record.figure("curve", curve)
        has_time = seconds < _MOST_SECONDS and record.left() > _RESERVE
        if not has_time:
            break
    _conclude(record, settings, trainer, judge, curve)


def _config(settings: Settings) -> TrainConfig:
    changes: dict[str, Any] = {
        "recipe": "best",
        "lengths": (12, 24, 32, 48),
        "epochs": 100.0,
        "cutmix": 0.5,
        "holdout": 0.04,
        "precision": "bf16",
    }
    if settings.is_small:
        changes |= {"lengths": (12, 48), "steps": 90, "batch_size": 16, "precision": "fp32"}
    return config_of(settings, changes)


def _train_until(trainer: Trainer, epoch: float, before: float, record: Record) -> float:
    """Train up to an epoch, or until the time is over; returns the seconds."""
    end = min(round(epoch * trainer.order.steps_per_epoch), trainer.n_steps)
    started = time.perf_counter()

    def should_stop() -> bool:
        if trainer.step >= end:
            return True
        taken = before + time.perf_counter() - started
        return taken >= _MOST_SECONDS or record.left() <= _RESERVE

    trainer.fit(should_stop=should_stop)
    return time.perf_counter() - started


def _row(trainer: Trainer, seconds: float, scores: dict[str, float]) -> dict[str, Any]:
    return {
        "epoch": round(trainer.step / trainer.order.steps_per_epoch, 2),
        "step": trainer.step,
        "seconds": round(seconds, 2),
        "map": scores,
    }


def _conclude(
    record: Record, settings: Settings, trainer: Trainer, judge: _Judge, curve: list[dict[str, Any]]
) -> None:
    last, longest = curve[-1], str(max(trainer.config.lengths))
    is_done = trainer.step >= trainer.n_steps
    reached = [row["seconds"] for row in curve if judge.is_cifar and row["map"][longest] >= _GOAL]
    n_images = trainer.step * trainer.config.batch_size
    figures = {
        "n_steps": trainer.n_steps,
        "steps_done": trainer.step,
        "training_seconds": last["seconds"],
        "images_per_second": round(n_images / max(last["seconds"], 1e-9), 1),
        "map_last": last["map"],
        "goal": _GOAL,
        "seconds_to_goal": reached[0] if reached else None,
        "held_out_best": trainer.record.best_score,
    }
    if trainer.run.best_path.is_file() and record.left() > _RESERVE / 2:
        figures["map_selected"] = judge.scores_of(load_model(trainer.run.best_path).model)
    record.figure("result", figures)
    if settings.is_small or not judge.is_cifar:
        share = judge.largest_class
        detail = f"mAP {last['map'][longest]:.3f}, the largest class is {share:.3f} of the database"
        record.check("it learns", last["map"][longest] > 1.5 * share, detail)
    elif is_done or reached or last["seconds"] >= _MOST_SECONDS:
        best = max(row["map"][longest] for row in curve)
        detail = f"mAP {best:.3f} at {longest} bits after {last['seconds']:.0f} s of training"
        record.check(f"mAP {_GOAL} within five minutes of training", bool(reached), detail)
    if not is_done:
        record.figure("cut", f"{trainer.step} of {trainer.n_steps} steps: the time was over")


class _Judge:
    """Measures mAP of a model's codes, computed by torch, for the protocol's split."""

    def __init__(self, settings: Settings, config: TrainConfig) -> None:
        images, split = open_images(settings)
        assert images.labels is not None  # each of these sets has them
        self.is_cifar = images.name == "cifar10"
        self._config = config
        rows = split.database
        if settings.is_small:
            rows = rows[spread_rows(len(rows), 2000)]
        self._queries = self._load(images.subset(split.queries))
        self._database = self._load(images.subset(rows))
        self._query_labels = images.labels[split.queries]
        self._labels = images.labels[rows]
        self.largest_class = float(np.bincount(self._labels).max() / len(self._labels))
        self._device = torch.device(settings.device)

    def scores(self, trainer: Trainer) -> dict[str, float]:
        """mAP of a trainer's current model, by bits."""
        trainer.learner.eval()
        scores = self.scores_of(trainer.learner.model)
        trainer.learner.train()
        return scores

    def scores_of(self, model: torch.nn.Module) -> dict[str, float]:
        """mAP by bits: the mean over tie orders, whole ranking."""
        model = model.to(self._device).eval()
        lengths = self._config.lengths
        parts = [
            np.split(self._logits(model, pixels), np.cumsum(lengths)[:-1], axis=1)
            for pixels in (self._queries, self._database)
        ]
        scores = {}
        for n_bits, queries, database in zip(lengths, *parts, strict=True):
            scores[str(n_bits)] = round(
                expected_map(
                    CodeSet(binarize(queries), n_bits, self._query_labels),
                    CodeSet(binarize(database), n_bits, self._labels),
                ),
                4,
            )
        return scores

    @torch.inference_mode()
    def _logits(self, model: torch.nn.Module, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        with repeatable_kernels(self._device):  # fp32 and not TF32, as held-out images are scored
            parts = [
                model(torch.from_numpy(pixels[start : start + _BATCH_SIZE]).to(self._device)).cpu()
                for start in range(0, len(pixels), _BATCH_SIZE)
            ]
        logits: NDArray[np.float32] = torch.cat(parts).numpy()
        return logits

    def _load(self, images: ImageSet) -> NDArray[np.uint8]:
        config = self._config
        return load_pixels(images, (config.height, config.width), config.resize).pixels
