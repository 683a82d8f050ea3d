"""How near the whole encode pipeline comes to its slowest stage, and to the usual script in torch.

    python tests/benchmarks/bench_pipeline.py
    python tests/benchmarks/bench_pipeline.py --files folder-of-small-images --n-files 2000

Three comparisons, each in alternation within one run, on the network ``compact`` with fresh weights
and mirrored logits, at 32x32 (which needs torch):

- arrays in memory to a bank, against the bare session;
- photographs (JPEG files of 5 megapixels, made for the run) to a bank, against the decoder alone on
  as many threads; by the plain resize rule and by the reduced one;
- with ``--files``, a folder of class folders to a bank, in fp32 and int8, against a loop over
  torchvision's ImageFolder and torch's DataLoader with as many worker processes, which computes the
  same logits with the same network. It needs torchvision.

CPU time, of all threads and processes, stands beside the rates: on a machine that has other
work, its ratios are the ones that hold.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from bench_encode import machine
from numpy.typing import NDArray
from PIL import Image

from hashkit.bank.header import BankSource
from hashkit.bank.names import hash_names
from hashkit.bank.reader import Bank
from hashkit.datasets.folders import open_image_folder
from hashkit.datasets.imageset import ImageSet
from hashkit.exporters.int8 import to_int8
from hashkit.exporters.onnx_export import export_onnx
from hashkit.manifest import Manifest
from hashkit.preprocess import load
from hashkit.runtimes.encoder import Encoder, default_batch_size
from hashkit.runtimes.pipeline import encode_to_bank
from hashkit.threads import available_cpus
from hashkit.training.model import HashModel
from hashkit.training.networks import build_network

SIZE = (32, 32)
N_BITS = 48
RULE = "crop-bilinear"
PHOTOGRAPH = (1944, 2592)


def main() -> None:
    """Run the comparisons and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--n-arrays", type=int, default=2000, help="images in memory")
    parser.add_argument("--n-photographs", type=int, default=100, help="photographs to make")
    parser.add_argument("--files", type=Path, help="a folder of class folders of small images")
    parser.add_argument("--n-files", type=int, default=2000, help="images to take of it")
    parser.add_argument("--rounds", type=int, default=5, help="repetitions of each measurement")
    args = parser.parse_args()
    torch.set_num_threads(available_cpus())
    print(f"machine   {machine()}, torch {torch.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        pixels = textures(max(64, args.n_arrays))
        model = new_model(pixels[:64])
        plain = write_model(model, scratch / "plain.onnx", RULE, pixels[:64])
        reduced = write_model(model, scratch / "reduced.onnx", f"{RULE}-reduced", pixels[:64])
        if args.n_arrays:
            compare_arrays(plain, pixels, scratch, args.rounds)
        if args.n_photographs:
            photographs = make_photographs(scratch / "photographs", args.n_photographs)
            compare_photographs([plain, reduced], photographs, scratch, args.rounds)
        if args.files is not None:
            images = spread(open_image_folder(args.files), args.n_files)
            compare_with_torch(model, plain, images, scratch, args.rounds)


def compare_arrays(model: Path, pixels: NDArray[np.uint8], scratch: Path, rounds: int) -> None:
    """Arrays to a bank against the bare session."""
    encoder = Encoder.load(model, "cpu")
    images = ImageSet("arrays", [f"arrays/{row}" for row in range(len(pixels))], pixels=pixels)
    size = default_batch_size(encoder)

    def bare() -> None:
        for row in range(0, len(pixels), size):
            encoder.run(pixels[row : row + size])

    print(f"\n{len(pixels)} arrays of {SIZE[0]}x{SIZE[1]}, batch {size}")
    ways = {"bare session": bare, "pipeline": lambda: to_bank(encoder, images, scratch)}
    report(ways, len(pixels), rounds, base="bare session")


def compare_photographs(models: list[Path], images: ImageSet, scratch: Path, rounds: int) -> None:
    """Photographs to a bank against the decoder alone, by each model's resize rule."""
    height, width = PHOTOGRAPH
    print(f"\n{len(images)} JPEG photographs of {width}x{height}, {available_cpus()} threads")
    banks = []
    for model in models:
        encoder = Encoder.load(model, "cpu")

        def decoder(prepare: Callable[[Any], Any] = encoder.prepare) -> None:
            with ThreadPoolExecutor(available_cpus()) as pool:
                list(pool.map(lambda row: prepare(images.source(row)), range(len(images))))

        ways = {
            "decoder alone": decoder,
            "pipeline": lambda encoder=encoder: to_bank(encoder, images, scratch),
        }
        print(encoder.manifest.resize)
        report(ways, len(images), rounds, base="decoder alone")
        banks.append(np.array(Bank.open(scratch / "bank.h5").codes))
    flipped = int(np.unpackbits(banks[0] ^ banks[1]).sum())
    print(f"between the two rules {flipped} of {len(images) * N_BITS:,} bits differ")


def compare_with_torch(
    model: HashModel, plain: Path, images: ImageSet, scratch: Path, rounds: int
) -> None:
    """Files to a bank, in fp32 and int8, against the usual loop in torch."""
    int8 = scratch / "int8.onnx"
    calibration = np.stack(
        [load(images.source(row), SIZE, RULE) for row in range(0, len(images), len(images) // 100)]
    )
    quantised = to_int8(onnx.load(plain), calibration, flipped_per_million=1_000_000)
    onnx.save_model(quantised.model, int8)
    encoders = {
        "pipeline, fp32": Encoder.load(plain, "cpu"),
        "pipeline, int8": Encoder.load(int8, "cpu"),
    }
    found: list[NDArray[np.uint8]] = []
    ways: dict[str, Callable[[], Any]] = {
        "torch, DataLoader": lambda: found.append(torch_codes(model, images)),
        **{
            name: lambda encoder=encoder: to_bank(encoder, images, scratch)
            for name, encoder in encoders.items()
        },
        "bare session, fp32": lambda: bare_session(encoders["pipeline, fp32"], len(images)),
    }
    print(f"\n{len(images)} files of {images.name}")
    report(ways, len(images), rounds, base="torch, DataLoader")
    to_bank(encoders["pipeline, fp32"], images, scratch)
    different = np.unpackbits(found[0] ^ Bank.open(scratch / "bank.h5").codes).sum()
    print(
        f"between torch and the pipeline in fp32 {different} of {found[0].size * 8:,} bits differ"
    )


def bare_session(encoder: Encoder, n_images: int) -> None:
    """The model alone, on as many images of noise."""
    batch = textures(default_batch_size(encoder))
    for start in range(0, n_images, len(batch)):
        encoder.run(batch[: n_images - start])


def torch_codes(model: HashModel, images: ImageSet) -> NDArray[np.uint8]:
    """Codes by a typical script: a data loader, the model, the sign."""
    from torch.utils.data import DataLoader, Subset
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import PILToTensor

    assert images.root is not None
    folder = ImageFolder(str(images.root), transform=PILToTensor())
    place = {
        Path(path).relative_to(images.root).as_posix(): at
        for at, (path, _) in enumerate(folder.samples)
    }
    wanted = Subset(folder, [place[name] for name in images.names])
    loader = DataLoader(wanted, batch_size=32, num_workers=available_cpus())
    codes = []
    with torch.inference_mode():
        for batch, _ in loader:
            codes.append(np.packbits(model(batch.permute(0, 2, 3, 1)).numpy() > 0, axis=1))
    return np.concatenate(codes)


def to_bank(encoder: Encoder, images: ImageSet, scratch: Path) -> None:
    """The whole pipeline, into a new bank."""
    names = hash_names(images.names, images.labels)
    root = None if images.root is None else str(images.root)
    source = BankSource(images.name, root, "", "all", None, len(images), names)
    encode_to_bank(encoder, images, scratch / "bank.h5", source=source, mode="overwrite")


def report(ways: dict[str, Callable[[], Any]], n_images: int, rounds: int, base: str) -> None:
    """Time each way in alternation, and print rates and ratios to ``base``."""
    walls: dict[str, list[float]] = {name: [] for name in ways}
    used: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, run in ways.items():
            started, before = time.perf_counter(), sum(os.times()[:4])
            run()
            walls[name].append(time.perf_counter() - started)
            used[name].append(sum(os.times()[:4]) - before)
    for name in ways:
        of_wall, of_used = (
            statistics.median(a / b for a, b in zip(times[base], times[name], strict=True))
            for times in (walls, used)
        )
        rate = n_images / statistics.median(walls[name])
        milliseconds = 1000 * statistics.median(used[name]) / n_images
        print(
            f"  {name:20} {rate:9.1f} images/s, {of_wall:6.1%}    processor "
            f"{milliseconds:7.2f} ms an image, {of_used:6.1%}",
            flush=True,
        )


def new_model(pixels: NDArray[np.uint8]) -> HashModel:
    """The network ``compact`` with fresh weights, its logits standardised on some images."""
    torch.manual_seed(0)
    network = build_network("compact", dropout=0.0, pretrained=False)
    mean, std = torch.full((3, 1, 1), 120.0), torch.full((3, 1, 1), 60.0)
    model = HashModel(
        network, lengths=(N_BITS,), size=SIZE, mean=mean, std=std, standardise=True, mirror=True
    )
    with torch.inference_mode():
        for _ in range(20):  # running means and variances of all normalisations
            model.train()(torch.from_numpy(pixels))
    return model.eval()


def write_model(model: HashModel, path: Path, rule: str, pixels: NDArray[np.uint8]) -> Path:
    """Export a model with a resize rule."""
    manifest = Manifest(N_BITS, *SIZE, resize=rule, network="compact")
    export_onnx(model, manifest, path, images=pixels)
    return path


def textures(n_images: int) -> NDArray[np.uint8]:
    """Images of smooth noise, uint8 [n, 32, 32, 3]."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (n_images, 5, 5, 3), np.uint8)
    side = Image.Resampling.BICUBIC
    return np.stack([np.asarray(Image.fromarray(one).resize(SIZE, side)) for one in coarse])


def make_photographs(folder: Path, n_images: int) -> ImageSet:
    """Write JPEG files with detail at every scale, as photographs have it, from seeded noise."""
    folder.mkdir()
    height, width = PHOTOGRAPH
    for number in range(n_images):
        rng = np.random.default_rng(number)
        image = rng.normal(0, 0.04, (height, width, 3)).astype(np.float32)
        for octave in range(9):
            across = 3 * 2**octave
            down = max(2, across * height // width)
            for channel in range(3):
                grid = Image.fromarray(
                    rng.normal(0, 0.6**octave, (down, across)).astype(np.float32)
                )
                image[..., channel] += grid.resize((width, height), Image.Resampling.BICUBIC)
        image = image / image.std() * 50 + 128
        Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).save(
            folder / f"{number:04d}.jpg", quality=90
        )
    return open_image_folder(folder)


def spread(images: ImageSet, n_images: int) -> ImageSet:
    """Up to ``n_images`` evenly spaced images of a set."""
    return images.subset(np.linspace(0, len(images) - 1, min(n_images, len(images))).astype(int))


if __name__ == "__main__":
    main()
