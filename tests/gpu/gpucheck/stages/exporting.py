"""A short training on the device, and its export with a comparison with ONNX Runtime."""

from __future__ import annotations

import importlib.util
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpucheck.images import real_pixels
from gpucheck.product_training import (
    ModuleSource,
    TrainConfig,
    export_onnx,
    load_model,
    verify,
)
from gpucheck.record import Record, SkipStage
from gpucheck.settings import Settings
from gpucheck.subjects import Subject, keep_subject
from gpucheck.training import config_of, new_trainer, training_data

_N_IMAGES = 256


def export(record: Record, settings: Settings, changes: dict[str, Any], size: int | None) -> None:
    """Train with a recipe, export, and keep the model for the encoding stages."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            raise SkipStage(f"{package} is not installed")
    config = config_of(settings, changes, size)
    trainer = new_trainer(settings, config, training_data(settings, config), config.recipe)
    started = time.perf_counter()
    result = trainer.fit()
    record.figure(
        "training",
        {
            "device": str(trainer.device),
            "precision": config.precision,
            "n_steps": result.n_steps,
            "seconds": round(time.perf_counter() - started, 2),
            "images_per_second": round(result.images_per_second, 1),
            "held_out": result.best_score,
        },
    )
    checkpoint = trainer.run.checkpoint_path()
    loaded = load_model(checkpoint)
    pixels = real_pixels(
        settings, 32 if settings.is_small else _N_IMAGES, loaded.manifest.size, config.resize
    )
    path = trainer.run.model_path
    report = export_onnx(loaded.model, loaded.manifest, path, images=pixels)
    record.figure("export", {"seconds": round(report.seconds, 2), "n_bytes": report.n_bytes})
    parity = report.parity.to_dict()
    record.figure("parity", parity)
    record.check("the ONNX file matches torch", parity["passed"], report.parity.summary())
    size_of = (config.height, config.width)
    keep_subject(
        settings,
        config.recipe,
        Subject(path, checkpoint, size_of, config.resize, loaded.manifest.n_bits),
    )
    if settings.device == "cuda":
        _verify_on_cuda(record, config, loaded.model, path, pixels)


def _verify_on_cuda(
    record: Record, config: TrainConfig, model: Any, path: Any, pixels: NDArray[np.uint8]
) -> None:
    """Compare with ONNX Runtime on the GPU, in a process that has imported torch."""
    import onnxruntime

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        record.figure("parity_on_cuda", "this ONNX Runtime has no CUDA provider")
        return
    with record.attempt("ONNX Runtime on CUDA gives the outputs of torch on the CPU"):
        # Ten times the absolute tolerance of the CPU, because a GPU sums in another order.
        parity = verify(ModuleSource(model), path, pixels, device="cuda", absolute_tolerance=1e-3)
        record.figure("parity_on_cuda", parity.to_dict())
        name = "ONNX Runtime on CUDA gives the outputs of torch on the CPU"
        record.check(name, parity.passed, f"{parity.provider}: {parity.summary()}")
