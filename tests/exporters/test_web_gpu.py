"""A page exported with WebGPU, in a browser with WebGPU (in software) and in one without."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import WEBGPU_IN_SOFTWARE, Site, encode, until, web_runtime, why_not
from PIL import Image
from small_models import TinyHash, photographs

import hashkit
from hashkit.codes import from_hex, to_hex
from hashkit.exporters.onnx_export import export_onnx
from hashkit.exporters.web.folder import export_web
from hashkit.manifest import Manifest

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.browser,
    pytest.mark.slow,  # compiling for WebGPU in software takes minutes
    pytest.mark.timeout(900),
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]

N_PICTURES = 24
N_BITS = 48
SIDE = 32

MEASURE = """
import { loadManifest } from "/site/page/bank.js";
import { toHex } from "/site/page/codes.js";
import { Model } from "/site/page/model.js";
import { GpuModel } from "/site/page/webgpu.js";
import { prepare } from "/site/page/picture.js";

const { input, model } = await loadManifest();
const pixels = [];
for (const name of await (await fetch("/pictures/names.json")).json()) {
  pixels.push(...(await prepare(await (await fetch(`/pictures/${name}`)).blob(), input)));
}
const n = pixels.length / (input.height * input.width * 3);
const size = Math.ceil(model.n_bits / 8);
const rows = Array.from({ length: n }, (_, row) => row);
const cpuModel = await Model.load(input);
const models = { wasm: cpuModel };
const { wanted } = document.documentElement.dataset;
if (wanted) models.webgpu = await GpuModel.load(input, cpuModel);
const measured = { placement: models.webgpu?.placement };
for (const [place, one] of Object.entries(models)) {
  const { codes, logits } = await one.encode(Uint8Array.from(pixels));
  measured[place] = {
    codes: rows.map((row) => toHex(codes.subarray(row * size, (row + 1) * size))),
    logits: Array.from(logits),
  };
}
globalThis.measured = measured;
"""

LOSE = """
import * as ort from "/site/runtime/ort.js";
(await ort.env.webgpu.device).destroy();
globalThis.lost = true;
"""

SCRIPT = """
export default async function () {
  const frame = document.createElement("iframe");
  Object.assign(frame, { width: 360, height: 800, src: "/site/index.html?query=4&run=webgpu" });
  document.body.append(frame);
  await new Promise((done) => (frame.onload = done));
  const inside = frame.contentDocument;
  const window = frame.contentWindow;
  const at = (id) => inside.getElementById(id);
  const blocked = [];
  window.addEventListener("securitypolicyviolation", (one) => blocked.push(one.violatedDirective));
  const logged = [];
  window.console.error = (...words) => logged.push(words.join(" "));
  const radio = (place) => inside.querySelector(`#places input[value=${place}]`);
  const state = () => ({
    place: inside.querySelector("#places input:checked").value,
    line: at("place-line").textContent,
    isProblem: at("place-line").classList.contains("error"),
    address: window.location.search,
    status: at("status").textContent,
    code: at("query-code").textContent,
    error: at("error").hidden ? "" : at("error").textContent,
  });
  const search = async (name) => {
    const blob = await (await fetch(`/pictures/${name}`)).blob();
    const data = new DataTransfer();
    data.items.add(new File([blob], name, { type: "image/png" }));
    at("file").files = data.files;
    at("file").dispatchEvent(new Event("change", { bubbles: true }));
    await until(() => at("query-name").textContent === name);
    return state();
  };
  const runInside = async (address, isOver) => {
    const script = inside.createElement("script");
    Object.assign(script, { type: "module", src: address });
    inside.head.append(script);
    await until(isOver);
  };

  const told = { blocked, logged };
  await until(() => /Runs on|The model runs/.test(at("place-line").textContent));
  told.started = state();
  told.searched = await search("crop-000.png");
  if (HAS_WEBGPU) inside.documentElement.dataset.wanted = "webgpu";
  await runInside("/scripts/measure.js", () => window.measured);
  told.measured = window.measured;
  told.overflow = inside.documentElement.scrollWidth - 360;
  if (!HAS_WEBGPU) return told;
  radio("wasm").click();
  await until(() => at("status").textContent.endsWith("CPU."));
  told.onCpu = state();
  radio("webgpu").click();
  await until(() => at("status").textContent.endsWith("GPU."));
  told.onGpu = state();
  await runInside("/scripts/lose.js", () => window.lost);
  told.afterLoss = await search("crop-001.png");
  return told;
}
"""


@dataclasses.dataclass(frozen=True)
class Place:
    """A page exported with WebGPU, and pictures to search with."""

    encoder: hashkit.Encoder
    bank: hashkit.Bank
    folder: Path

    def pixels(self) -> np.ndarray:
        names = json.loads((self.folder / "pictures" / "names.json").read_text())
        return np.stack([self.encoder.prepare(self.folder / "pictures" / name) for name in names])

    def told(self, *, has_webgpu: bool) -> dict[str, Any]:
        """Texts and measurements of the page in a browser with or without WebGPU."""
        script = SCRIPT.replace("HAS_WEBGPU", json.dumps(has_webgpu)) + until(600)
        arguments = WEBGPU_IN_SOFTWARE if has_webgpu else ()
        folders = {name: self.folder / name for name in ("site", "pictures", "scripts")}
        with Site(**folders) as site:
            told: dict[str, Any] = site.run(script, 800, *arguments)
        return told


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    folder = tmp_path_factory.mktemp("gpu")
    database = photographs(60, SIDE, SIDE)
    for name in ("database", "pictures", "scripts"):
        (folder / name).mkdir()
    for row, pixels in enumerate(database):
        Image.fromarray(pixels).save(folder / "database" / f"{row:03d}.png")
    names = [f"crop-{number:03d}.png" for number in range(N_PICTURES)]
    for name, pixels in zip(names, photographs(N_PICTURES, 50, 70), strict=True):
        Image.fromarray(pixels).save(folder / "pictures" / name)
    (folder / "pictures" / "names.json").write_text(json.dumps(names))
    (folder / "scripts" / "measure.js").write_text(MEASURE)
    (folder / "scripts" / "lose.js").write_text(LOSE)
    network = TinyHash(N_BITS).centre(database)
    export_onnx(network, Manifest(N_BITS, SIDE, SIDE), folder / "model.onnx", images=database)
    encoder = hashkit.Encoder.load(folder / "model.onnx", "cpu", n_threads=1)
    bank = encode(encoder, folder / "database", folder / "bank.h5")
    runtime = web_runtime()
    assert runtime is not None
    export_web(
        folder / "site",
        model=folder / "model.onnx",
        bank=bank,
        image_of=lambda row: folder / "database" / bank.names[row],
        runtime=runtime,
        webgpu=True,
    )
    return Place(encoder, bank, folder)


@pytest.fixture(scope="module")
def with_webgpu(place) -> dict[str, Any]:
    told = place.told(has_webgpu=True)
    if "no graphics adapter" in told["started"]["line"]:
        pytest.skip("this Chromium has no WebGPU in software")
    return told


@pytest.fixture(scope="module")
def without(place) -> dict[str, Any]:
    return place.told(has_webgpu=False)


def measured(told: dict[str, Any], where: str) -> tuple[np.ndarray, np.ndarray]:
    """Bits [n, bits] and logits [n, bits] computed on one device."""
    one = told["measured"][where]
    codes = np.stack([from_hex(text, N_BITS) for text in one["codes"]])
    bits = np.unpackbits(codes, axis=1, count=N_BITS)
    return bits, np.reshape(one["logits"], (N_PICTURES, N_BITS))


# A browser with WebGPU


def test_logits_and_bits_of_the_gpu_match_python_except_close_to_0(place, with_webgpu):
    bits, logits = measured(with_webgpu, "webgpu")
    expected = place.encoder.logits(place.pixels())
    largest = np.abs(expected).max()
    assert np.abs(logits - expected).max() < 1e-4 * largest
    flipped = bits != (expected > 0)
    assert not np.any(flipped & (np.abs(expected) > 1e-4 * largest))
    assert flipped.mean() < 0.002
    assert np.array_equal(bits, logits > 0)  # the GPU packs bits as other devices do
    assert 0.2 < bits.mean() < 0.8


def test_the_page_shows_the_device_and_the_placement(with_webgpu):
    started = with_webgpu["started"]
    assert started["place"] == "webgpu"
    assert not started["isProblem"]
    assert started["address"] == "?query=4&run=webgpu"
    assert "with WebGPU" in started["line"] or "a software adapter" in started["line"]
    placement = with_webgpu["measured"]["placement"]
    n_on_cpu = len(placement["onCpu"])
    assert 0 < n_on_cpu < placement["nOperators"] / 2
    assert f"{n_on_cpu} of {placement['nOperators']} operators run on the CPU" in started["line"]
    assert "Conv" not in placement["onCpu"]
    assert "Python's" in started["line"]
    assert with_webgpu["searched"]["status"].endswith("Its code was computed on the GPU.")


def test_the_user_can_switch_between_cpu_and_gpu(place, with_webgpu):
    code = to_hex(place.encoder.encode(place.folder / "pictures" / "crop-000.png")[0])
    on_cpu = with_webgpu["onCpu"]
    assert (on_cpu["place"], on_cpu["address"], on_cpu["code"]) == ("wasm", "", code)
    assert on_cpu["line"].startswith("Runs on the CPU")
    on_gpu = with_webgpu["onGpu"]
    assert (on_gpu["place"], on_gpu["address"]) == ("webgpu", "?run=webgpu")
    assert on_gpu["code"] == with_webgpu["searched"]["code"]


def test_a_lost_gpu_is_reported_and_the_cpu_takes_over(place, with_webgpu):
    after = with_webgpu["afterLoss"]
    code = to_hex(place.encoder.encode(place.folder / "pictures" / "crop-001.png")[0])
    assert after["line"].startswith("The GPU stopped: ")
    assert after["line"].endswith(" The model runs on the CPU.")
    assert after["isProblem"]
    assert (after["place"], after["address"], after["error"]) == ("wasm", "", "")
    assert after["code"] == code
    assert after["status"].endswith("Its code was computed on the CPU.")


def test_no_policy_is_violated_and_nothing_verbose_is_logged(with_webgpu):
    assert with_webgpu["blocked"] == []
    assert not [line for line in with_webgpu["logged"] if "[I:" in line or "[V:" in line]


# A browser without WebGPU


def test_the_page_reports_a_missing_adapter(place, without):
    started = without["started"]
    assert started["line"] == (
        "The GPU cannot be used: WebGPU found no graphics adapter. The model runs on the CPU."
    )
    assert started["isProblem"]
    assert (started["place"], started["address"]) == ("wasm", "?query=4")
    assert without["searched"]["status"].endswith("Its code was computed on the CPU.")
    assert without["overflow"] <= 0


def test_codes_of_the_larger_runtime_on_the_cpu_match_python(place, without):
    bits, logits = measured(without, "wasm")
    expected = place.encoder.logits(place.pixels())
    assert np.array_equal(bits, expected > 0)
    assert np.abs(logits - expected).max() < 1e-5 * np.abs(expected).max()
