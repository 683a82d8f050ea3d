from __future__ import annotations

import io
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor

import image_bytes as files
import numpy as np
import pytest
from looped import looped
from PIL import GifImagePlugin, Image, ImageFile, PngImagePlugin

from hashkit.errors import ImageError
from hashkit.preprocess import decode, load

RGB = np.random.default_rng(5).integers(0, 256, (64, 48, 3), dtype=np.uint8)
KINDS = [
    ("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {}), ("BMP", {}), ("GIF", {}),
    ("TIFF", {}), ("TIFF", {"compression": "tiff_deflate"}), ("TIFF", {"compression": "tiff_lzw"}),
    ("WEBP", {}), ("PPM", {}), ("QOI", {}), ("JPEG2000", {}), ("AVIF", {}), ("MPO", {}),
]  # fmt: skip
IDS = [" ".join([kind, *map(str, options.values())]) for kind, options in KINDS]


def saved(kind: str, options: dict[str, object], pixels: np.ndarray = RGB) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind, **options)
    return out.getvalue()


@pytest.fixture
def lenient(monkeypatch):
    """Another library asks Pillow for the pixels of damaged files."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)


@looped(("kind", "options"), KINDS, ids=IDS)
def test_half_a_file_is_refused_whatever_another_library_has_set(kind, options, lenient):
    data = saved(kind, options)
    with pytest.raises(ImageError) as info:
        decode(data[: len(data) // 2])
    packed = kind in ("WEBP", "AVIF", "QOI", "JPEG2000") or "compression" in options
    assert info.value.reason == "truncated" or packed
    assert ImageFile.LOAD_TRUNCATED_IMAGES


@looped(("kind", "options"), KINDS, ids=IDS)
def test_a_whole_file_has_the_same_pixels(kind, options, monkeypatch):
    data = saved(kind, options)
    expected = np.asarray(decode(data))
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    np.testing.assert_array_equal(np.asarray(decode(data)), expected)


@looped("n_bytes", [1, 5, 60, 150])
@looped("codec", ["tiff_lzw", "tiff_deflate", "packbits"])
def test_a_tiff_without_the_end_of_its_directory_is_truncated(codec, n_bytes):
    data = saved("TIFF", {"compression": codec})
    assert (
        int.from_bytes(data[4:8], "little") > len(data) // 2
    )  # the directory is behind the pixels
    with pytest.raises(ImageError) as info:
        decode(data[:-n_bytes])
    assert info.value.reason == "truncated"


@looped("top", [1, 100, 255, 1000])
def test_a_pgm_that_lacks_a_byte_is_truncated(top):
    pixels = bytes(64 * 48 * (1 if top < 256 else 2))
    with pytest.raises(ImageError) as info:
        decode(b"P5\n64 48\n%d\n" % top + pixels[:-1])
    assert info.value.reason == "truncated"


@pytest.mark.parametrize("n_bytes", [30, 100, 300])
def test_a_cut_at_any_place_is_refused(n_bytes, lenient):
    for kind in ("PNG", "JPEG"):
        data = saved(kind, {})
        with pytest.raises(ImageError):
            decode(data[:-n_bytes])


def test_pixels_missing_within_a_whole_png_are_noticed(lenient):
    header = (b"IHDR", struct.pack(">IIBBBBB", 48, 64, 8, 2, 0, 0, 0))
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in RGB))
    chunks = [header, (b"IDAT", packed[: len(packed) // 2]), (b"IEND", b"")]
    data = b"\x89PNG\r\n\x1a\n" + b"".join(files.png_chunk(*one) for one in chunks)
    with pytest.raises(ImageError) as info:
        decode(data)
    assert info.value.reason == "truncated"


def test_damage_in_any_strip_is_noticed(lenient):
    data = bytearray(saved("TIFF", {"compression": "tiff_deflate"}))
    data[200:216] = bytes(16)
    with pytest.raises(ImageError):
        decode(bytes(data))


@looped("limit", [100, None])
@looped("kind", ["JPEG", "PNG", "BMP", "GIF", "PPM", "QOI", "TIFF", "AVIF"])
def test_another_librarys_limit_of_pixels_changes_nothing(kind, limit, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    assert decode(saved(kind, {})).size == (48, 64)
    assert limit == Image.MAX_IMAGE_PIXELS


def test_a_lower_limit_that_pillow_insists_on_is_named(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ImageError, match="MAX_IMAGE_PIXELS allows") as info:
        decode(saved("WEBP", {}))
    assert info.value.reason == "too-large"


def test_our_limit_holds_without_pillows(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with pytest.raises(ImageError) as info:
        decode(b"P5 9460 9460 255\n")
    assert info.value.reason == "too-large"


@pytest.mark.parametrize("name", ["MAX_TEXT_CHUNK", "MAX_TEXT_MEMORY"])
def test_limits_of_texts_change_nothing(name, monkeypatch):
    monkeypatch.setattr(PngImagePlugin, name, 1)
    text = PngImagePlugin.PngInfo()
    text.add_text("a", "b" * 1000, zip=True)
    text.add_text("c", "d" * 1000)
    data = saved("PNG", {"pnginfo": text})
    np.testing.assert_array_equal(np.asarray(decode(data)), RGB)


@pytest.mark.parametrize("strategy", list(GifImagePlugin.LoadingStrategy))
def test_how_others_load_gif_changes_nothing(strategy, monkeypatch):
    data = saved("GIF", {})
    expected = np.asarray(decode(data))
    monkeypatch.setattr(GifImagePlugin, "LOADING_STRATEGY", strategy)
    np.testing.assert_array_equal(np.asarray(decode(data)), expected)


def test_a_pillow_image_that_is_not_loaded_is_loaded_whole(lenient):
    data = saved("JPEG", {})
    cut = Image.open(io.BytesIO(data[: len(data) // 2]))
    with pytest.raises(ImageError) as info:
        load(cut, (8, 8), "crop-bilinear")
    assert info.value.reason == "truncated"
    assert cut.tile[0].codec_name == "jpeg"
    assert "load_read" not in vars(cut)
    cut.load()  # its owner asked for the pixels there are
    whole = Image.open(io.BytesIO(data))
    load(whole, (8, 8), "crop-bilinear")
    assert "load_read" not in vars(whole)


def test_threads_with_other_wishes_do_not_disturb_each_other(monkeypatch):
    """Others read cut files while we refuse them."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    half = saved("JPEG", {})[:2000]

    def ours(_: int) -> str:
        with pytest.raises(ImageError) as info:
            decode(half)
        return info.value.reason

    def theirs(_: int) -> tuple[int, int]:
        image = Image.open(io.BytesIO(half))
        image.load()
        return image.size

    with ThreadPoolExecutor(4) as pool:
        jobs = [(pool.submit(ours, i), pool.submit(theirs, i)) for i in range(50)]
    assert {job.result() for job, _ in jobs} == {"truncated"}
    assert {job.result() for _, job in jobs} == {(48, 64)}


@pytest.mark.parametrize("codec", ["tiff_lzw", "tiff_deflate", "jpeg"])
def test_a_damaged_tiff_prints_nothing(codec, capfd):
    data = bytearray(saved("TIFF", {"compression": codec}))
    data[8:200] = bytes(192)
    with pytest.raises(ImageError):
        decode(bytes(data))
    assert capfd.readouterr() == ("", "")
