"""Encoding with TensorRT, if its libraries are installed."""

from __future__ import annotations

import time

from gpucheck.encoding import compare_outputs, reference_answers
from gpucheck.images import real_pixels
from gpucheck.product_encoding import RUNTIMES, Encoder, answers_of, default_batch_size
from gpucheck.record import Record, SkipStage
from gpucheck.settings import Settings
from gpucheck.subjects import find_subject

_NAME = "onnxruntime-tensorrt"
_LARGEST_FLIPPED = 0.05
"""TensorRT may use TF32."""


def run(record: Record, settings: Settings) -> None:
    """Build an engine and encode with it."""
    if reason := RUNTIMES[_NAME].why_absent():
        raise SkipStage(reason)
    subject = find_subject(settings, "best")
    pixels = real_pixels(settings, 10_000, subject.size, subject.resize)
    started = time.perf_counter()
    encoder = Encoder.load(subject.onnx, "cuda", runtime=_NAME)
    record.figure("build_seconds", round(time.perf_counter() - started, 2))
    record.check("the provider", encoder.provider == "TensorrtExecutionProvider", encoder.provider)
    batch_size = default_batch_size(encoder)
    answers_of(encoder.run, [pixels], batch_size)
    started = time.perf_counter()
    found = answers_of(encoder.run, [pixels], batch_size)
    seconds = time.perf_counter() - started
    record.figure("images_per_second", round(len(pixels) / seconds, 1))
    record.figure("about", {"runtime": encoder.runtime, "precision": encoder.precision})
    bits = compare_outputs(found, reference_answers(settings, subject.onnx, pixels), subject.n_bits)
    record.figure("beside_cpu", bits)
    record.check(
        "only logits next to 0 flip",
        bits["largest_flipped_logit"] <= _LARGEST_FLIPPED,
        f"{bits['flips_per_million_bits']:.1f} bits of a million, all within "
        f"{bits['largest_flipped_logit']:.1e} of 0",
    )
