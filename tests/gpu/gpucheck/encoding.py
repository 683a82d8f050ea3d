"""Outputs of a runtime compared with the CPU's, and rates compared with a bare session."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpucheck.product import binarize
from gpucheck.product_encoding import (
    Answers,
    Encoder,
    answers_of,
    create_session,
    cuda_options,
    default_batch_size,
)
from gpucheck.settings import Settings

__all__ = ["bare_rates", "compare_outputs", "equal_bits", "reference_answers"]


def reference_answers(settings: Settings, model: Path, pixels: NDArray[np.uint8]) -> Answers:
    """Outputs of ONNX Runtime on the CPU, which several stages compare with."""
    data = settings.environment()["data"]["set"]
    path = settings.work_path / f"answers-{model.parent.name}-{data}-{len(pixels)}.npz"
    if not path.is_file() or path.stat().st_mtime < model.stat().st_mtime:
        answers_of(Encoder.load(model, "cpu").run, [pixels], 64).save(path)
    return Answers.load(path)


def compare_outputs(found: Answers, expected: Answers, n_bits: int) -> dict[str, Any]:
    """Differences between outputs and those of the CPU."""
    flipped = (found.logits > 0) != (expected.logits > 0)
    near = np.abs(expected.logits[flipped])
    return {
        "n_images": len(found.codes),
        "flips_per_million_bits": round(1e6 * float(flipped.mean()), 3),
        "n_flipped_bits": int(flipped.sum()),
        "largest_flipped_logit": float(near.max()) if near.size else 0.0,
        "largest_logit_difference": float(np.abs(found.logits - expected.logits).max()),
        "largest_logit": float(np.abs(expected.logits).max()),
        "codes_are_packed_logits": bool(np.array_equal(found.codes, binarize(found.logits))),
        "n_bits": n_bits,
    }


def equal_bits(encoder: Encoder, pixels: NDArray[np.uint8]) -> dict[str, bool]:
    """Whether logits are identical for each batch size."""
    expected = answers_of(encoder.run, [pixels], default_batch_size(encoder)).logits
    outcome = {}
    for size in (1, 8, 64, 256, 1024):
        some = pixels[: 64 if size == 1 else 4 * size]
        found = answers_of(encoder.run, [some], size).logits
        outcome[str(size)] = bool(np.array_equal(found, expected[: len(some)]))
    return outcome


def bare_rates(
    encoder: Encoder,
    model: Path,
    device: str,
    profile: str,
    pixels: NDArray[np.uint8],
    n_rounds: int,
) -> dict[str, Any]:
    """Images per second of the encoder, and of a bare session with its buffers on the device.

    The bare session has the same options. Its input and outputs stay on the device, so it leaves
    out the copies that an encoder needs.
    """
    batch_size = default_batch_size(encoder)
    run_bare = _bare_session(encoder, model, device, profile, pixels[:batch_size])
    n_batches = max(1, len(pixels) // batch_size)
    whole = pixels[: n_batches * batch_size]

    def run_encoder() -> None:
        for start in range(0, len(whole), batch_size):
            encoder.run(whole[start : start + batch_size])

    def run_session() -> None:
        for _ in range(n_batches):
            run_bare()

    rates: dict[str, list[float]] = {"encoder": [], "bare": []}
    ways: dict[str, Callable[[], None]] = {"encoder": run_encoder, "bare": run_session}
    for way in ways.values():
        way()
    for number in range(n_rounds):
        for name in list(ways) if number % 2 else reversed(list(ways)):
            started = time.perf_counter()
            ways[name]()
            rates[name].append(len(whole) / (time.perf_counter() - started))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    return {
        "batch_size": batch_size,
        "images_per_second": round(medians["encoder"], 1),
        "images_per_second_bare": round(medians["bare"], 1),
        "share_of_bare": round(medians["encoder"] / medians["bare"], 4),
    }


def _bare_session(
    encoder: Encoder, model: Path, device: str, profile: str, batch: NDArray[np.uint8]
) -> Callable[[], None]:
    import onnxruntime

    if device == "cuda":
        provider, options = "CUDAExecutionProvider", cuda_options(profile)
    else:
        provider, options = "CPUExecutionProvider", {}
    from gpucheck.product_encoding import available_cpus

    session = create_session(model.read_bytes(), provider, options, available_cpus(), 3)
    binding = session.io_binding()
    of_numpy = onnxruntime.OrtValue.ortvalue_from_numpy
    image = of_numpy(np.ascontiguousarray(batch), device, 0)
    binding.bind_ortvalue_input("image", image)
    codes, logits = encoder.run(batch)
    outputs = [of_numpy(value, device, 0) for value in (codes, logits)]
    for name, value in zip(("code", "logit"), outputs, strict=True):
        binding.bind_ortvalue_output(name, value)

    def run() -> None:
        session.run_with_iobinding(binding)

    return run
