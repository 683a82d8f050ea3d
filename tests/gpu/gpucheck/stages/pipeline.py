"""From image files to a bank, compared with the decoder alone and the model alone."""

from __future__ import annotations

import importlib.util
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from gpucheck.images import image_files
from gpucheck.product import Bank, BankSource, ImageSet, hash_names, load_pixels
from gpucheck.product_encoding import (
    Encoder,
    answers_of,
    available_cpus,
    decode_batches,
    default_batch_size,
    encode_to_bank,
    why_no_cuda,
)
from gpucheck.record import Record, SkipStage
from gpucheck.settings import Settings
from gpucheck.subjects import find_subject


def run(record: Record, settings: Settings) -> None:
    """Measure the three in alternating rounds."""
    if importlib.util.find_spec("onnxruntime") is None:
        raise SkipStage("onnxruntime is not installed")
    subject = find_subject(settings, "best")
    device = settings.device
    if device == "cuda" and (reason := why_no_cuda()):
        record.figure("device", f"the CPU: {reason}")
        device = "cpu"
    images = image_files(settings, 200 if settings.is_small else 20_000)
    encoder = Encoder.load(subject.onnx, device)
    batch_size, n_workers = default_batch_size(encoder), available_cpus()
    pixels = load_pixels(images, subject.size, subject.resize).pixels  # also loads the file cache
    bank = settings.work_path / "pipeline.h5"

    def decode() -> None:
        batches = decode_batches(
            images,
            encoder.prepare,
            subject.size,
            start=0,
            batch_size=batch_size,
            n_workers=n_workers,
        )
        for _ in batches:
            pass

    def to_bank() -> None:
        source = _source(images)
        encode_to_bank(encoder, images, bank, source=source, mode="overwrite")

    def bare() -> None:
        answers_of(encoder.run, [pixels], batch_size)

    ways: dict[str, Callable[[], None]] = {"decoder": decode, "pipeline": to_bank, "model": bare}
    rates = _rates(ways, len(images), 2 if settings.is_small else 4)
    slowest = min(rates["decoder"], rates["model"])
    record.figure("images", {"set": images.name, "files": len(images)})
    record.figure("provider", encoder.provider)
    record.figure("workers", n_workers)
    record.figure("images_per_second", {name: round(rate, 1) for name, rate in rates.items()})
    record.figure("share_of_decoder", round(rates["pipeline"] / rates["decoder"], 4))
    record.figure("share_of_slowest_part", round(rates["pipeline"] / slowest, 4))
    record.check("every image is in the bank", _n_rows(bank) == len(images), f"{len(images):,}")


def _rates(ways: dict[str, Callable[[], None]], n_images: int, n_rounds: int) -> dict[str, float]:
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(n_rounds):
        for name in list(ways) if number % 2 else reversed(list(ways)):
            started = time.perf_counter()
            ways[name]()
            seconds[name].append(time.perf_counter() - started)
    return {name: n_images / statistics.median(times) for name, times in seconds.items()}


def _source(images: ImageSet) -> BankSource:
    names = hash_names(images.names, images.labels)
    return BankSource(images.name, str(images.root), "", "all", None, len(images), names)


def _n_rows(bank: Path) -> int:
    return len(Bank.open(bank).codes)
