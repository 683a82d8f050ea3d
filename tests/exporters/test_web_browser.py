"""The exported page in a browser: pixels, codes and rankings match Python; its controls work."""

from __future__ import annotations

import base64
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import Site, encode, until, web_runtime, why_not
from PIL import Image, PngImagePlugin
from sklearn.datasets import load_sample_image
from small_models import TinyHash, photographs

import hashkit
from hashkit.codes import from_hex, to_hex
from hashkit.exporters.onnx_export import export_onnx
from hashkit.exporters.web.folder import export_web
from hashkit.manifest import Manifest

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.browser,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]

N_PICTURES = 200
N_BITS = 48
SIDE = 32

SCRIPT = """
import { loadManifest, Bank } from "/site/page/bank.js";
import { toHex } from "/site/page/codes.js";
import { Model } from "/site/page/model.js";
import { prepare } from "/site/page/picture.js";

const base64 = (bytes) => btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));

export default async function () {
  const manifest = await loadManifest();
  const model = await Model.load(manifest.input);
  const bank = await Bank.load(manifest.model.n_bits);
  const names = await (await fetch("/pictures/names.json")).json();
  const pictures = {};
  for (const name of names) {
    const blob = await (await fetch(`/pictures/${name}`)).blob();
    const pixels = await prepare(blob, manifest.input);
    const { codes } = await model.encode(pixels);
    const hits = bank.search(codes).map((hit) => [hit.row, hit.distance]);
    pictures[name] = { pixels: base64(pixels), code: toHex(codes), hits };
  }
  return { pictures, isolated: crossOriginIsolated, page: await page() };
}

// The page itself, operated like a user would

async function page() {
  const { width, height } = { width: 360, height: 800 };
  const frame = document.createElement("iframe");
  Object.assign(frame, { width, height, src: "/site/index.html?query=4" });
  document.body.append(frame);
  await new Promise((done) => (frame.onload = done));
  const inside = frame.contentDocument;
  const at = (id) => inside.getElementById(id);
  const told = {};
  await until(() => at("hits").children.length);
  told.address = state(inside);
  told.overflow = inside.documentElement.scrollWidth - width;
  told.unnamed = [...inside.querySelectorAll("button, input")].filter(
    (one) => !(one.getAttribute("aria-label") || one.textContent || labels(one)).trim(),
  ).length;

  const picture = await (await fetch("/pictures/crop-000.png")).blob();
  give(at("file"), new File([picture], "crop.png", { type: "image/png" }));
  await until(() => at("query-name").textContent === "crop.png");
  told.chosen = state(inside);

  inside.querySelector("#hits .search").click();
  await until(() => at("query-name").textContent !== "crop.png");
  told.clicked = state(inside);
  told.clickedAddress = frame.contentWindow.location.search;

  inside.querySelector(".pager [data-step='1']").click();
  told.second = { ...state(inside), address: frame.contentWindow.location.search };

  inside.querySelector("#hits .tile").click();
  await until(() => inside.querySelector("#viewer-picture img").naturalWidth);
  told.viewer = {
    name: at("viewer-name").textContent,
    size: at("viewer-size").textContent,
    link: new URL(at("viewer-open").href).pathname,
  };
  at("viewer-close").click();

  give(at("file"), new File(["this is no picture"], "notes.txt"));
  await until(() => !at("error").hidden);
  told.error = at("error").textContent;
  told.afterError = state(inside);

  drop(inside, new File([picture], "dropped.png", { type: "image/png" }));
  await until(() => at("query-name").textContent === "dropped.png");
  told.dropped = state(inside);
  told.errorIsGone = at("error").hidden;

  frame.src = "/site/index.html?query=9999";
  await new Promise((done) => (frame.onload = done));
  await until(() => !frame.contentDocument.getElementById("error").hidden);
  told.unknown = frame.contentDocument.getElementById("error").textContent;
  return told;
}

function labels(control) {
  return [...(control.labels ?? [])].map((label) => label.textContent).join(" ");
}

function state(inside) {
  return {
    status: inside.getElementById("status").textContent,
    name: inside.getElementById("query-name").textContent,
    code: inside.getElementById("query-code").textContent,
    hits: [...inside.getElementById("hits").children].map((hit) => [
      Number(hit.dataset.row),
      Number(hit.dataset.distance),
    ]),
    place: inside.querySelector(".pager span").textContent,
    spoken: inside.querySelector("#hits button").getAttribute("aria-label"),
  };
}

function transfer(file) {
  const data = new DataTransfer();
  data.items.add(file);
  return data;
}

function give(input, file) {
  input.files = transfer(file).files;
  input.dispatchEvent(new Event("change", { bubbles: true }));
}

function drop(inside, file) {
  const event = new inside.defaultView.DragEvent("drop", {
    bubbles: true,
    dataTransfer: transfer(file),
  });
  inside.getElementById("drop").dispatchEvent(event);
}
"""


