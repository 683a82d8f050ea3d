"""JPEG files decoded at a fraction of their size."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from looped import looped
from PIL import Image
from saved_images import saved

from hashkit.errors import ImageError
from hashkit.imaging.jpeg_reduction import reduce_jpeg, reduction
from hashkit.preprocess import fit, load

RNG = np.random.default_rng(8)
SIZE16 = (16, 16)
RULE = "crop-bilinear"


def smooth(height: int, width: int) -> Image.Image:
    """Upscaled noise, without detail that is lost at a reduced size."""
    noise = RNG.integers(40, 216, (5, 7, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


PHOTOGRAPH = smooth(270, 401)
REDUCED = "crop-bilinear-reduced"
STRETCH = "stretch-bilinear-reduced"


@given(st.tuples(*[st.integers(1, 9000)] * 2), st.tuples(*[st.integers(1, 300)] * 2))
def test_the_reduction_is_the_largest_that_leaves_twice_the_model_size(shape, size):
    fits = [factor for factor in (1, 2, 4, 8) if min(shape) >= 2 * factor * max(size)]
    assert reduction(shape, size) == max(fits, default=1)


@looped(("size", "factor"), [((16, 16), 8), ((12, 33), 4), ((67, 5), 2), ((68, 5), 1)])
def test_a_jpeg_is_decoded_at_the_reduced_size(size, factor, tmp_path):
    path = tmp_path / "photograph.jpg"
    path.write_bytes(saved(PHOTOGRAPH, ".jpg"))
    opened = Image.open(path)
    assert reduce_jpeg(opened, size) == (-401 % factor / factor, -270 % factor / factor)
    assert opened.size == (-(-401 // factor), -(-270 // factor))
    opened.close()
    np.testing.assert_array_equal(load(path, size, REDUCED), load(path.read_bytes(), size, REDUCED))


@looped("mode", ["RGB", "L", "CMYK"])
@looped("rule", ["crop-bilinear", "stretch-bicubic"])
@looped("options", [{}, {"progressive": True}, {"subsampling": 0}], ids=str)
def test_a_reduced_jpeg_is_close_to_the_full_one(mode, rule, options):
    data = saved(PHOTOGRAPH.convert(mode), ".jpg", quality=95, **options)
    whole, reduced = load(data, (16, 20), rule), load(data, (16, 20), f"{rule}-reduced")
    assert reduced.std() > 10
    np.testing.assert_allclose(reduced.astype(int), whole, atol=4)


def test_only_reduced_rules_reduce():
    noise = RNG.integers(0, 256, (256, 256, 3), dtype=np.uint8)
    data = saved(Image.fromarray(noise), ".jpg")
    whole = Image.open(io.BytesIO(data))
    np.testing.assert_array_equal(load(data, SIZE16, RULE), fit(whole, SIZE16, RULE))
    assert (load(data, SIZE16, REDUCED) != load(data, SIZE16, RULE)).any()


def test_small_jpegs_and_other_sources_are_never_reduced():
    small = saved(PHOTOGRAPH.resize((60, 31)), ".jpg")
    lossless = saved(PHOTOGRAPH, ".png")
    for source in (small, lossless, PHOTOGRAPH, np.asarray(PHOTOGRAPH)):
        np.testing.assert_array_equal(load(source, SIZE16, REDUCED), load(source, SIZE16, RULE))
    opened = Image.open(io.BytesIO(saved(PHOTOGRAPH, ".jpg")))
    np.testing.assert_array_equal(load(opened, SIZE16, REDUCED), load(opened, SIZE16, RULE))
    assert opened.size == PHOTOGRAPH.size


@looped("orientation", range(1, 9))
def test_a_reduced_jpeg_is_upright(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(PHOTOGRAPH, ".jpg", exif=exif, quality=95)
    whole, reduced = load(data, (16, 20), RULE), load(data, (16, 20), REDUCED)
    np.testing.assert_allclose(reduced.astype(int), whole, atol=4)


def test_a_truncated_reduced_jpeg_is_an_image_error():
    data = saved(PHOTOGRAPH, ".jpg")
    with pytest.raises(ImageError) as info:
        load(data[: len(data) // 2], SIZE16, REDUCED)
    assert info.value.reason == "truncated"


def test_several_jpegs_in_one_file_are_reduced_too():
    buffer = io.BytesIO()
    PHOTOGRAPH.save(buffer, "MPO", save_all=True, append_images=[PHOTOGRAPH.rotate(180)])
    assert Image.open(io.BytesIO(buffer.getvalue())).format == "MPO"
    whole, reduced = (load(buffer.getvalue(), SIZE16, rule) for rule in (RULE, REDUCED))
    np.testing.assert_allclose(reduced.astype(int), whole, atol=4)
