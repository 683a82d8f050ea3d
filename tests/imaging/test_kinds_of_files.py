"""Each row of the table of docs/image-files.md, with values that Pillow did not compute."""

from __future__ import annotations

import io
import re
import struct
import zlib
from pathlib import Path

import image_bytes as files
import numpy as np
import oracles_preprocess as oracle
import pytest
from looped import looped
from PIL import Image

from hashkit.errors import ImageError
from hashkit.preprocess import decode

PAGE = Path(__file__).parents[2] / "docs" / "image-files.md"
RNG = np.random.default_rng(11)
RGB = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (5, 7), dtype=np.uint8)
ALPHA = RNG.integers(0, 256, (5, 7), dtype=np.uint8)
DEEP = RNG.integers(0, 65_536, (5, 7), dtype=np.uint16)
DEEP_RGB = RNG.integers(0, 65_536, (5, 7, 3), dtype=np.uint16)


def grey3(values: np.ndarray) -> np.ndarray:
    return np.repeat(np.asarray(values)[..., None], 3, axis=2)


def rows(values: np.ndarray) -> list[bytes]:
    return [row.tobytes() for row in values]


def packed(values: np.ndarray, depth: int) -> list[bytes]:
    """Values of 1, 2 or 4 bits, packed from the left."""
    bits = (values[..., None] >> np.arange(depth)[::-1] & 1).reshape(len(values), -1)
    return [np.packbits(row).tobytes() for row in bits.astype(np.uint8)]


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def black_and_white():
    bits = GREY > 127
    expected = grey3(np.where(bits, 255, 0))
    yield files.png(7, packed(bits.astype(int), 1), depth=1, colour_type=0), expected, 0
    pbm = b"P4 7 5\n" + b"".join(packed(~bits, 1))  # 1 is black
    yield pbm, expected, 0
    yield b"P1 7 5\n" + b" ".join(b"%d" % (not bit) for bit in bits.flat), expected, 0
    yield files.tiff(7, 5, b"".join(packed(bits.astype(int), 1)), bits=1), expected, 0


def grey():
    expected = grey3(GREY)
    yield files.png(7, rows(GREY), colour_type=0), expected, 0
    yield files.tiff(7, 5, GREY.tobytes()), expected, 0
    for depth in (2, 4):
        levels = GREY >> (8 - depth)
        stretched = grey3(levels * (255 // ((1 << depth) - 1)))
        yield files.png(7, packed(levels, depth), depth=depth, colour_type=0), stretched, 0
        yield files.tiff(7, 5, b"".join(packed(levels, depth)), bits=depth), stretched, 0


def colour():
    yield files.png(7, rows(RGB)), RGB, 0
    yield files.tiff(7, 5, RGB.tobytes(), bits=(8, 8, 8), photometric=2), RGB, 0
    yield files.bmp(RGB), RGB, 0
    yield files.qoi(RGB), RGB, 0
    yield files.pnm(6, 7, 5, 255, RGB.tobytes()), RGB, 0
    yield saved(Image.fromarray(RGB), "WEBP", lossless=True), RGB, 0
    yield saved(Image.fromarray(RGB), "JPEG2000"), RGB, 0


def white_is_zero():
    bits = GREY > 127
    one = b"".join(packed(bits.astype(int), 1))
    yield files.tiff(7, 5, one, bits=1, photometric=0), grey3(np.where(bits, 0, 255)), 0
    yield files.tiff(7, 5, GREY.tobytes(), photometric=0), grey3(255 - GREY), 0
    expected = grey3((65_535 - DEEP) >> 8)
    yield files.tiff(7, 5, DEEP.tobytes(), bits=16, photometric=0), expected, 0


def deep_grey():
    expected = grey3(DEEP >> 8)
    yield files.png(7, rows(DEEP.astype(">u2")), depth=16, colour_type=0), expected, 0
    for order in "<>":
        data = DEEP.astype(f"{order}u2").tobytes()
        yield files.tiff(7, 5, data, bits=16, order=order), expected, 0
    twelve = DEEP[:, :6] >> 4
    yield files.tiff(6, 5, b"".join(packed(twelve, 12)), bits=12), grey3(twelve >> 4), 0


def deep_colour():
    expected = DEEP_RGB >> 8
    yield files.png(7, rows(DEEP_RGB.astype(">u2")), depth=16), expected, 0
    bits = (16, 16, 16)
    yield files.tiff(7, 5, DEEP_RGB.tobytes(), bits=bits, photometric=2), expected, 0
    yield files.pnm(6, 7, 5, 65_535, DEEP_RGB.astype(">u2").tobytes()), expected, 0


def any_largest_value():
    for top in (1, 100, 254):
        values = RNG.integers(0, top + 1, (5, 7), dtype=np.uint8)
        expected = grey3(np.round(values / top * 255))
        yield files.pnm(5, 7, 5, top, values.tobytes()), expected, 0
    for top in (256, 1023, 4095, 65_535):
        values = RNG.integers(0, top + 1, (5, 7, 3), dtype=np.uint16)
        expected = np.floor(values / top * 65_535 + 0.5) // 256
        data = values.astype(">u2").tobytes()
        yield files.pnm(6, 7, 5, top, data), expected, 0
        text = b" ".join(b"%d" % value for value in values.flat)
        yield files.pnm(3, 7, 5, top, b"# a comment\n" + text), expected, 0
        one = values[..., 0]
        yield files.pnm(5, 7, 5, top, one.astype(">u2").tobytes()), grey3(expected[..., 0]), 0


def palette():
    colours = RNG.integers(0, 256, (16, 3), dtype=np.uint8)
    indices = GREY % 16
    for depth in (4, 8):
        stored = packed(indices, 4) if depth == 4 else rows(indices)
        chunks = [(b"PLTE", colours.tobytes())]
        data = files.png(7, stored, depth=depth, colour_type=3, before=chunks)
        yield data, colours[indices], 0
        opacities = RNG.integers(0, 256, 12, dtype=np.uint8)  # the last 4 are opaque
        chunks.append((b"tRNS", opacities.tobytes()))
        data = files.png(7, stored, depth=depth, colour_type=3, before=chunks)
        alpha = np.append(opacities, [255] * 4).astype(np.uint8)[indices]
        yield data, oracle.over_white(colours[indices], alpha), 1


def transparent():
    both = np.dstack([GREY, ALPHA])
    expected = oracle.over_white(grey3(GREY), ALPHA)
    yield files.png(7, rows(both), colour_type=4), expected, 1
    yield Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(ALPHA)]), expected, 1
    over = oracle.over_white(RGB, ALPHA)
    yield files.png(7, rows(np.dstack([RGB, ALPHA])), colour_type=6), over, 1
    deep = np.dstack([DEEP, DEEP[::-1]])
    expected = oracle.over_white(grey3(DEEP >> 8), DEEP[::-1] >> 8)
    yield files.png(7, rows(deep.astype(">u2")), depth=16, colour_type=4), expected, 1


