from __future__ import annotations

import contextlib
import io
import itertools

import numpy as np
import pytest
from looped import looped
from PIL import Image

from hashkit.errors import ImageError
from hashkit.imaging.jpeg import check_jpeg
from hashkit.imaging.jpeg_signs import has_signs_of_a_hole
from hashkit.preprocess import decode

RNG = np.random.default_rng(9)


def photograph(height: int, width: int) -> Image.Image:
    """Noise at several scales: it has detail everywhere, as photographs have."""
    pixels = np.zeros((height, width, 3))
    for step in (4, 16, 64):
        small = RNG.normal(0, step / 2, (height // step + 2, width // step + 2, 3))
        pixels += np.repeat(np.repeat(small, step, 0), step, 1)[:height, :width]
    return Image.fromarray((pixels + 128).clip(0, 255).astype(np.uint8))


def saved(image: Image.Image, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", **options)
    return out.getvalue()


def with_hole(data: bytes, at: int, n_bytes: int, value: int) -> bytes:
    return data[:at] + bytes([value]) * n_bytes + data[at + n_bytes :]


OPTIONS = [
    {"progressive": progressive, "optimize": optimize, "subsampling": sampling,
     "restart_marker_blocks": interval}
    for progressive, optimize, sampling, interval in itertools.product(
        (False, True), (False, True), (0, 1, 2), (0, 7)
    )
]  # fmt: skip


@looped("options", OPTIONS[::3], ids=str)
@looped("mode", ["RGB", "L", "CMYK"])
def test_whole_files_are_read_to_their_end(options, mode, monkeypatch):
    """The reader must agree with libjpeg about every file, whether it has a long run or not."""
    monkeypatch.setattr("hashkit.imaging.jpeg.has_signs_of_a_hole", lambda *_: True)
    for quality, (height, width) in ((20, (61, 90)), (95, (8, 17))):
        check_jpeg(saved(photograph(height, width).convert(mode), quality=quality, **options))


@looped("options", OPTIONS[1::3], ids=str)
@looped("value", [0, 0x55, 0xFF])
def test_a_hole_is_noticed(options, value):
    data = saved(photograph(120, 200), quality=85, **options)
    start = data.index(b"\xff\xda") + 20
    for at in (start, len(data) // 2, len(data) - 600):
        with pytest.raises(ImageError) as info:
            decode(with_hole(data, at, 512, value))
        assert info.value.reason in ("broken", "truncated")


TEXT = "Größere Mengen von Bildern werden geprüft; 图像检索使用二进制编码。\n".encode() * 20
CONTENTS = {
    "text": TEXT[:1024],
    "noise": RNG.bytes(1024),
    "fill": b"\xde\xad\xbe\xef" * 256,
    "gap": b"\xff" * 1023 + b"\x17",
}


@pytest.mark.parametrize("options", [OPTIONS[0], OPTIONS[-1]], ids=str)
def test_a_part_of_another_file_is_noticed(options):
    """Such as a page of another file."""
    data = saved(photograph(240, 300), quality=85, **options)
    assert not has_signs_of_a_hole(data, data.index(b"\xff\xda"))
    for at in range(2048, len(data) - 1026, 4096):
        for content in CONTENTS.values():
            damaged = data[:at] + content + data[at + 1024 :]
            assert has_signs_of_a_hole(damaged, data.index(b"\xff\xda"))
            with pytest.raises(ImageError):
                decode(damaged)


def test_stripes_are_not_holes():
    """The widest take about a byte per block; at quality 30, nearly all of these are equal."""
    x = np.arange(1024)
    for period, low, high in ((1, 0, 255), (4, 0, 128), (8, 100, 110)):
        stripes = np.tile(np.where(x // period % 2, low, high), (256, 1)).astype(np.uint8)
        for quality, optimize in ((30, True), (75, False), (95, True)):
            decode(saved(Image.fromarray(stripes), quality=quality, optimize=optimize))


def test_a_hole_up_to_the_end_is_noticed():
    data = saved(photograph(120, 200), quality=85)
    half = len(data) // 2
    with pytest.raises(ImageError):
        decode(with_hole(data, half, len(data) - half, 0))


@looped("optimize", [False, True])
@looped("progressive", [False, True])
@looped("mode", ["RGB", "L"])
def test_flat_areas_are_not_holes(optimize, progressive, mode):
    """With a table for few symbols, a blank page is nothing but zeros."""
    options = {"optimize": optimize, "progressive": progressive}
    for part in (0, 100):
        page = Image.new("RGB", (600, 700), "white")
        page.paste(photograph(100, 100), (part, part))
        decode(saved(page.convert(mode), **options))
    decode(saved(Image.new(mode, (1000, 1000)), **options))
    slope = np.tile(np.linspace(0, 255, 2000).astype(np.uint8), (300, 1))
    decode(saved(Image.fromarray(slope).convert(mode), **options))


def test_runs_outside_the_image_data_do_not_count(monkeypatch):
    """Such as padding in metadata, and what a camera appends to the picture."""
    data = saved(photograph(40, 40), exif=b"Exif\0\0" + bytes(5000), icc_profile=bytes(5000))
    expected = np.asarray(decode(data))
    np.testing.assert_array_equal(np.asarray(decode(data + bytes(5000))), expected)


def test_a_few_bytes_of_padding_after_the_picture_are_accepted():
    data = saved(Image.new("RGB", (1000, 1200), "white"), optimize=True)
    assert data.endswith(b"\xff\xd9")
    decode(data[:-2] + bytes(40) + data[-2:])
    with pytest.raises(ImageError, match="hole"):
        decode(data[:-2] + bytes(80) + data[-2:])


@pytest.mark.parametrize("seed", range(3))
def test_damaged_headers_raise_only_os_errors(seed, monkeypatch):
    monkeypatch.setattr("hashkit.imaging.jpeg.has_signs_of_a_hole", lambda *_: True)
    rng = np.random.default_rng(seed)
    options = {"progressive": True, "restart_marker_blocks": 3}
    for data in (saved(photograph(30, 50)), saved(photograph(30, 50), **options)):
        for _ in range(100):
            damaged = bytearray(data)
            for at in rng.integers(2, len(data), 3):
                damaged[at] = rng.integers(0, 256)
            with contextlib.suppress(OSError):
                check_jpeg(bytes(damaged))
