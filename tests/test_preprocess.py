from __future__ import annotations

import io
import itertools
import re

import numpy as np
import oracles_preprocess as oracle
import pytest
from looped import looped
from PIL import Image
from saved_images import reason_of, saved

from hashkit.errors import ConfigError
from hashkit.manifest import RESIZE_RULES
from hashkit.preprocess import decode, fit, load, resampler

RNG = np.random.default_rng(7)
COLOUR = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (6, 9), dtype=np.uint8)
ALPHA = RNG.integers(0, 256, (6, 9), dtype=np.uint8)
SIZE = (4, 4)
SIZE16 = (16, 16)
RULE = "crop-bilinear"


def pixels_of(data: bytes) -> np.ndarray:
    image = decode(data)
    assert image.mode == "RGB"
    return np.asarray(image)


def as_grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(np.asarray(values, dtype=np.uint8)[..., None], 3, axis=2)


# --- kinds of pixels


@looped("suffix", [".png", ".bmp", ".ppm", ".tif", ".tiff"])
def test_lossless_colour_is_decoded_exactly(suffix, tmp_path):
    path = tmp_path / f"image{suffix}"
    path.write_bytes(saved(Image.fromarray(COLOUR), suffix))
    for source in (path, str(path), path.read_bytes()):
        np.testing.assert_array_equal(load(source, (6, 9), RULE), COLOUR)


def test_lossless_webp_is_decoded_exactly():
    data = saved(Image.fromarray(COLOUR), ".webp", lossless=True)
    np.testing.assert_array_equal(pixels_of(data), COLOUR)


@looped("suffix", [".png", ".pgm", ".bmp", ".tif"])
def test_grey_becomes_rgb(suffix):
    np.testing.assert_array_equal(pixels_of(saved(Image.fromarray(GREY), suffix)), as_grey(GREY))


def test_one_bit_images_become_rgb():
    bits = GREY > 127
    data = saved(Image.fromarray(bits), ".png")
    assert Image.open(io.BytesIO(data)).mode == "1"
    np.testing.assert_array_equal(pixels_of(data), as_grey(bits * 255))


def palette_image() -> tuple[Image.Image, np.ndarray]:
    palette = RNG.integers(0, 256, (16, 3), dtype=np.uint8)
    indices = GREY % 16
    image = Image.fromarray(indices, mode=None).convert("L")
    image = Image.frombytes("P", (9, 6), indices.tobytes())
    image.putpalette(palette.tobytes())
    return image, palette[indices]


def test_palettes_become_rgb():
    image, expected = palette_image()
    np.testing.assert_array_equal(pixels_of(saved(image, ".png")), expected)
    np.testing.assert_array_equal(pixels_of(saved(image, ".gif")), expected)


def test_palette_with_one_transparent_colour():
    image, expected = palette_image()
    hole = GREY % 16 == 3
    assert hole.any()
    expected = np.where(hole[..., None], 255, expected)
    np.testing.assert_array_equal(pixels_of(saved(image, ".png", transparency=3)), expected)


def test_palette_with_an_opacity_for_each_colour():
    image, expected = palette_image()
    opacities = bytes(range(0, 256, 16))
    data = saved(image, ".png", transparency=opacities)
    alpha = np.frombuffer(opacities, np.uint8)[GREY % 16]
    np.testing.assert_allclose(pixels_of(data), oracle.over_white(expected, alpha), atol=1)


def test_rgba_is_composited_over_white():
    data = saved(Image.fromarray(np.dstack([COLOUR, ALPHA])), ".png")
    np.testing.assert_allclose(pixels_of(data), oracle.over_white(COLOUR, ALPHA), atol=1)


def test_grey_with_alpha_is_composited_over_white():
    image = Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(ALPHA)])
    data = saved(image, ".png")
    assert Image.open(io.BytesIO(data)).mode == "LA"
    np.testing.assert_allclose(pixels_of(data), oracle.over_white(as_grey(GREY), ALPHA), atol=1)


def test_rgb_with_one_transparent_colour():
    colour = COLOUR.copy()
    colour[2, 3] = (1, 2, 3)
    colour[4, 4] = (1, 2, 3)
    data = saved(Image.fromarray(colour), ".png", transparency=(1, 2, 3))
    colour[2, 3] = colour[4, 4] = 255
    got = pixels_of(data)
    np.testing.assert_array_equal(got, colour)


