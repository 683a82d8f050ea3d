"""Small JPEG files give the same pixels or error with and without Pillow's reader."""

import io

import numpy as np
import pytest
from looped import looped
from PIL import Image

from hashkit.errors import ImageError
from hashkit.imaging.plain_jpeg import PlainJpeg
from hashkit.preprocess import load

KINDS = [
    {},
    {"quality": 95, "subsampling": 0},
    {"progressive": True},
    {"optimize": True, "comment": b"made by hand"},
    {"restart_marker_blocks": 1},
    {"dpi": (72, 72)},
]


def jpeg(mode="RGB", size=(33, 29), **options):
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8))
    stream = io.BytesIO()
    coarse.resize(size, Image.Resampling.BICUBIC).convert(mode).save(stream, "jpeg", **options)
    return stream.getvalue()


def outcome(data, size=(32, 32), rule="crop-bilinear"):
    """The pixels, or the reason and the message of the error."""
    try:
        return load(data, size, rule).tobytes()
    except ImageError as error:
        return error.reason, str(error)


@pytest.fixture
def by_reader(monkeypatch):
    """What `outcome` is if every file goes through Pillow's reader."""

    def found(*arguments, **options):
        with monkeypatch.context() as changed:
            changed.setattr(PlainJpeg, "of", lambda _: None)
            return outcome(*arguments, **options)

    return found


@pytest.mark.parametrize("options", KINDS, ids=str)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_pixels_are_those_of_pillows_reader(mode, options, by_reader):
    data = jpeg(mode, **options)
    assert PlainJpeg.of(data) == PlainJpeg((33, 29), mode)
    for rule in ("crop-bilinear", "stretch-bicubic", "crop-bilinear-reduced"):
        assert outcome(data, rule=rule) == by_reader(data, rule=rule)
    assert outcome(data, size=(4, 4), rule="crop-bilinear-reduced") == by_reader(
        data, size=(4, 4), rule="crop-bilinear-reduced"
    )


@looped(
    ("mode", "options"),
    [
        ("CMYK", {}),
        ("RGB", {"exif": Image.Exif().tobytes()}),
        ("RGB", {"icc_profile": b"x" * 200}),
        ("RGB", {"size": (900, 900), "quality": 100, "subsampling": 0}),
    ],
    ids=["cmyk", "exif", "profile", "large"],
)
def test_other_files_are_left_to_the_reader(mode, options):
    assert PlainJpeg.of(jpeg(mode, **options)) is None


@pytest.mark.parametrize("options", [{}, {"progressive": True}], ids=["baseline", "progressive"])
def test_damaged_files_have_the_readers_outcome(options, by_reader):
    data = jpeg(**options)
    rng = np.random.default_rng(1)
    damaged = [data[:at] for at in range(0, len(data), 13)]
    for at in range(2, len(data), 5):
        damaged.append(data[:at] + rng.bytes(1) + data[at + 1 :])
    found = [outcome(one) for one in damaged]
    assert found == [by_reader(one) for one in damaged]
    assert any(isinstance(one, bytes) for one in found)
    assert {one[0] for one in found if isinstance(one, tuple)} >= {"truncated", "broken"}


def test_the_limit_of_pixels_holds_before_memory_is_taken(monkeypatch):
    data = bytearray(jpeg())
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = b"\xff\xff\xff\xff"
    monkeypatch.setattr(PlainJpeg, "decode", lambda *_: pytest.fail("decoded"))
    assert outcome(bytes(data))[0] == "too-large"