def one_transparent_colour():
    for depth in (1, 2, 4, 8):
        levels = GREY >> (8 - depth)
        stretched = levels * (255 // ((1 << depth) - 1))
        level = int(levels[2, 3])
        expected = grey3(np.where(levels == level, 255, stretched))
        chunk = [(b"tRNS", struct.pack(">H", level))]
        stored = packed(levels, depth)
        yield files.png(7, stored, depth=depth, colour_type=0, before=chunk), expected, 0
    level = int(DEEP[2, 3])
    expected = grey3(np.where(level == DEEP, 255, DEEP >> 8))
    chunk = [(b"tRNS", struct.pack(">H", level))]
    stored = rows(DEEP.astype(">u2"))
    yield files.png(7, stored, depth=16, colour_type=0, before=chunk), expected, 0
    hole = np.all(RGB[2, 3] == RGB, axis=2)
    expected = np.where(hole[..., None], 255, RGB)
    chunk = [(b"tRNS", struct.pack(">3H", *RGB[2, 3]))]
    yield files.png(7, rows(RGB), before=chunk), expected, 0
    deep = DEEP_RGB.astype(">u2")
    chunk = [(b"tRNS", deep[2, 3].tobytes())]
    hole = np.all(DEEP_RGB[2, 3] >> 8 == DEEP_RGB >> 8, axis=2)
    expected = np.where(hole[..., None], 255, DEEP_RGB >> 8)
    yield files.png(7, rows(deep), depth=16, before=chunk), expected, 0


def multiplied_by_opacity():
    stored = (RGB * (ALPHA[..., None] / 255)).round().astype(np.uint8)
    expected = stored + 255.0 - ALPHA[..., None]
    data = np.dstack([stored, ALPHA]).tobytes()
    opaque_enough = 40  # with little opacity, few of 256 levels are left
    some = np.where(ALPHA[..., None] >= opaque_enough, expected, np.nan)
    bits = (8, 8, 8, 8)
    yield files.tiff(7, 5, data, bits=bits, photometric=2, tags={338: 1}), some, 4
    level = (GREY * (ALPHA / 255)).round().astype(np.uint8)
    some = grey3(np.where(opaque_enough <= ALPHA, level + 255.0 - ALPHA, np.nan))
    data = np.dstack([level, ALPHA]).tobytes()
    yield files.tiff(7, 5, data, bits=(8, 8), tags={338: 1}), some, 4


def inks():
    ink = RNG.integers(0, 256, (5, 7, 4), dtype=np.uint8)
    left = 255.0 - ink
    expected = left[..., :3] * left[..., 3:] / 255
    yield files.tiff(7, 5, ink.tobytes(), bits=(8, 8, 8, 8), photometric=5), expected, 1
    flat = np.tile(np.uint8([30, 90, 200, 40]), (16, 16, 1))
    image = Image.frombytes("CMYK", (16, 16), flat.tobytes())
    left = 255.0 - flat
    expected = left[..., :3] * left[..., 3:] / 255
    yield saved(image, "JPEG", quality=100), expected, 3


def luma_and_chroma():
    """ITU-R BT.601 with the full range, as in JFIF."""
    values = RNG.integers(60, 190, (5, 7, 3), dtype=np.uint8)
    y, cb, cr = (values[..., i].astype(float) - (128 if i else 0) for i in range(3))
    expected = np.dstack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb])
    data = files.tiff(7, 5, values.tobytes(), bits=(8, 8, 8), photometric=6, tags={530: (1, 1)})
    yield data, expected.clip(0, 255), 1
    flat = np.tile(np.uint8([200, 40, 90]), (16, 16, 1))
    yield saved(Image.fromarray(flat), "JPEG", quality=100), flat, 3


