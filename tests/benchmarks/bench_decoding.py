"""Where the time of preparing images goes, and how fast other decoders are.

    python tests/benchmarks/bench_decoding.py --small SMALL --photographs PHOTOGRAPHS

Both are folders of JPEG files. The parts of preparing one image are timed alone, in one thread and
by CPU time, in alternation. Decoders that are not installed are left out (`simplejpeg`,
`opencv-python-headless`, torchvision). A decoder counts only if its pixels are those of Pillow, so
the images whose pixels are equal are counted. Then the same files are prepared by two threads and
by two processes.
"""

from __future__ import annotations

import argparse
import importlib
import io
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from bench_encode import machine
from numpy.typing import NDArray
from PIL import Image

from hashkit.imaging.content import FileContent, read_image_file
from hashkit.imaging.jpeg import check_jpeg
from hashkit.preprocess import decode, fit, load

RULE = "crop-bilinear"
WORKERS = 2
CHUNK = 16


def main() -> None:
    """Time both folders."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--small", type=Path, help="a folder of small JPEG files")
    parser.add_argument("--photographs", type=Path, help="a folder of photographs")
    parser.add_argument("--n-small", type=int, default=1000, help="small files to take")
    parser.add_argument("--n-photographs", type=int, default=12, help="photographs to take")
    parser.add_argument("--rounds", type=int, default=5, help="repetitions of each measurement")
    args = parser.parse_args()
    print(f"machine   {machine()}")
    for folder, n_files, side in (
        (args.small, args.n_small, 32),
        (args.photographs, args.n_photographs, 128),
    ):
        if folder is not None:
            paths = spread(sorted(folder.rglob("*.jpg")), n_files)
            print(f"\n{len(paths)} files, to {side}x{side} by {RULE}; milliseconds per file")
            time_parts(paths, (side, side), args.rounds)
            time_workers(paths, (side, side), args.rounds)


def time_parts(paths: list[Path], size: tuple[int, int], rounds: int) -> None:
    """Parts of the preparation, then other decoders, each with the number of equal images."""
    datas = [path.read_bytes() for path in paths]
    images = [decode(data) for data in datas]
    parts: dict[str, tuple[Callable[[Any], Any], Sequence[Any]]] = {
        "read, with time and size": (read_image_file, paths),
        "digest": (lambda data: FileContent("", data, 0).digest(), datas),
        "search for holes": (check_jpeg, datas),
        "decode, with the search": (decode, datas),
        "resize": (lambda image: fit(image, size, RULE), images),
        "decode and resize": (lambda data: load(data, size, RULE), datas),
        "Pillow alone": (pillow, datas),
    }
    decoders = {name: one for name, one in DECODERS.items() if can_run(one, datas[0])}
    parts |= {name: (one, datas) for name, one in decoders.items()}
    times: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(rounds):
        for name, (run, items) in parts.items():
            started = time.thread_time()
            for item in items:
                run(item)
            times[name].append((time.thread_time() - started) / len(items) * 1e3)
    for name, found in times.items():
        note = ""
        if name in decoders:
            n_equal = sum(
                np.array_equal(decoders[name](data), np.asarray(image))
                for data, image in zip(datas, images, strict=True)
            )
            note = f"   {n_equal} of {len(datas)} images with equal pixels"
        print(f"  {name:26} {statistics.median(found):8.3f}{note}", flush=True)


def time_workers(paths: list[Path], size: tuple[int, int], rounds: int) -> None:
    """The same files by threads and by processes: CPU time of all, and files per second."""
    chunks = [paths[at : at + CHUNK] for at in range(0, len(paths), CHUNK)]
    jobs = [(chunk, size) for chunk in chunks]
    pools: dict[str, Executor] = {
        f"{WORKERS} threads": ThreadPoolExecutor(WORKERS),
        f"{WORKERS} processes": ProcessPoolExecutor(WORKERS),
    }
    rates: dict[str, list[float]] = {name: [] for name in pools}
    used: dict[str, list[float]] = {name: [] for name in pools}
    for at in range(rounds + 1):
        for name, pool in pools.items():
            started = time.perf_counter()
            # Processes report their own CPU time: that of a child counts when it has ended.
            own = time.process_time()
            inside = sum(seconds for seconds, _ in pool.map(prepare, jobs))
            own = time.process_time() - own
            if at:  # the first round starts the workers
                is_shared = isinstance(pool, ThreadPoolExecutor)
                used[name].append((own if is_shared else own + inside) / len(paths) * 1e3)
                rates[name].append(len(paths) / (time.perf_counter() - started))
    for name, pool in pools.items():
        pool.shutdown()
        print(
            f"  {name:26} {statistics.median(used[name]):8.3f}   "
            f"{statistics.median(rates[name]):,.0f} files/s",
            flush=True,
        )


def prepare(job: tuple[list[Path], tuple[int, int]]) -> tuple[float, NDArray[np.uint8]]:
    """CPU time of reading and preparing some files, and their pixels."""
    paths, size = job
    started = time.thread_time()
    pixels = np.stack([load(read_image_file(path), size, RULE) for path in paths])
    return time.thread_time() - started, pixels


def pillow(data: bytes) -> Image.Image:
    """Pillow's own reader."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def simplejpeg(data: bytes) -> NDArray[np.uint8]:
    """The package ``simplejpeg``, of libjpeg-turbo."""
    pixels: NDArray[np.uint8] = importlib.import_module("simplejpeg").decode_jpeg(data, "RGB")
    return pixels


def opencv(data: bytes) -> NDArray[np.uint8]:
    """The package ``opencv-python-headless``."""
    cv2 = importlib.import_module("cv2")
    pixels: NDArray[np.uint8] = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    return pixels


def torchvision(data: bytes) -> NDArray[np.uint8]:
    """torchvision's decoder."""
    torch = importlib.import_module("torch")
    reader = importlib.import_module("torchvision.io")
    packed = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    mode = reader.ImageReadMode.RGB
    pixels: NDArray[np.uint8] = reader.decode_jpeg(packed, mode=mode).permute(1, 2, 0).numpy()
    return pixels


DECODERS: dict[str, Callable[[bytes], NDArray[np.uint8]]] = {
    "simplejpeg": simplejpeg,
    "OpenCV": opencv,
    "torchvision": torchvision,
}


def can_run(decoder: Callable[[bytes], Any], data: bytes) -> bool:
    """Whether a decoder is installed."""
    try:
        decoder(data)
    except ImportError:
        return False
    return True


def spread(paths: list[Path], n_files: int) -> list[Path]:
    """Up to ``n_files`` evenly spaced paths."""
    return [
        paths[at] for at in np.linspace(0, len(paths) - 1, min(n_files, len(paths))).astype(int)
    ]


if __name__ == "__main__":
    main()