@pytest.mark.parametrize("mode", ["RGB", "CMYK", "L"])
def test_jpeg_colour_spaces_become_rgb(mode):
    colour = (200, 40, 90)
    data = saved(Image.new("RGB", (16, 16), colour).convert(mode), ".jpg", quality=95)
    assert Image.open(io.BytesIO(data)).mode == mode
    expected = (
        np.array(colour) if mode != "L" else np.full(3, 299 * 200 + 587 * 40 + 114 * 90) // 1000
    )
    assert np.abs(pixels_of(data).astype(int) - expected).max() <= 4


WIDE = RNG.integers(0, 65_536, (6, 9)).astype(np.uint16)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_grey_keeps_the_high_byte(suffix):
    data = saved(Image.fromarray(WIDE), suffix)
    assert Image.open(io.BytesIO(data)).mode.startswith("I;16")
    np.testing.assert_array_equal(pixels_of(data), as_grey(WIDE >> 8))


def test_a_mode_without_a_conversion_is_unsupported():
    assert reason_of(Image.new("I", (8, 8))) == "unsupported"


@looped(
    ("suffix", "options"), [(".gif", {}), (".webp", {"lossless": True}), (".png", {}), (".tif", {})]
)
def test_the_first_of_several_frames_is_used(suffix, options):
    frames = [Image.new("RGB", (9, 6), colour) for colour in ("red", "lime", "blue")]
    data = saved(frames[0], suffix, save_all=True, append_images=frames[1:], **options)
    assert Image.open(io.BytesIO(data)).n_frames == 3
    np.testing.assert_array_equal(pixels_of(data), np.full((6, 9, 3), [255, 0, 0]))


# --- EXIF orientation


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_exif_orientation_is_applied(suffix):
    options = {"lossless": True} if suffix == ".webp" else {}
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        data = saved(Image.fromarray(COLOUR), suffix, exif=exif, **options)
        expected = oracle.upright(COLOUR, orientation)
        np.testing.assert_array_equal(pixels_of(data), expected, f"orientation {orientation}")


def test_exif_orientation_of_a_jpeg_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:, :16] = 255  # the left half is white; after rotating right, the upper half
    data = saved(Image.fromarray(pixels), ".jpg", exif=exif, quality=95)
    got = pixels_of(data)
    assert got.shape == (32, 16, 3)
    assert got[:14].min() > 240
    assert got[18:].max() < 15


@looped("n_bytes", [8, 14, 17, 20])
def test_damaged_exif_leaves_the_pixels_unchanged(n_bytes):
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "a maker's name that does not fit into four bytes"
    data = saved(Image.fromarray(COLOUR), ".webp", lossless=True, exif=exif.tobytes()[:n_bytes])
    np.testing.assert_array_equal(pixels_of(data), COLOUR)


# --- arrays and Pillow images


def test_arrays_of_each_shape_are_loaded():
    np.testing.assert_array_equal(load(COLOUR, (6, 9), RULE), COLOUR)
    np.testing.assert_array_equal(load(GREY, (6, 9), RULE), as_grey(GREY))
    np.testing.assert_array_equal(load(GREY[..., None], (6, 9), RULE), as_grey(GREY))
    rgba = np.dstack([COLOUR, ALPHA])
    expected = oracle.over_white(COLOUR, ALPHA)
    np.testing.assert_allclose(load(rgba, (6, 9), RULE), expected, atol=1)
    assert load(np.asfortranarray(COLOUR), (6, 9), RULE).flags.c_contiguous


@looped(
    "array",
    [GREY.astype(np.float32), GREY.astype(np.int64), COLOUR[..., :2], COLOUR[None], COLOUR[:0]],
    ids=["float", "int64", "2 channels", "4 dimensions", "empty"],
)
def test_other_arrays_are_unsupported(array):
    assert reason_of(array) == "unsupported"


def test_a_pillow_image_is_not_changed():
    image = Image.fromarray(np.dstack([COLOUR, ALPHA]))
    before = image.tobytes()
    load(image, SIZE, RULE)
    assert image.mode == "RGBA"
    assert image.tobytes() == before


