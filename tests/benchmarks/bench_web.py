"""How fast a model is in a browser, beside ONNX Runtime on one thread in Python.

    python tests/benchmarks/bench_web.py --model model.onnx --images folder

Takes a model's exported page in headless Chromium and, one picture at a time and on one thread in
both places, goes from files in memory to codes. Rounds alternate; the browser's own start and the
loading of the model are left out. Needs what the tests marked `browser` need.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from browser import Site, web_runtime, why_not

from hashkit.bank import Bank, BankSource, hash_names
from hashkit.codes import from_hex
from hashkit.datasets.imageset import ImageSet, spread_rows
from hashkit.exporters.web.folder import export_web
from hashkit.preprocess import IMAGE_SUFFIXES
from hashkit.runtimes.encoder import Encoder
from hashkit.runtimes.pipeline import encode_to_bank

SCRIPT = """
import { loadManifest } from "/site/bank.js";
import { toHex } from "/site/codes.js";
import { Model } from "/site/model.js";
import { prepare } from "/site/picture.js";

export default async function () {
  const { input } = await loadManifest();
  const model = await Model.load(input);
  const names = await (await fetch("/order/names.json")).json();
  const blobs = [];
  for (const name of names) blobs.push(await (await fetch(`/images/${name}`)).blob());
  const rounds = [];
  for (let round = 0; round < ROUNDS + 1; round++) {
    const start = performance.now();
    const codes = [];
    let prepared = 0;
    for (const blob of blobs) {
      const before = performance.now();
      const pixels = await prepare(blob, input);
      prepared += performance.now() - before;
      codes.push(toHex((await model.encode(pixels)).codes));
    }
    rounds.push({ seconds: (performance.now() - start) / 1000, prepared: prepared / 1000, codes });
  }
  return rounds.slice(1);
}
"""


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, help="an ONNX file that keeps the contract")
    parser.add_argument("--images", type=Path, help="a folder of images")
    parser.add_argument("--n-images", type=int, default=64, help="images to take")
    parser.add_argument("--rounds", type=int, default=3, help="repetitions in each place")
    arguments = parser.parse_args()
    reason = why_not()
    if arguments.model is None or arguments.images is None:
        reason = "it needs --model and --images"
    if reason is not None:
        print(f"skipped: {reason}")
        return
    found = [
        path.relative_to(arguments.images).as_posix()
        for path in sorted(arguments.images.rglob("*"))
        if path.suffix.lower() in IMAGE_SUFFIXES
    ]
    names = [found[row] for row in spread_rows(len(found), arguments.n_images)]
    encoder = Encoder.load(arguments.model, "cpu", n_threads=1)
    in_python = [_encode(encoder, arguments.images, names) for _ in range(arguments.rounds + 1)][1:]
    in_browser = _in_browser(encoder, arguments.model, arguments.images, names, arguments.rounds)
    _report(encoder, names, in_python, in_browser)


def _encode(encoder: Encoder, folder: Path, names: list[str]) -> tuple[float, np.ndarray]:
    files = [(folder / name).read_bytes() for name in names]
    start = time.perf_counter()
    codes = np.concatenate([encoder.encode(data) for data in files])
    return time.perf_counter() - start, codes


def _in_browser(
    encoder: Encoder, model: Path, folder: Path, names: list[str], rounds: int
) -> list[dict]:
    with tempfile.TemporaryDirectory() as place:
        images = ImageSet("bench", names, root=folder)
        source = BankSource(
            "bench", str(folder), "", "all", None, len(names), hash_names(names, None)
        )
        encode_to_bank(encoder, images, Path(place) / "bank.h5", source=source)
        runtime = web_runtime()
        assert runtime is not None
        site = Path(place) / "site"
        with Bank.open(Path(place) / "bank.h5") as bank:
            export_web(site, model=model, bank=bank, image_of={}.get, runtime=runtime)
        (Path(place) / "order").mkdir()
        (Path(place) / "order" / "names.json").write_text(json.dumps(names))
        with Site(site=site, images=folder, order=Path(place) / "order") as served:
            rounds_told: list[dict] = served.run(SCRIPT.replace("ROUNDS", str(rounds)), 580)
    return rounds_told


def _report(
    encoder: Encoder,
    names: list[str],
    in_python: list[tuple[float, np.ndarray]],
    in_browser: list[dict],
) -> None:
    n = len(names)
    python_seconds = statistics.median(seconds for seconds, _ in in_python)
    web_seconds = statistics.median(told["seconds"] for told in in_browser)
    prepared = statistics.median(told["prepared"] for told in in_browser)
    codes = np.stack([from_hex(text, encoder.n_bits) for text in in_browser[0]["codes"]])
    n_flipped = int(np.bitwise_count(codes ^ in_python[0][1]).sum())
    print(f"{platform.processor() or platform.machine()}, load {os.getloadavg()[0]:.1f}")
    print(f"{n} images, {encoder.manifest.network or 'unknown'}, {encoder.manifest.width} pixels")
    print(f"Python, one thread:  {n / python_seconds:8.1f} images/s")
    print(f"browser:             {n / web_seconds:8.1f} images/s, {prepared / web_seconds:.0%} of")
    print("                     the time in decoding and resizing")
    print(f"Python / browser:    {web_seconds / python_seconds:8.2f}")
    print(f"bits that differ:    {n_flipped} of {n * encoder.n_bits}")


if __name__ == "__main__":
    main()
