"""Images per second of the training loop and the bare network for one recipe."""

from __future__ import annotations

import importlib.util
from typing import Any

import torch

from gpucheck.loop import Bare, busy_seconds, compare, count_waits
from gpucheck.product_training import TrainConfig, TrainingData
from gpucheck.record import Record, SkipStage, one_line
from gpucheck.settings import Settings
from gpucheck.training import config_of, new_trainer, training_data

BAR = 0.95
"""Fraction of the bare network's images per second that the loop should reach."""


def measure(record: Record, settings: Settings, recipe: str, size: int | None) -> None:
    """Measure a recipe in bf16 and fp32."""
    changes = _changes(record, settings, recipe)
    data: TrainingData | None = None
    # One precision takes long enough on a CPU where a step does.
    precisions = ("fp32",) if settings.is_small and recipe == "pretrained" else ("bf16", "fp32")
    for precision in precisions:
        with record.attempt(f"{recipe}, {precision}"):
            config = config_of(settings, changes | {"precision": precision}, size)
            data = data or training_data(settings, config)
            _measure(record, settings, config, data)


def _changes(record: Record, settings: Settings, recipe: str) -> dict[str, Any]:
    changes: dict[str, Any] = {
        "recipe": recipe,
        "lengths": (48,),
        "holdout": 0.0,
        # Never reached: ``should_stop`` ends every round. Snapshots are timed separately.
        "steps": 10**6,
        "snapshot_steps": 10**9,
        "keep_snapshots": 1,
    }
    if recipe == "pretrained":
        if importlib.util.find_spec("timm") is None:
            raise SkipStage("timm is not installed")
        has_weights = settings.environment()["weights"] != "missing"
        record.figure("weights", "ImageNet" if has_weights else "random: no file of weights")
        changes["pretrained"] = has_weights
    if settings.is_small:
        # The stage `resume` uses Muon, which dominates the time of a step on a CPU.
        changes |= {"batch_size": 4, "optimiser": "sgd"}
    return changes


def _measure(record: Record, settings: Settings, config: TrainConfig, data: TrainingData) -> None:
    name = config.precision
    trainer = new_trainer(settings, config, data, f"speed-{config.recipe}-{name}")
    bare = Bare(config, data, trainer.device)
    rates = compare(
        trainer,
        bare,
        n_rounds=2 if settings.is_small else 5,
        n_least=1 if settings.is_small else 5,
        seconds=0.05 if settings.is_small else 0.6,
        left=record.left,
    )
    rates |= {
        "images": f"{config.height}x{config.width}",
        "batch_size": config.batch_size,
        "bits": sum(config.lengths),
        "n_images": len(data.fit_items),
    }
    record.figure(name, rates)
    share = rates["share_of_bare"]
    if settings.is_small:  # rates on a busy CPU are not meaningful
        record.check(f"{name}: loop and bare network both run", share > 0, f"{share:.1%}")
    else:
        detail = f"{share:.1%} of the bare network, {BAR:.0%} wanted"
        record.check(f"{name}: the loop keeps up with the bare network", share >= BAR, detail)
    if trainer.device.type == "cuda":
        bare.cudnn = {"benchmark": True, "deterministic": False, "allow_tf32": True}
        bare.seconds(bare.step, 10)
        rate = rates["n_steps"] * config.batch_size / bare.seconds(bare.step, rates["n_steps"])
        record.figure(f"{name}_bare_with_fastest_kernels", round(rate, 1))
        del bare
        record.figure(f"{name}_waits", count_waits(trainer, 50))
        record.figure(f"{name}_idle", _idle(trainer, rates["milliseconds_per_step"]))
        peak = torch.cuda.max_memory_allocated() / 2**30
        record.figure(f"{name}_peak_memory_gib", round(peak, 2))
        torch.cuda.reset_peak_memory_stats()


def _idle(trainer: Any, milliseconds_per_step: float) -> dict[str, Any]:
    """Fraction of a step in which the GPU is idle, or the reason why it is unknown."""
    try:
        busy = 1000 * busy_seconds(trainer, 10)
    except Exception as error:
        return {"share": None, "reason": one_line(error)}
    share = max(0.0, 1 - busy / milliseconds_per_step)
    return {"share": round(share, 4), "busy_milliseconds_per_step": round(busy, 3)}
