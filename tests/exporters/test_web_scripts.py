"""The page's scripts compared with Python, in node: resampling, distances, rankings."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

import hashkit
from hashkit.codes import pack, to_hex
from hashkit.exporters.web.pixels import input_rule
from hashkit.manifest import WHOLE_RULES, Manifest
from hashkit.preprocess import fit

PAGE = Path(__file__).parents[2] / "exporters" / "web" / "page"
NODE = shutil.which("node")

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.skipif(NODE is None, reason="node is not installed"),
]

SIZES = [(32, 32), (24, 40), (1, 1), (9, 3), (96, 96)]
"""Model sizes, (height, width)."""


def node(code: str, folder: Path, *arguments: str) -> bytes:
    """Standard output of a module run by node."""
    script = folder / "script.mjs"
    script.write_text(code.replace("PAGE", PAGE.as_uri()), encoding="utf-8")
    ended = subprocess.run([str(NODE), str(script), *arguments], capture_output=True, timeout=120)
    assert ended.returncode == 0, ended.stderr.decode()
    return ended.stdout


RESIZE = """
import { readFileSync, writeFileSync } from "node:fs";
import { resize } from "PAGE/resize.js";
const folder = process.argv[2];
for (const { file, width, height, targets } of JSON.parse(readFileSync(`${folder}/cases.json`))) {
  const data = readFileSync(`${folder}/${file}.rgba`);
  const source = {
    width,
    height,
    rows: (top, count) => data.subarray(top * width * 4, (top + count) * width * 4),
  };
  for (const { out, input } of targets) writeFileSync(`${folder}/${out}`, resize(source, input));
}
"""


@dataclasses.dataclass(frozen=True)
class Resized:
    """One resize with the page's script and with Pillow."""

    what: str
    script: np.ndarray
    pillow: np.ndarray


def pictures() -> dict[str, np.ndarray]:
    """Photographs and noise, larger and smaller than the models, with even and odd sides."""
    photo = load_sample_image("china.jpg")
    rng = np.random.default_rng(0)
    noise = rng.choice(np.array([0, 1, 127, 254, 255], np.uint8), (61, 45, 3))
    return {
        "photograph": photo,
        "upright": np.ascontiguousarray(photo[:301, 100:277]),
        "column": np.ascontiguousarray(photo[:, 300:331]),
        "panorama": np.ascontiguousarray(photo[200:229]),
        "tiny": np.ascontiguousarray(photo[100:105, 200:209]),
        "pixel": np.ascontiguousarray(photo[:1, :1]),
        "noise": noise,
        "model-size": np.ascontiguousarray(photo[:32, :32]),
        "model-height": np.ascontiguousarray(photo[:32, :57]),
    }


@pytest.fixture(scope="module")
def resized(tmp_path_factory) -> list[Resized]:
    folder = tmp_path_factory.mktemp("resize")
    cases = []
    for name, pixels in pictures().items():
        height, width, _ = pixels.shape
        rgba = np.dstack([pixels, np.full((height, width), 255, np.uint8)])
        (folder / f"{name}.rgba").write_bytes(rgba.tobytes())
        targets = [
            {"out": f"{name}-{rule}-{h}x{w}", "input": input_rule(Manifest(8, h, w, rule))}
            for rule in WHOLE_RULES
            for h, w in SIZES
        ]
        cases.append({"file": name, "width": width, "height": height, "targets": targets})
    (folder / "cases.json").write_text(json.dumps(cases))
    node(RESIZE, folder, str(folder))
    made = []
    for case in cases:
        image = Image.fromarray(pictures()[case["file"]])
        for target in case["targets"]:
            size = (target["input"]["height"], target["input"]["width"])
            data = np.frombuffer((folder / target["out"]).read_bytes(), np.uint8)
            expected = fit(image, size, target["input"]["resize"])
            made.append(Resized(target["out"], data.reshape(*size, 3), expected))
    return made


@pytest.mark.parametrize("rule", WHOLE_RULES)
def test_every_value_matches_pillow(resized, rule):
    of_rule = [one for one in resized if rule in one.what]
    assert len(of_rule) == len(pictures()) * len(SIZES)
    for one in of_rule:
        n_different = np.count_nonzero(one.script != one.pillow)
        assert n_different == 0, f"{one.what}: {n_different} of {one.pillow.size} values differ"