def lab():
    """CIE L*a*b* to sRGB, with the white of the profile connection space, D50."""
    values = np.array([[[60, 10, -20], [30, -15, 25], [80, 5, 5], [50, 0, 0]]], float)
    f_y = (values[..., 0] + 16) / 116
    f = np.stack([f_y + values[..., 1] / 500, f_y, f_y - values[..., 2] / 200], axis=-1)
    xyz = np.where(f > 6 / 29, f**3, (f - 4 / 29) * 3 * (6 / 29) ** 2) * [0.9642, 1, 0.8249]
    to_srgb = [
        [3.1338561, -1.6168667, -0.4906146],
        [-0.9787684, 1.9161415, 0.0334540],
        [0.0719453, -0.2289914, 1.4052427],
    ]
    linear = (xyz @ np.array(to_srgb).T).clip(0, 1)
    expected = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    stored = np.empty((1, 4, 3), np.uint8)
    stored[..., 0] = (values[..., 0] * 255 / 100).round()
    stored[..., 1:] = values[..., 1:].astype(np.int8).view(np.uint8)
    data = files.tiff(4, 1, stored.tobytes(), bits=(8, 8, 8), photometric=8)
    yield data, expected * 255, 2


def first_picture():
    frames = [Image.new("RGB", (7, 5), colour) for colour in ("red", "lime", "blue")]
    expected = np.full((5, 7, 3), [255, 0, 0])
    options = {"save_all": True, "append_images": frames[1:]}
    for kind in ("GIF", "PNG", "TIFF"):
        yield saved(frames[0], kind, **options), expected, 0
    yield saved(frames[0], "WEBP", lossless=True, **options), expected, 0
    large = [frame.resize((16, 16)) for frame in frames]
    for kind in ("MPO", "AVIF"):
        made = saved(large[0], kind, save_all=True, append_images=large[1:], quality=95)
        yield made, np.full((16, 16, 3), [255, 0, 0]), 3


def turned():
    text = b'<x tiff:Orientation="%d"/>'
    profile = b"\nexif\n%8d\n%s\n"
    for orientation in range(1, 9):
        expected = oracle.upright(RGB, orientation)
        exif = files.exif(orientation)
        raw = b"Exif\0\0" + exif
        xmp = b"XML:com.adobe.xmp\0\0\0\0\0" + text % orientation
        zipped = b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(text % orientation)
        stored = profile % (len(raw), raw.hex().encode())
        for chunk in (
            (b"eXIf", exif),
            (b"iTXt", xmp),
            (b"iTXt", zipped),
            (b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(stored)),
            (b"tEXt", b"Raw profile type exif\0" + stored),
        ):
            yield files.png(7, rows(RGB), before=[chunk]), expected, 0
            yield files.png(7, rows(RGB), after=[chunk]), expected, 0
        data = files.tiff(
            7, 5, RGB.tobytes(), bits=(8, 8, 8), photometric=2, tags={274: orientation}
        )
        yield data, expected, 0
        deep = files.tiff(7, 5, DEEP.tobytes(), bits=16, photometric=0, tags={274: orientation})
        yield deep, oracle.upright(grey3((65_535 - DEEP) >> 8), orientation), 0
        blocks = np.zeros((32, 16, 3), np.uint8)
        blocks[:16] = 255
        for kind in ("JPEG", "AVIF"):
            made = saved(Image.fromarray(blocks), kind, exif=b"Exif\0\0" + exif, quality=100)
            yield made, oracle.upright(blocks, orientation), 40
        lossless = saved(Image.fromarray(RGB), "WEBP", lossless=True, exif=b"Exif\0\0" + exif)
        yield lossless, expected, 0