@dataclasses.dataclass(frozen=True)
class Place:
    """A page, its bank, pictures to search with, and the browser's results."""

    encoder: hashkit.Encoder
    bank: hashkit.Bank
    pictures: Path
    told: dict[str, Any]
    requests: list[str]

    def names(self, group: str) -> list[str]:
        return [name for name in self.told["pictures"] if name.startswith(group)]

    def pixels(self, name: str) -> np.ndarray:
        data = base64.b64decode(self.told["pictures"][name]["pixels"])
        return np.frombuffer(data, np.uint8).reshape(SIDE, SIDE, 3)

    def differences(self, group: str) -> tuple[int, int, int]:
        """Number of values and of bits that differ from Python, and the largest difference."""
        n_values = n_bits = largest = 0
        for name in self.names(group):
            expected = self.encoder.prepare(self.pictures / name)
            difference = np.abs(self.pixels(name).astype(int) - expected)
            n_values += np.count_nonzero(difference)
            largest = max(largest, int(difference.max()))
            code = from_hex(self.told["pictures"][name]["code"], N_BITS)
            n_bits += int(np.bitwise_count(code ^ self.encoder.encode(expected)[0]).sum())
        return n_values, n_bits, largest


def write_pictures(folder: Path) -> None:
    """Crops of two photographs as PNG and JPEG, in many sizes, and pictures of unusual kinds."""
    folder.mkdir()
    photos = [Image.fromarray(load_sample_image(name)) for name in ("china.jpg", "flower.jpg")]
    rng = np.random.default_rng(3)
    for number in range(N_PICTURES):
        photo = photos[number % 2]
        width, height = (int(side) for side in rng.integers(20, 200, 2))
        left, top = rng.integers(0, photo.width - width), rng.integers(0, photo.height - height)
        crop = photo.crop((left, top, left + width, top + height))
        crop.save(folder / f"crop-{number:03d}.png")
        crop.save(
            folder / f"jpeg-{number:03d}.jpg",
            quality=int(rng.integers(60, 96)),
            subsampling=("4:2:0", "4:4:4", "4:2:2")[number % 3],
            progressive=number % 5 == 0,
        )
    photo = photos[0].crop((100, 50, 400, 250))
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        photo.save(folder / f"turned-{orientation}.jpg", exif=exif)
    photo.convert("L").save(folder / "kind-grey.png")
    photo.convert("P").save(folder / "kind-palette.png")
    photo.convert("P").save(folder / "kind-first-frame.gif", save_all=True, append_images=[photo])
    photo.convert("L").save(folder / "kind-grey.jpg")
    chunks = PngImagePlugin.PngInfo()
    chunks.add(b"gAMA", (100000).to_bytes(4, "big"))  # linear light: must be ignored
    photo.save(folder / "kind-gamma.png", pnginfo=chunks)
    photos[1].resize((2400, 1600)).save(folder / "kind-large.png", compress_level=1)
    clear = photo.convert("RGBA")
    clear.putalpha(Image.radial_gradient("L").resize(clear.size))
    clear.save(folder / "clear.png")
    names = sorted(path.name for path in folder.iterdir())
    (folder / "names.json").write_text(json.dumps(names))


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    folder = tmp_path_factory.mktemp("web")
    database = photographs(60, SIDE, SIDE)
    (folder / "database").mkdir()
    for row, pixels in enumerate(database):
        Image.fromarray(pixels).save(folder / "database" / f"{row:03d}.png")
    write_pictures(folder / "pictures")
    network = TinyHash(N_BITS).centre(database)
    export_onnx(network, Manifest(N_BITS, SIDE, SIDE), folder / "model.onnx", images=database)
    encoder = hashkit.Encoder.load(folder / "model.onnx", "cpu", n_threads=1)
    bank = encode(encoder, folder / "database", folder / "bank.h5")
    export_web(
        folder / "site",
        model=folder / "model.onnx",
        bank=bank,
        image_of=lambda row: folder / "database" / bank.names[row],
        runtime=web_runtime(),
    )
    with Site(site=folder / "site", pictures=folder / "pictures") as site:
        told = site.run(SCRIPT + until(60))
    return Place(encoder, bank, folder / "pictures", told, site.requests)


# Pixels and codes


def test_lossless_pictures_give_the_same_pixels_and_codes(place):
    assert len(place.names("crop-")) == N_PICTURES
    assert place.differences("crop-") == (0, 0, 0)


def test_codes_of_the_pictures_differ(place):
    """If all codes were equal, the comparison would pass for any pixels."""
    codes = np.stack([place.encoder.encode(place.pictures / n)[0] for n in place.names("crop-")])
    ones = np.unpackbits(codes, axis=1, count=N_BITS).mean(axis=0)
    assert np.mean((ones > 0.02) & (ones < 0.98)) > 0.8
    assert len(np.unique(codes, axis=0)) > N_PICTURES / 2