def test_a_decoded_pillow_image_is_a_copy():
    image = Image.fromarray(COLOUR)
    assert decode(image) is not image


# --- resize rules


@looped("rule", RESIZE_RULES)
def test_resizing_matches_its_definition(rule):
    # Both passes round to integers; absolute weights of the second add up to at most 1.25.
    tolerance = (1.0 if "bilinear" in rule else 0.5 * 1.25 + 0.5) + 1e-9
    sizes = [(4, 4), (13, 5), (5, 31), (6, 9), (24, 24)]
    for size, source_size in itertools.product(sizes, [(6, 9), (20, 8), (17, 17)]):
        # Avoid values near 0 and 255, where the bicubic overshoot is clipped between the passes.
        pixels = RNG.integers(60, 196, (*source_size, 3), dtype=np.uint8)
        got = load(pixels, size, rule)
        assert got.dtype == np.uint8
        assert got.flags.c_contiguous
        expected = oracle.resize(pixels, size, rule)
        np.testing.assert_allclose(got, expected, 0, tolerance, err_msg=f"{source_size} to {size}")


@looped("rule", RESIZE_RULES)
def test_an_image_of_the_right_size_is_unchanged(rule):
    np.testing.assert_array_equal(fit(Image.fromarray(COLOUR), (6, 9), rule), COLOUR)


@pytest.mark.parametrize("size", [(8, 24), (24, 8)], ids=["wide", "tall"])
def test_a_crop_is_centred(size):
    pixels = np.zeros((*size, 3), np.uint8)
    center = (slice(None), slice(8, 16)) if size[1] == 24 else (slice(8, 16), slice(None))
    pixels[center] = COLOUR[0, 0]
    np.testing.assert_array_equal(load(pixels, (8, 8), "crop-bilinear"), pixels[center])
    stretched = load(pixels, (8, 8), "stretch-bilinear")
    assert (stretched == 0).any()


@looped("rule", RESIZE_RULES)
@looped(
    ("shape", "is_down_first"),
    [((700, 60), True), ((60, 700), False), ((40, 40), False), ((60, 38), False), ((61, 38), True)],
)
def test_the_order_of_the_two_passes_is_fixed(rule, shape, is_down_first):
    """Pillow's own depends on its version: 13 begins with the columns of tall images."""
    pixels = RNG.integers(0, 256, (*shape, 3), dtype=np.uint8)
    kernel = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}[
        rule.split("-")[1]
    ]
    side = min(shape) if rule.startswith("crop") else 0
    top, left = ((n - side) / 2 if side else 0 for n in shape)
    bottom, right = shape[0] - top, shape[1] - left
    image = Image.fromarray(pixels)
    if is_down_first:
        first = image.resize((shape[1], 16), kernel, box=(0, top, shape[1], bottom))
        expected = first.resize(SIZE16, kernel, box=(left, 0, right, 16))
    else:
        first = image.resize((16, shape[0]), kernel, box=(left, 0, right, shape[0]))
        expected = first.resize(SIZE16, kernel, box=(0, top, 16, bottom))
    np.testing.assert_array_equal(load(pixels, SIZE16, rule), expected)


def test_the_resampler_is_named():
    assert re.fullmatch(r"Pillow \d+\.\d+\.\d+.*", resampler())


def test_the_error_for_an_unknown_rule_lists_the_known_ones():
    with pytest.raises(ConfigError, match="unknown resize rule 'pad'; known: crop-bilinear"):
        load(COLOUR, SIZE, "pad")


@pytest.mark.parametrize("model_size", [7, 28, 224])
def test_rounding_never_puts_the_crop_outside_the_image(model_size):
    """For 133 widths up to 4,000, such as 29, 7 * (29 / 7) is more than 29."""
    odd = [side for side in range(1, 4000) if model_size * (side / model_size) > side]
    assert odd
    for side in odd[:10]:
        for shape in ((side, side + 9), (side + 9, side)):
            image = Image.new("RGB", shape, (10, 20, 30))
            pixels = fit(image, (model_size, model_size), "crop-bilinear")
            assert (pixels == (10, 20, 30)).all()
