"""Makes changed copies of a folder of photographs, with the truth about which files are copies.

    python tests/benchmarks/photographs/copies.py FOLDER SET

FOLDER/photograph/ holds the originals, every other folder beside it pictures that are copies of
nothing. SET gets all of them, one copy of each original for every entry of `CHANGES`, and
truth.json: for each file its group (copies of one original) and its kind of change. Places and
amounts that vary are drawn from the original's name, so the same files are made each time.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFont, ImageOps

from hashkit.preprocess import decode

Random: TypeAlias = np.random.Generator
Change: TypeAlias = Callable[[Image.Image, Random], Image.Image]

_UPRIGHT_AGAIN: Final = {6: 90, 8: 270, 3: 180}
"""Degrees anti-clockwise by which pixels are turned so that an EXIF orientation undoes it."""


def crop(percent: float) -> Change:
    """Cuts off this share of the area, keeping the aspect ratio, at a random place."""

    def change(image: Image.Image, random: Random) -> Image.Image:
        kept = (1 - percent / 100) ** 0.5
        width, height = round(image.width * kept), round(image.height * kept)
        left, top = (
            random.integers(image.width - width + 1),
            random.integers(image.height - height + 1),
        )
        return image.crop((int(left), int(top), int(left) + width, int(top) + height))

    return change


def resize(factor: float) -> Change:
    return lambda image, _: image.resize(
        (round(image.width * factor), round(image.height * factor)), Image.Resampling.LANCZOS
    )


def turn(way: Image.Transpose) -> Change:
    return lambda image, _: image.transpose(way)


def enhance(kind: Any, factor: float) -> Change:
    return lambda image, _: kind(image).enhance(factor)


def tint(image: Image.Image, _: Random) -> Image.Image:
    """Warmer, as a filter of a phone would make it."""
    gains = np.array([1.15, 1.0, 0.8])
    return Image.fromarray((np.asarray(image) * gains).clip(0, 255).astype(np.uint8))


def text_over(image: Image.Image, random: Random) -> Image.Image:
    """Two lines of text, a tenth of the height each, one on a bar."""
    drawn, size = image.copy(), image.height // 10
    draw = ImageDraw.Draw(drawn)
    font = ImageFont.load_default(size)
    top = int(random.integers(image.height * 7 // 10))
    draw.rectangle((0, top, image.width, top + size * 3 // 2), fill="white")
    draw.text((size // 2, top + size // 5), "when the copy has a caption", "black", font)
    draw.text((size // 2, image.height - size * 3 // 2), "example.org", "white", font)
    return drawn


def border(image: Image.Image, random: Random) -> Image.Image:
    """A frame of a tenth of the shorter side, white or black."""
    colour = "white" if random.integers(2) else "black"
    return ImageOps.expand(image, min(image.size) // 10, colour)


def letterbox(image: Image.Image, _: Random) -> Image.Image:
    """Black bars above and below up to a square, as social networks add them."""
    side = max(image.size)
    return ImageOps.pad(image, (side, side), color="black")


def same(image: Image.Image, _: Random) -> Image.Image:
    return image


CHANGES: Final[Mapping[str, tuple[Change, str, dict[str, Any]]]] = {
    "crop 10 %": (crop(10), ".jpg", {"quality": 88}),
    "crop 25 %": (crop(25), ".jpg", {"quality": 88}),
    "crop 40 %": (crop(40), ".jpg", {"quality": 88}),
    "half size": (resize(0.5), ".jpg", {"quality": 88}),
    "a quarter of the size": (resize(0.25), ".jpg", {"quality": 88}),
    "JPEG, quality 30": (same, ".jpg", {"quality": 30}),
    "JPEG, quality 10": (same, ".jpg", {"quality": 10}),
    "WebP": (same, ".webp", {"quality": 75}),
    "GIF, 256 colours": (same, ".gif", {}),
    "turned by EXIF": (same, ".jpg", {"quality": 88, "orientation": True}),
    "turned in pixels": (turn(Image.Transpose.ROTATE_90), ".jpg", {"quality": 88}),
    "mirrored": (turn(Image.Transpose.FLIP_LEFT_RIGHT), ".jpg", {"quality": 88}),
    "greyscale": (lambda image, _: image.convert("L"), ".jpg", {"quality": 88}),
    "warmer colours": (tint, ".jpg", {"quality": 88}),
    "brighter by half": (enhance(ImageEnhance.Brightness, 1.5), ".jpg", {"quality": 88}),
    "more contrast": (enhance(ImageEnhance.Contrast, 1.6), ".jpg", {"quality": 88}),
    "text over it": (text_over, ".jpg", {"quality": 88}),
    "border": (border, ".jpg", {"quality": 88}),
    "black bars": (letterbox, ".jpg", {"quality": 88}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("set", type=Path)
    given = parser.parse_args()
    given.set.mkdir(parents=True, exist_ok=True)
    truth = dict(look_alikes(given.folder, given.set))
    originals = sorted((given.folder / "photograph").iterdir())
    with ThreadPoolExecutor(2) as pool:
        for facts in pool.map(lambda path: dict(changed(path, given.set)), originals):
            truth.update(facts)
    (given.set / "truth.json").write_text(json.dumps(truth, indent=0))
    print(f"{len(originals)} originals, {len(truth)} files")


def look_alikes(folder: Path, target: Path) -> Iterator[tuple[str, dict[str, str]]]:
    for kind in sorted(one for one in folder.iterdir() if one.name != "photograph"):
        for path in sorted(kind.iterdir()):
            name = f"{kind.name}-{path.name}"
            shutil.copyfile(path, target / name)
            yield name, {"group": name, "kind": kind.name}


def changed(path: Path, target: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Write an original and its copies; yield each file's name and truth."""
    name = f"{path.stem}{path.suffix}"
    shutil.copyfile(path, target / name)
    yield name, {"group": path.stem, "kind": "original"}
    image = decode(path)
    random = np.random.default_rng(int(hashlib.sha256(path.name.encode()).hexdigest()[:8], 16))
    for number, (kind, (change, suffix, options)) in enumerate(CHANGES.items()):
        copy, settings = change(image, random), dict(options)
        if settings.pop("orientation", False):
            orientation = (3, 6, 8)[random.integers(3)]
            copy = copy.rotate(_UPRIGHT_AGAIN[orientation], expand=True)
            settings["exif"] = exif = Image.Exif()
            exif[0x0112] = orientation
        copied = f"{path.stem}-{number:02}{suffix}"
        copy.save(target / copied, **settings)
        yield copied, {"group": path.stem, "kind": kind}


if __name__ == "__main__":
    main()
