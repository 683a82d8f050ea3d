"""Files without metadata: the same pixels, upright, and nothing that anybody wrote beside them."""

from __future__ import annotations

import io

import numpy as np
import pytest
from looped import looped
from PIL import Image, PngImagePlugin

from hashkit.imaging.stripping import without_metadata
from hashkit.preprocess import decode

PLACE = "taken at 52.5 N 13.4 E"


def exif(orientation: int) -> Image.Exif:
    made = Image.Exif()
    made[0x010E] = PLACE
    made.get_ifd(0x8825)[29] = PLACE
    made[0x0112] = orientation
    return made


def saved(kind: str, **options: object) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
    image = Image.fromarray(pixels).resize((30, 20))
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def text() -> PngImagePlugin.PngInfo:
    made = PngImagePlugin.PngInfo()
    made.add_text("Comment", PLACE)
    made.add_itxt("XML:com.adobe.xmp", PLACE)
    return made


XMP = PLACE.encode()
FILES = {
    "JPEG": {"xmp": XMP, "comment": PLACE, "progressive": True},
    "PNG": {"pnginfo": text()},
    "WEBP": {"xmp": XMP, "lossless": True},
    "GIF": {"comment": PLACE},
}


@looped("kind", FILES)
def test_metadata_is_taken_out_and_the_picture_stays(kind):
    for orientation in (1, 6):
        given = {} if kind == "GIF" else {"exif": exif(orientation), "icc_profile": b"profile" * 9}
        data = saved(kind, **FILES[kind], **given)
        assert PLACE.encode() in data
        bare = without_metadata(data + f"a video of {PLACE}".encode() * (kind != "WEBP"))
        assert PLACE.encode() not in bare
        assert decode(bare).tobytes() == decode(data).tobytes()
        opened = Image.open(io.BytesIO(bare))
        assert opened.info.get("icc_profile") == given.get("icc_profile")
        assert opened.getexif().get(0x0112, 1) == (1 if kind == "GIF" else orientation)
        assert without_metadata(bare) == bare
        plain = saved(kind)
        assert without_metadata(plain) == plain


@pytest.mark.parametrize(("kind", "n_frames"), [("GIF", 3), ("WEBP", 3), ("PNG", 3)])
def test_an_animation_stays_one(kind, n_frames):
    frames = [Image.new("RGB", (8, 8), (80 * number, 0, 0)) for number in range(n_frames)]
    data = saved(kind, save_all=True, append_images=[one.resize((30, 20)) for one in frames[1:]])
    bare = without_metadata(data)
    assert Image.open(io.BytesIO(bare)).n_frames == n_frames


def test_a_damaged_file_and_another_format_are_left_to_the_decoder():
    jpeg = saved("JPEG")
    assert without_metadata(jpeg[:-40]) is None
    assert without_metadata(saved("TIFF")) is None
    assert without_metadata(b"no image") is None
