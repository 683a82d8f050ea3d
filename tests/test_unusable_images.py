"""Files that are not images, are damaged or are too large: one error, with a reason."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from looped import looped
from PIL import Image
from saved_images import reason_of, saved

from hashkit.errors import ImageError
from hashkit.preprocess import MAX_PIXELS, decode, load

COLOUR = np.random.default_rng(7).integers(0, 256, (6, 9, 3), dtype=np.uint8)
SIZE = (4, 4)
RULE = "crop-bilinear"


@looped("suffix", [".jpg", ".png", ".gif", ".bmp", ".tif", ".webp", ".ppm"])
def test_a_file_truncated_anywhere_is_an_image_error(suffix):
    data = saved(Image.fromarray(COLOUR), suffix)
    whole = np.asarray(decode(data))
    reasons = []
    for n_bytes in range(1, len(data)):
        try:
            got = decode(data[:n_bytes])
        except ImageError as error:
            reasons.append(error.reason)
        else:  # only data after the pixels was cut off
            np.testing.assert_array_equal(np.asarray(got), whole)
            assert n_bytes >= len(data) - 20
    assert len(reasons) >= len(data) - 21
    assert set(reasons) <= {"truncated", "broken"}
    if suffix != ".webp":
        assert reasons[-1] == "truncated"


def test_an_empty_file_is_truncated(tmp_path):
    (tmp_path / "a.png").touch()
    assert reason_of(tmp_path / "a.png") == "truncated"
    assert reason_of(b"") == "truncated"


@settings(max_examples=40, deadline=None)
@given(st.binary(min_size=1, max_size=200))
def test_random_bytes_are_broken(data):
    # Some begin like a file of a format that is not read.
    assert reason_of(data) in ("broken", "truncated", "unsupported")


@settings(max_examples=80, deadline=None)
@given(
    suffix=st.sampled_from([".jpg", ".png", ".gif", ".bmp", ".tif", ".webp", ".ppm"]),
    changes=st.lists(st.tuples(st.integers(0, 300), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_damaged_files_load_or_are_image_errors(suffix, changes):
    data = bytearray(saved(Image.fromarray(COLOUR), suffix))
    for at, value in changes:
        data[at % len(data)] = value
    message = ""
    try:
        assert load(bytes(data), SIZE, RULE).shape == (*SIZE, 3)
    except ImageError as error:
        message = str(error)
    assert "\n" not in message


def png_of_size(width: int, height: int) -> bytes:
    """The start of a PNG with this size in its header, but almost no pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100)))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(9460, 9460), (13_000, 13_000), (50_000, 50_000), (1, 2**31 - 1)])
@pytest.mark.filterwarnings("error", "ignore::PIL.Image.DecompressionBombWarning")
def test_too_many_pixels_are_refused_before_they_are_decoded(size):
    assert size[0] * size[1] > MAX_PIXELS
    assert reason_of(png_of_size(*size)) == "too-large"


def test_too_many_pixels_are_refused_when_warnings_are_errors():
    assert reason_of(png_of_size(9460, 9460)) == "too-large"


def test_the_maximum_number_of_pixels_is_allowed():
    width = 9459
    assert width * width <= MAX_PIXELS
    # Refused because pixels are missing, not because of its size.
    assert reason_of(png_of_size(width, width)) == "truncated"


def test_arrays_of_too_many_pixels_are_refused():
    assert reason_of(np.broadcast_to(np.uint8(0), (9460, 9460))) == "too-large"


def test_files_that_do_not_exist_are_missing(tmp_path):
    assert reason_of(tmp_path / "nothing.png") == "missing"
    assert reason_of(tmp_path) == "missing"
    assert reason_of("nul\0.png") == "missing"


def test_messages_name_the_file(tmp_path):
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(ImageError, match=r"a\.png: not an image that can be read"):
        load(tmp_path / "a.png", SIZE, RULE)


def test_a_truncated_pillow_image_is_an_image_error():
    data = saved(Image.fromarray(COLOUR), ".png")
    assert reason_of(Image.open(io.BytesIO(data[:100]))) == "truncated"