def metadata():
    profile = b"a name\0\0" + zlib.compress(bytes(2 << 20))
    text = b"workflow\0" + b"x" * (2 << 20)
    unpacked = b"workflow\0\0" + zlib.compress(b"x" * (2 << 20))
    damaged = b"workflow\0\0" + zlib.compress(bytes(1000))[:20]
    for chunk in (
        (b"iCCP", profile), (b"tEXt", text), (b"zTXt", unpacked), (b"zTXt", damaged),
        (b"iTXt", b"no end"), (b"gAMA", struct.pack(">I", 45_455)), (b"pHYs", b"short"),
        (b"acTL", b"short"), (b"eXIf", b"no exif"),
        (b"zTXt", b"Raw profile type exif\0\0not packed"),
        (b"tEXt", b"Raw profile type exif\0\nexif\n 4\nno hexadecimal\n"),
    ):  # fmt: skip
        yield files.png(7, rows(RGB), before=[chunk]), RGB, 0
        yield files.png(7, rows(RGB), after=[chunk]), RGB, 0
    yield saved(Image.fromarray(RGB), "WEBP", lossless=True, icc_profile=bytes(1000)), RGB, 0


UNSUPPORTED = {
    "signed 8-bit TIFF": files.tiff(7, 5, GREY.tobytes(), tags={339: 2}),
    "signed 16-bit TIFF": files.tiff(7, 5, DEEP.tobytes(), bits=16, tags={339: 2}),
    "32-bit TIFF": files.tiff(7, 5, bytes(140), bits=32),
    "floating point TIFF": files.tiff(7, 5, bytes(140), bits=32, tags={339: 3}),
    "floating point PNM": b"Pf\n7 5\n-1.0\n" + bytes(140),
    "half precision TIFF": files.tiff(7, 5, bytes(70), bits=16, tags={339: 3}),
    "big-endian 16-bit TIFF of which 0 is white": files.tiff(
        7, 5, DEEP.astype(">u2").tobytes(), bits=16, photometric=0, order=">"
    ),
    "16-bit TIFF in separate planes": files.tiff(
        7, 5, DEEP_RGB.tobytes(), bits=(16, 16, 16), photometric=2, tags={284: 2}
    ),
}

KINDS = {
    "black and white": black_and_white,
    "grey of 2, 4 or 8 bits": grey,
    "colour of 8 bits": colour,
    "grey of which 0 is white": white_is_zero,
    "grey of 12 or 16 bits": deep_grey,
    "colour of 16 bits": deep_colour,
    "PGM and PPM with any largest value": any_largest_value,
    "palette": palette,
    "with opacity": transparent,
    "with one transparent grey or colour": one_transparent_colour,
    "multiplied by opacity": multiplied_by_opacity,
    "CMYK": inks,
    "YCbCr": luma_and_chroma,
    "L\\*a\\*b\\*": lab,
    "animated, several pages or pictures": first_picture,
    "with an orientation": turned,
    "with metadata of any size": metadata,
}


@looped("kind", KINDS)
def test_a_kind_of_file_becomes(kind):
    for number, (source, expected, tolerance) in enumerate(KINDS[kind]()):
        got = np.asarray(decode(source)).astype(float)
        worst = np.nanmax(np.abs(got - expected))
        assert worst <= tolerance, (number, worst)


@looped("kind", UNSUPPORTED)
def test_pixels_without_a_fixed_range_are_unsupported(kind):
    with pytest.raises(ImageError, match="save the image") as info:
        decode(UNSUPPORTED[kind])
    assert info.value.reason == "unsupported"


def test_every_row_of_the_page_is_tested():
    table = PAGE.read_text(encoding="utf-8").partition("## What an image becomes")[2]
    names = re.findall(r"^\| ([^|]+?) \|", table.partition("\n## ")[0], re.MULTILINE)
    assert names[1:] == [*KINDS, "signed, 32-bit or floating point"]
