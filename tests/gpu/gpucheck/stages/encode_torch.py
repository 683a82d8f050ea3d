"""Encoding with torch on the device, for comparison with the runtimes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from gpucheck.images import real_pixels
from gpucheck.product import binarize
from gpucheck.product_training import choose_device, load_model
from gpucheck.record import Record
from gpucheck.settings import Settings
from gpucheck.subjects import find_subject
from gpucheck.training import synchronise

BATCH_SIZE = 256


def run(record: Record, settings: Settings) -> None:
    """Measure encoding from pixels to codes in memory, in fp32 with and without TF32."""
    subject = find_subject(settings, "best")
    pixels = real_pixels(
        settings, 300 if settings.is_small else 10_000, subject.size, subject.resize
    )
    device = choose_device(settings.device)
    model = load_model(subject.checkpoint).model.to(device).eval()

    @torch.inference_mode()
    def encode() -> NDArray[np.uint8]:
        parts = []
        for start in range(0, len(pixels), BATCH_SIZE):
            images = torch.from_numpy(pixels[start : start + BATCH_SIZE]).to(device)
            parts.append(binarize(model(images).cpu().numpy()))
        return np.concatenate(parts)

    codes = {}
    for name, is_tf32 in (("exact", False), ("fast", True)):
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = is_tf32
        codes[name] = encode()  # also warms up
        record.figure(
            f"images_per_second_{name}",
            round(len(pixels) / _median_seconds(encode, device, 3 if settings.is_small else 7), 1),
        )
    np.save(settings.work_path / "torch-codes.npy", codes["exact"])
    record.figure("n_images", len(pixels))
    record.figure("batch_size", BATCH_SIZE)
    flips = int(np.unpackbits(codes["exact"] ^ codes["fast"]).sum())
    record.figure("bits_flipped_by_tf32", flips)


def _median_seconds(encode: Callable[[], object], device: torch.device, n_rounds: int) -> float:
    times = []
    for _ in range(n_rounds):
        synchronise(device)
        started = time.perf_counter()
        encode()
        times.append(time.perf_counter() - started)
    return statistics.median(times)