def test_rules_give_different_results(resized):
    """If two rules gave equal results, a wrong rule could pass."""
    by_name = {one.what: one.pillow for one in resized}
    seen = {by_name[f"photograph-{rule}-24x40"].tobytes() for rule in WHOLE_RULES}
    assert len(seen) == len(WHOLE_RULES)


def test_an_unknown_rule_is_refused(tmp_path):
    code = """
    import { resize } from "PAGE/resize.js";
    const source = { width: 1, height: 1, rows: () => new Uint8Array(4) };
    const messages = ["crop-lanczos", "fill-bilinear", "crop"].map((rule) => {
      try {
        return resize(source, { width: 1, height: 1, resize: rule });
      } catch (error) {
        return error.message;
      }
    });
    console.log(JSON.stringify(messages));
    """
    messages = json.loads(node(code, tmp_path))
    rules = ("crop-lanczos", "fill-bilinear", "crop")
    assert messages == [f"unknown resize rule {rule}" for rule in rules]


def test_both_orders_of_the_passes_match(tmp_path):
    """Pillow's own order depends on its version."""
    code = """
    import { resize } from "PAGE/resize.js";
    const made = [[21, 90], [90, 90]].map(([width, height]) => {
      const data = Uint8Array.from({ length: width * height * 4 }, (_, at) => (at * 7919) % 251);
      const rows = (top, count) => data.subarray(top * width * 4, (top + count) * width * 4);
      const input = { width: 16, height: 16, resize: "stretch-bicubic" };
      return [Array.from(resize({ width, height, rows }, input)), Array.from(data)];
    });
    console.log(JSON.stringify(made));
    """
    tall, square = json.loads(node(code, tmp_path))
    bicubic = Image.Resampling.BICUBIC
    for (made, data), width, first in ((tall, 21, (21, 16)), (square, 90, (16, 90))):
        image = Image.fromarray(np.reshape(np.array(data, np.uint8), (90, width, 4))[:, :, :3])
        expected = np.asarray(image.resize(first, bicubic).resize((16, 16), bicubic)).ravel()
        assert np.array_equal(expected, made)
        assert np.array_equal(fit(image, (16, 16), "stretch-bicubic").ravel(), made)


def test_the_region_is_never_outside_the_image(tmp_path):
    """In floating point 29 / 7 * 7 exceeds 29, and a box that starts below 0 is invalid."""
    code = """
    import { region } from "PAGE/resize.js";
    let outside = 0;
    for (const model of [7, 28, 32, 224]) {
      for (let side = 1; side <= 2000; side++) {
        const [left, top, right, bottom] = region(side, 2000, model, model, "crop");
        if (left < 0 || top < 0 || right > side || bottom > 2000) outside++;
      }
    }
    console.log(JSON.stringify([outside, region(29, 40, 7, 7, "crop")]));
    """
    outside, box = json.loads(node(code, tmp_path))
    assert outside == 0
    assert box == pytest.approx([0, 5.5, 29, 34.5])


SEARCH = """
import { readFileSync } from "node:fs";
import { distances, ranking, toHex } from "PAGE/codes.js";
const { nBits, codes, queries } = JSON.parse(readFileSync(process.argv[2]));
const flat = Uint8Array.from(codes.flat());
const found = queries.map((query) => {
  const code = Uint8Array.from(query);
  const all = distances(code, flat);
  const rows = Array.from(ranking(all, nBits));
  return { hex: toHex(code), rows, distances: rows.map((row) => all[row]) };
});
console.log(JSON.stringify(found));
"""


@pytest.mark.parametrize("n_bits", [1, 12, 48, 100, 1024])
def test_rankings_match_search(n_bits, tmp_path):
    rng = np.random.default_rng(n_bits)
    bits = rng.integers(0, 2, (300, n_bits))
    bits[50] = 1 - bits[0]  # the largest possible distance
    codes, queries = pack(bits), pack(bits[:3])
    values = {"nBits": n_bits, "codes": codes.tolist(), "queries": queries.tolist()}
    (tmp_path / "values.json").write_text(json.dumps(values))
    found = json.loads(node(SEARCH, tmp_path, str(tmp_path / "values.json")))
    expected = hashkit.search(queries, codes, n_bits=n_bits, top_k=300)
    assert [one["hex"] for one in found] == [to_hex(code) for code in queries]
    assert np.array_equal([one["rows"] for one in found], expected.rows)
    assert np.array_equal([one["distances"] for one in found], expected.distances)
    assert found[0]["distances"][-1] == n_bits