def test_photographs_as_jpeg_give_the_same_pixels_and_codes(place):
    assert len(place.names("jpeg-")) == N_PICTURES
    assert place.differences("jpeg-") == (0, 0, 0)


def test_every_orientation_is_applied(place):
    assert len(place.names("turned-")) == 8
    assert place.differences("turned-") == (0, 0, 0)


def test_other_kinds_of_pictures_give_the_same_pixels(place):
    assert len(place.names("kind-")) == 6
    assert place.differences("kind-") == (0, 0, 0)


def test_transparent_pictures_are_drawn_over_white(place):
    _, _, largest = place.differences("clear")
    assert largest <= 1


# Rankings


def test_rankings_match_search(place):
    names = place.names("crop-") + place.names("jpeg-")
    codes = np.stack([from_hex(place.told["pictures"][name]["code"], N_BITS) for name in names])
    ranking = hashkit.search(codes, place.bank, top_k=len(place.bank))
    found = np.array([place.told["pictures"][name]["hits"] for name in names])
    assert np.array_equal(found[:, :, 0], ranking.rows)
    assert np.array_equal(found[:, :, 1], ranking.distances)


# The page


def hits_of(place: Place, code: np.ndarray, n_hits: int, without: int | None = None) -> list:
    ranking = hashkit.search(code[None], place.bank, top_k=len(place.bank))
    pairs = zip(ranking.rows[0].tolist(), ranking.distances[0].tolist(), strict=True)
    return [list(pair) for pair in pairs if pair[0] != without][:n_hits]


def test_the_query_can_be_given_in_the_url(place):
    told = place.told["page"]["address"]
    assert told["name"] == place.bank.names[4]
    assert told["code"] == to_hex(place.bank.codes[4])
    assert told["hits"] == hits_of(place, place.bank.codes[4], 48, without=4)


def test_a_chosen_picture_is_the_query(place):
    told = place.told["page"]["chosen"]
    code = place.encoder.encode(place.pictures / "crop-000.png")[0]
    assert told["code"] == to_hex(code)
    assert told["hits"] == hits_of(place, code, 48)
    row, distance = told["hits"][0]
    assert place.bank.names[row] in told["status"]
    assert f"{distance} bit" in told["status"]
    assert told["spoken"].startswith(f"Rank 1, {distance} bit")
    assert place.bank.names[row] in told["spoken"]


def test_a_dropped_picture_is_the_query(place):
    told = place.told["page"]
    assert told["dropped"]["hits"] == told["chosen"]["hits"]
    assert told["errorIsGone"]


def test_a_clicked_hit_becomes_the_query_and_is_in_the_url(place):
    told = place.told["page"]
    row = told["chosen"]["hits"][0][0]
    assert told["clickedAddress"] == f"?query={row}"
    assert told["clicked"]["hits"] == hits_of(place, place.bank.codes[row], 48, without=row)


def test_the_hits_come_in_pages(place):
    told = place.told["page"]
    row = told["chosen"]["hits"][0][0]
    all_hits = hits_of(place, place.bank.codes[row], 100, without=row)
    assert told["clicked"]["place"] == "1\u201348 of 59"
    assert told["second"]["hits"] == all_hits[48:]
    assert told["second"]["address"] == f"?query={row}&page=2"


def test_the_larger_view_has_the_size_of_the_original(place):
    told = place.told["page"]
    row, _ = told["second"]["hits"][0]
    assert told["viewer"] == {
        "name": place.bank.names[row],
        "size": "32 \u00d7 32 pixels",
        "link": f"/site/bank/thumbnails/{row}.jpg",
    }


def test_error_for_a_file_that_is_not_a_picture(place):
    told = place.told["page"]
    assert told["error"] == "\u2068notes.txt\u2069 is not a picture that this browser can read."
    assert told["afterError"]["hits"] == told["second"]["hits"]


def test_error_for_an_unknown_row(place):
    assert place.told["page"]["unknown"] == "This page has no image for row 9999."


def test_every_control_has_a_name_and_the_page_fits_a_phone(place):
    assert place.told["page"]["unnamed"] == 0
    assert place.told["page"]["overflow"] <= 0


def test_the_page_needs_no_special_server(place):
    """No isolation headers, no types for .wasm or .mjs, and no files but its own."""
    assert place.told["isolated"] is False
    asked = {path.partition("?")[0] for path in place.requests}
    asked -= {"/favicon.ico"}
    assert all(path.startswith(("/site/", "/pictures/", "/test/")) for path in asked)
    assert not any(path.endswith((".wasm.mjs", ".mjs")) for path in asked)
