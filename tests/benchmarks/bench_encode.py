"""What the encode pipeline costs on top of the bare model.

    python tests/benchmarks/bench_encode.py
    python tests/benchmarks/bench_encode.py --model model.onnx --images folder

Compares, in alternation within one run, the bare session on pixels that lie ready in memory
with the whole pipeline from image files to a code bank. Without arguments the model is the Caffe
DNNH network at 12 bits (which needs torch), and the files are 32x32 JPEGs made for the run.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image

from hashkit.bank.header import BankSource
from hashkit.bank.names import hash_names
from hashkit.datasets.imageset import ImageSet
from hashkit.machine import processor
from hashkit.manifest import Manifest
from hashkit.preprocess import IMAGE_SUFFIXES
from hashkit.runtimes.encoder import Encoder, default_batch_size
from hashkit.runtimes.pipeline import encode_to_bank
from hashkit.threads import cpu_affinity


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", type=Path, help="an ONNX file that keeps the contract")
    parser.add_argument("--images", type=Path, help="a folder of images")
    parser.add_argument("--n-images", type=int, default=1000, help="images to make or to take")
    parser.add_argument("--rounds", type=int, default=5, help="repetitions of each measurement")
    parser.add_argument("--batch-size", type=int, help="images a batch")
    parser.add_argument("--n-workers", type=int, help="threads that decode")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        images = _image_set(args.images or make_jpegs(scratch / "images", args.n_images))
        images = images.subset(np.arange(min(len(images), args.n_images)))
        model = args.model or export_dnnh(scratch / "dnnh.onnx", images)
        encoder = Encoder.load(model, args.device)
        batch_size = args.batch_size or default_batch_size(encoder)
        compare(encoder, images, scratch / "bank.h5", args.rounds, batch_size, args.n_workers)


def compare(
    encoder: Encoder,
    images: ImageSet,
    bank: Path,
    rounds: int,
    batch_size: int,
    n_workers: int | None,
) -> None:
    """Time both ways ``rounds`` times, and print rates and their ratio."""
    pixels = np.stack([encoder.prepare(images.source(row)) for row in range(len(images))])
    fingerprint = hash_names(images.names, None)
    source = BankSource(images.name, str(images.root), "", "all", None, len(images), fingerprint)
    bare, whole, decode = [], [], []
    for _ in range(rounds):
        started = time.perf_counter()
        for row in range(0, len(pixels), batch_size):
            encoder.run(pixels[row : row + batch_size])
        bare.append(time.perf_counter() - started)
        started = time.perf_counter()
        encode_to_bank(
            encoder,
            images,
            bank,
            source=source,
            batch_size=batch_size,
            n_workers=n_workers,
            mode="overwrite",
        )
        whole.append(time.perf_counter() - started)
        started = time.perf_counter()
        for row in range(len(images)):
            encoder.prepare(images.source(row))
        decode.append(time.perf_counter() - started)
    ratios = [a / b for a, b in zip(bare, whole, strict=True)]
    print(f"machine          {machine()}")
    print(f"model            {encoder.n_bits} bits, {encoder.provider}, {encoder.runtime}")
    print(f"images           {len(images)}, batch {batch_size}, {rounds} rounds")
    print(f"bare session     {rate(bare, images):8.0f} images/s, pixels in memory")
    print(f"files to bank    {rate(whole, images):8.0f} images/s")
    print(f"decode alone     {rate(decode, images):8.0f} images/s, one thread")
    print(
        f"files to bank at {statistics.median(ratios):.1%} of the bare session "
        f"(median; {min(ratios):.1%} to {max(ratios):.1%})"
    )


def rate(seconds: list[float], images: ImageSet) -> float:
    """Images per second, by the median time."""
    return len(images) / statistics.median(seconds)


def make_jpegs(folder: Path, n_images: int) -> Path:
    """Write 32x32 JPEG files of gradients and noise, which compress about as photographs do."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 1, 32)
    for number in range(n_images):
        slopes = rng.uniform(-128, 128, (2, 3))
        plane = ramp[:, None, None] * slopes[0] + ramp[None, :, None] * slopes[1]
        pixels: NDArray[np.uint8] = np.clip(
            plane + 128 + rng.normal(0, 12, (32, 32, 3)), 0, 255
        ).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:06d}.jpg", quality=75)
    return folder


def export_dnnh(path: Path, images: ImageSet) -> Path:
    """Export the Caffe DNNH network with fresh weights, at 12 bits."""
    import torch

    from hashkit.exporters.onnx_export import export_onnx
    from hashkit.preprocess import load
    from hashkit.training.model import HashModel
    from hashkit.training.networks import build_network

    size, resize = (32, 32), "crop-bilinear"
    network = build_network("dnnh-caffe", dropout=0.5, pretrained=False)
    mean, std = torch.full((3, 1, 1), 120.0), torch.full((3, 1, 1), 1.0)
    model = HashModel(network, lengths=(12,), size=size, mean=mean, std=std, standardise=False)
    manifest = Manifest(12, *size, resize=resize, network="dnnh-caffe")
    pixels = np.stack([load(images.source(row), size, resize) for row in range(64)])
    report = export_onnx(model, manifest, path, images=pixels)
    print(f"export           {report.parity.summary()}")
    return path


def machine() -> str:
    """CPU, usable cores, and versions."""
    return f"{processor()}, {cpu_affinity()} cores, onnxruntime {onnxruntime.__version__}"


def _image_set(folder: Path) -> ImageSet:
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    names = [path.relative_to(folder).as_posix() for path in paths]
    return ImageSet(folder.name, names, root=folder)


if __name__ == "__main__":
    main()
