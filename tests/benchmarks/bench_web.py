"""How fast a model is in a browser, beside ONNX Runtime on one thread in Python.

    python tests/benchmarks/bench_web.py --model model.onnx --images folder
    python tests/benchmarks/bench_web.py --model model.onnx --images folder --webgpu gpu

Encodes files in memory, one picture at a time, on one thread: with a model's exported page in
headless Chromium, and in Python. The browser's own start and the loading of the
model are left out. With `--webgpu` the page is exported with WebGPU, and the model runs there too:
on the graphics card, or in software (SwiftShader), which shows which bits differ, but says nothing
about speed.
Needs what the tests marked `browser` need.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from browser import WEBGPU_IN_SOFTWARE, WEBGPU_ON_GPU, Site, web_runtime, why_not

from hashkit.bank.header import BankSource
from hashkit.bank.names import hash_names
from hashkit.bank.reader import Bank
from hashkit.codes import from_hex
from hashkit.datasets.imageset import ImageSet, spread_rows
from hashkit.exporters.web.folder import export_web
from hashkit.machine import processor
from hashkit.preprocess import IMAGE_SUFFIXES
from hashkit.runtimes.encoder import Encoder
from hashkit.runtimes.pipeline import encode_to_bank

SCRIPT = """
import { loadManifest } from "/site/page/bank.js";
import { toHex } from "/site/page/codes.js";
import { Model } from "/site/page/model.js";
import { prepare } from "/site/page/picture.js";

export default async function () {
  const { input } = await loadManifest();
  const processor = await Model.load(input);
  const names = await (await fetch("/order/names.json")).json();
  const blobs = [];
  for (const name of names) blobs.push(await (await fetch(`/images/${name}`)).blob());
  await measure(processor, blobs, input, 1); // everything is slower for the first time
  const told = { wasm: await measure(processor, blobs, input, ROUNDS) };
  if (!WEBGPU) return told;
  try {
    const { GpuModel } = await import("/site/page/webgpu.js");
    const gpu = await GpuModel.load(input, processor); // runs once, to try it
    told.webgpu = { line: gpu.line, ...(await measure(gpu, blobs, input, ROUNDS)) };
  } catch (error) {
    told.webgpu = { error: error.message };
  }
  return told;
}

async function measure(model, blobs, input, rounds) {
  const told = { seconds: [], prepared: [], codes: [], logits: [] };
  for (let round = 0; round < rounds; round++) {
    const start = performance.now();
    let prepared = 0;
    told.codes = [];
    told.logits = [];
    for (const blob of blobs) {
      const before = performance.now();
      const pixels = await prepare(blob, input);
      prepared += performance.now() - before;
      const { codes, logits } = await model.encode(pixels);
      told.codes.push(toHex(codes));
      told.logits.push(Array.from(logits));
    }
    told.seconds.push((performance.now() - start) / 1000);
    told.prepared.push(prepared / 1000);
  }
  return told;
}
"""


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, help="an ONNX file that keeps the contract")
    parser.add_argument("--images", type=Path, help="a folder of images")
    parser.add_argument("--n-images", type=int, default=64, help="images to take")
    parser.add_argument("--rounds", type=int, default=3, help="repetitions in each place")
    parser.add_argument("--webgpu", choices=["gpu", "software"], help="run it by WebGPU as well")
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
    in_browser = _in_browser(encoder, arguments, names)
    _report(encoder, names, in_python, in_browser)


def _encode(encoder: Encoder, folder: Path, names: list[str]) -> tuple[float, np.ndarray]:
    """Seconds for all images, and their logits."""
    files = [(folder / name).read_bytes() for name in names]
    start = time.perf_counter()
    logits = np.concatenate([encoder.logits(data) for data in files])
    return time.perf_counter() - start, logits


def _in_browser(
    encoder: Encoder, arguments: argparse.Namespace, names: list[str]
) -> dict[str, dict[str, Any]]:
    folder, webgpu = arguments.images, arguments.webgpu
    script = SCRIPT.replace("ROUNDS", str(arguments.rounds))
    script = script.replace("WEBGPU", json.dumps(webgpu is not None))
    flags: tuple[str, ...] = ()
    if webgpu is not None:
        flags = WEBGPU_ON_GPU if webgpu == "gpu" else WEBGPU_IN_SOFTWARE
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
            export_web(
                site,
                model=arguments.model,
                bank=bank,
                image_of={}.get,
                runtime=runtime,
                webgpu=webgpu is not None,
            )
        (Path(place) / "order").mkdir()
        (Path(place) / "order" / "names.json").write_text(json.dumps(names))
        with Site(site=site, images=folder, order=Path(place) / "order") as served:
            told: dict[str, dict[str, Any]] = served.run(script, 3000, *flags)
    return told


def _report(
    encoder: Encoder,
    names: list[str],
    in_python: list[tuple[float, np.ndarray]],
    in_browser: dict[str, dict[str, Any]],
) -> None:
    n = len(names)
    python_seconds = statistics.median(seconds for seconds, _ in in_python)
    print(f"{processor()}, load {os.getloadavg()[0]:.1f}")
    print(f"{n} images, {encoder.manifest.network or 'unknown'}, {encoder.manifest.width} pixels")
    print(f"Python, one thread:  {n / python_seconds:8.2f} images/s")
    for place, told in in_browser.items():
        if "error" in told:
            print(f"browser, {place}: {told['error']}")
            continue
        print(told.get("line", "Runs on the processor, one thread."))
        seconds = statistics.median(told["seconds"])
        prepared = statistics.median(told["prepared"]) / seconds
        print(f"browser, {place + ':':11} {n / seconds:8.2f} images/s, {prepared:.0%} of the time")
        print("                     in decoding and resizing")
        print(f"Python / browser:    {seconds / python_seconds:8.2f}")
        _report_bits(encoder, told, in_python[0][1])


def _report_bits(encoder: Encoder, told: dict[str, Any], expected: np.ndarray) -> None:
    """Bits that differ from Python's, how near to 0 they are, and how far the logits are off."""
    codes = np.stack([from_hex(text, encoder.n_bits) for text in told["codes"]])
    differs = np.unpackbits(codes, axis=1, count=encoder.n_bits) != (expected > 0)
    largest = np.abs(expected).max()
    drift = np.abs(np.array(told["logits"]) - expected).max()
    near = np.abs(expected[differs]).max() if differs.any() else 0.0
    print(f"bits that differ:    {differs.sum()} of {differs.size}, logits up to {near:.1e}")
    print(f"logits differ by:    {drift:.1e} at most; the largest is {largest:.2f}")


if __name__ == "__main__":
    main()
