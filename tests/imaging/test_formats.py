from __future__ import annotations

import io
import subprocess
import sys

import image_bytes as files
import numpy as np
import pytest
from looped import looped
from PIL import Image

from hashkit.errors import ImageError
from hashkit.imaging import formats
from hashkit.imaging.formats import EXTRA_SUFFIXES, IMAGE_SUFFIXES, format_of
from hashkit.preprocess import decode

RGB = np.random.default_rng(3).integers(0, 256, (16, 16, 3), dtype=np.uint8)

# A writer of Pillow for each suffix; .mpo and .apng hold several pictures.
WRITERS = {
    ".avif": "AVIF", ".bmp": "BMP", ".gif": "GIF", ".j2k": "JPEG2000", ".jp2": "JPEG2000",
    ".jpg": "JPEG", ".mpo": "MPO", ".pgm": "PPM", ".png": "PNG", ".ppm": "PPM", ".qoi": "QOI",
    ".tif": "TIFF", ".webp": "WEBP",
}  # fmt: skip


@looped("suffix", WRITERS)
def test_a_format_is_recognised_and_read(suffix):
    out = io.BytesIO()
    Image.fromarray(RGB).save(out, WRITERS[suffix])
    assert suffix in IMAGE_SUFFIXES
    name = format_of(out.getvalue())
    assert name is not None
    assert suffix in formats._SUFFIXES[name]
    assert decode(out.getvalue()).size == (16, 16)


def test_every_suffix_is_one_of_pillow_or_of_the_extra():
    Image.init()
    known = Image.registered_extensions()
    assert {suffix for suffix in IMAGE_SUFFIXES if suffix not in known} <= {".mpo"}
    assert not EXTRA_SUFFIXES & IMAGE_SUFFIXES


@looped(
    "data",
    [
        b"%PDF-1.7\n",
        b"\xd7\xcd\xc6\x9a" + bytes(60),
        b"\0\0\0\x18ftypmp42" + bytes(30),
        b"hello",
    ],
    ids=["PDF", "WMF", "MP4", "text"],
)
def test_other_files_are_not_read(data):
    assert format_of(data) is None
    with pytest.raises(ImageError, match="not an image that can be read") as info:
        decode(data)
    assert info.value.reason == "broken"


NOT_READ = {
    "PFM": b"PF\n1 1\n-1.0\n" + bytes(12),
    "PFM, grey": b"Pf\n1 1\n-1.0\n" + bytes(4),
    "PAM": b"P7\nWIDTH 1\nHEIGHT 1\nDEPTH 3\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\n\0\0\0",
    "Photoshop": b"8BPS\0\1" + bytes(60),
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n",
    "JPEG XL": b"\xff\x0a" + bytes(30),
    "OpenEXR": b"v/1\1\2\0\0\0" + bytes(30),
    "Radiance HDR": b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 1 +X 1\n" + bytes(4),
    "DDS": b"DDS |\0\0\0" + bytes(120),
    "ICO": b"\0\0\1\0\1\0" + bytes(30),
    "SGI": b"\1\xda\1\1\0\3" + bytes(506),
    "FITS": b"SIMPLE  =                    T" + b" " * 2850,
}


@looped("kind", NOT_READ)
def test_an_image_of_a_format_that_is_not_read_is_unsupported(kind, tmp_path):
    path = tmp_path / "a.ppm"
    path.write_bytes(NOT_READ[kind])
    assert format_of(NOT_READ[kind]) is None
    expected = rf"a\.ppm: {kind.partition(',')[0]}.* images are not read; save the image as PNG"
    with pytest.raises(ImageError, match=expected) as info:
        decode(path)
    assert info.value.reason == "unsupported"


def test_heif_without_its_extra_names_the_command(monkeypatch):
    formats._factory.cache_clear()
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    data = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40)
    assert format_of(data) == "HEIF"
    with pytest.raises(ImageError, match=r"HEIF images need .*\[heic\]") as info:
        decode(data)
    formats._factory.cache_clear()
    assert info.value.reason == "unsupported"


def test_a_pillow_without_avif_says_so(monkeypatch):
    from PIL import AvifImagePlugin

    out = io.BytesIO()
    Image.fromarray(RGB).save(out, "AVIF")
    formats._factory.cache_clear()
    monkeypatch.setattr(AvifImagePlugin, "SUPPORTED", False)
    with pytest.raises(ImageError, match="build of Pillow with AVIF") as info:
        decode(out.getvalue())
    formats._factory.cache_clear()
    assert info.value.reason == "unsupported"


def test_heif_is_read_with_its_extra():
    heif = pytest.importorskip("pillow_heif", reason="the extra heic is not installed")
    flat = np.zeros((64, 96, 3), np.uint8)
    flat[:, :48] = (200, 40, 90)
    out = io.BytesIO()
    heif.from_pillow(Image.fromarray(flat)).save(out, quality=95)
    got = np.asarray(decode(out.getvalue())).astype(int)
    assert np.abs(got[:, 4:40] - (200, 40, 90)).max() <= 8
    assert got[:, 56:].max() <= 8


def test_a_wrong_suffix_does_not_matter(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(files.bmp(RGB))
    np.testing.assert_array_equal(np.asarray(decode(path)), RGB)


@pytest.mark.end_to_end
def test_no_other_part_of_pillow_is_loaded():
    """Among the others is the one that starts Ghostscript."""
    code = (
        "import sys, numpy; from hashkit.preprocess import load;"
        "from hashkit.errors import ImageError\n"
        "try: load(b'%!PS-Adobe-3.0 EPSF-3.0\\n', (8, 8), 'crop-bilinear')\n"
        "except ImageError: pass\n"
        "load(b'P5 1 1 255 x', (1, 1), 'crop-bilinear')\n"
        "print([name for name in sys.modules if name.startswith('PIL.') and 'Plugin' in name])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "PpmImagePlugin" in done.stdout
    assert "Eps" not in done.stdout
