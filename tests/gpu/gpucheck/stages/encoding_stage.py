"""Encoding with ONNX Runtime: differences from the CPU and between batch sizes, and rates."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
from numpy.typing import NDArray

from gpucheck.encoding import bare_rates, compare_outputs, equal_bits, reference_answers
from gpucheck.images import real_pixels
from gpucheck.product_encoding import (
    Encoder,
    allowed_difference,
    answers_of,
    default_batch_size,
    why_no_cuda,
)
from gpucheck.record import Record, SkipStage
from gpucheck.settings import Settings
from gpucheck.subjects import Subject, find_subject

_TF32_FLIPS = 0.05
"""Largest logit whose bit TF32 may flip; it changes logits by a few thousandths."""


def encode(record: Record, settings: Settings, recipe: str, n_images: int) -> None:
    """Measure the model of a recipe in both profiles."""
    if importlib.util.find_spec("onnxruntime") is None:
        raise SkipStage("onnxruntime is not installed")
    subject = find_subject(settings, recipe)
    if settings.device == "cuda" and (reason := why_no_cuda()):
        raise SkipStage(reason)
    pixels = real_pixels(settings, n_images, subject.size, subject.resize)
    for profile in ("exact", "fast"):
        with record.attempt(f"profile {profile}"):
            _measure(record, settings, subject, profile, pixels)
    if recipe == "best":
        _beside_torch(record, settings)


def _measure(
    record: Record, settings: Settings, subject: Subject, profile: str, pixels: NDArray[np.uint8]
) -> None:
    encoder = Encoder.load(subject.onnx, settings.device, profile=profile)
    about = {
        "runtime": encoder.runtime,
        "provider": encoder.provider,
        "precision": encoder.precision,
    }
    wanted = "CUDAExecutionProvider" if settings.device == "cuda" else "CPUExecutionProvider"
    record.check(f"{profile}: the provider", encoder.provider == wanted, encoder.provider)
    # First, because the outputs of the CPU take longest and figures of the GPU matter most.
    n_rounds = 2 if settings.is_small else 5
    rates = bare_rates(encoder, subject.onnx, settings.device, profile, pixels, n_rounds)
    record.figure(profile, about | rates)
    found = answers_of(encoder.run, [pixels], default_batch_size(encoder))
    bits = compare_outputs(found, reference_answers(settings, subject.onnx, pixels), subject.n_bits)
    record.figure(f"{profile}_beside_cpu", bits)
    record.check(f"{profile}: codes are the packed logits", bits["codes_are_packed_logits"])
    largest = bits["largest_logit"]
    # Ten times the absolute tolerance of an export, because a GPU sums in another order.
    allowed = allowed_difference(largest, 1e-3) if profile == "exact" else _TF32_FLIPS
    record.check(
        f"{profile}: only logits next to 0 flip",
        bits["largest_flipped_logit"] <= allowed,
        f"{bits['flips_per_million_bits']:.1f} bits of a million, all within "
        f"{bits['largest_flipped_logit']:.1e} of 0",
    )
    if profile != "exact":  # which would tune its kernels for each size
        return
    equal = equal_bits(encoder, pixels[: 4 * 1024])
    record.figure("exact_equal_bits_by_batch_size", equal)
    if settings.device == "cuda":
        differ = [size for size, is_equal in equal.items() if not is_equal]
        detail = f"different at {', '.join(differ)}" if differ else "1, 8, 64, 256, 1024"
        record.check("exact: equal bits at every batch size", not differ, detail)


def _beside_torch(record: Record, settings: Settings) -> None:
    """Record ratios to torch's rate on the same device, if it was measured."""
    path = settings.work_path / "records" / "encode-torch.json"
    if not path.is_file():
        return
    torch_figures = json.loads(path.read_text(encoding="utf-8"))["figures"]
    for profile in ("exact", "fast"):
        of_torch = torch_figures.get(f"images_per_second_{profile}")
        own = record.figures.get(profile, {}).get("images_per_second")
        if of_torch and own:
            record.figure(f"{profile}_times_torch", round(own / of_torch, 3))
