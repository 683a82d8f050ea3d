"""The built-in perceptual hashes: exact in every runtime, and ImageHash's hash."""

from __future__ import annotations

import hashlib

import numpy as np
import onnx
import pytest
from oracles_phash import imagehash_margins, phash_logits
from PIL import Image
from sklearn.datasets import load_sample_image
from small_models import photographs

from hashkit.codes import binarize
from hashkit.exporters.phash import main, phash_model
from hashkit.runtimes.builtin import BUILTIN_MODELS, model_path
from hashkit.runtimes.encoder import Encoder
from hashkit.runtimes.onnx_file import read_onnx_file

SIDES = {"phash": 8, "phash-256": 16}


@pytest.fixture(scope="module", params=SIDES)
def encoder(request):
    return request.param, Encoder.load(request.param, "cpu")


def images_of(size: int) -> np.ndarray:
    """Photographs, noise, and pictures of which many coefficients are equal or 0."""
    place = np.arange(size)
    stripes, squares = place[:, None] % 8 // 4 * 255, (place[:, None] + place) % 2 * 255
    bright = np.where(place < size // 2, 255, 0)
    grey = [stripes + 0 * place, squares, bright + 0 * place[:, None], place[:, None] * place % 256]
    flat = [np.full((size, size), value) for value in (0, 1, 127, 128, 255)]
    artificial = np.stack([*grey, *flat]).astype(np.uint8)[..., None].repeat(3, axis=3)
    noise = np.random.default_rng(1).integers(0, 256, (16, size, size, 3), np.uint8)
    return np.concatenate([photographs(16, size, size), noise, noise // 128 * 255, artificial])


def test_the_shipped_files_are_what_the_script_makes(tmp_path):
    main(str(tmp_path))
    models = {name: BUILTIN_MODELS[name] for name in SIDES}
    assert {path.name for path in tmp_path.iterdir()} == {m.file for m in models.values()}
    for name, model in models.items():
        shipped = model_path(name).read_bytes()
        assert hashlib.sha256(shipped).hexdigest() == model.sha256
        # Not byte by byte, as another version of onnx may write the same graph in another way.
        made = onnx.load(tmp_path / model.file)
        assert onnx.load_model_from_string(shipped) == made
        assert made == phash_model(model.file.removesuffix(".onnx"))


def test_the_files_are_small_and_described():
    for name, side in SIDES.items():
        path = model_path(name)
        file = read_onnx_file(path)
        assert path.stat().st_size < 2**14
        assert (file.manifest.n_bits, file.manifest.size) == (side**2, (4 * side, 4 * side))
        assert (file.manifest.resize, file.manifest.network) == ("stretch-bicubic", path.stem)
        assert (file.producer, file.precision) == ("hashkit", "fp32")


def test_logits_are_the_integers_of_the_definition(encoder):
    name, loaded = encoder
    images = images_of(4 * SIDES[name])
    expected = phash_logits(images, SIDES[name])
    codes, logits = loaded.run(images)
    assert np.array_equal(logits, expected)
    assert np.array_equal(codes, binarize(expected))
    assert 0.1 < np.median(np.abs(logits[:16])) < 10


@pytest.mark.parametrize("runtime", ["reference", "openvino"])
def test_every_runtime_gives_the_same_logits(encoder, runtime):
    if runtime == "openvino":
        pytest.importorskip("openvino")
    name, loaded = encoder
    images = images_of(4 * SIDES[name])
    codes, logits = Encoder.load(name, "cpu", runtime=runtime).run(images)
    assert np.array_equal(logits, loaded.run(images)[1])
    assert np.array_equal(codes, loaded.run(images)[0])


def test_sums_stay_exact_with_the_largest_pixels(encoder):
    """Signs of each row of cosines as black and white: the largest sums that pixels can give."""
    name, loaded = encoder
    side = SIDES[name]
    size = 4 * side
    angles = np.arange(side)[:, None] * (2 * np.arange(size) + 1) * np.pi / (2 * size)
    signs = np.cos(angles) >= 0
    across, both = signs[:, None, :], signs[:, :, None] == signs[:, None, :]
    grey = np.concatenate([np.broadcast_to(across, both.shape), both, ~both]) * np.uint8(255)
    images = np.repeat(grey[..., None], 3, axis=3)
    assert np.array_equal(loaded.run(images)[1], phash_logits(images, side))


def test_an_image_has_one_code_in_every_batch(encoder):
    name, loaded = encoder
    images = images_of(4 * SIDES[name])
    alone = np.concatenate([loaded.run(image[None])[1] for image in images])
    assert np.array_equal(loaded.run(images)[1], alone)


def test_an_image_of_one_colour_has_only_its_brightness(encoder):
    name, loaded = encoder
    size, n_bits = 4 * SIDES[name], SIDES[name] ** 2
    colours = np.array([[0, 0, 0], [1, 1, 1], [255, 0, 0], [12, 200, 99], [255, 255, 255]])
    images = np.broadcast_to(colours[:, None, None], (5, size, size, 3)).astype(np.uint8)
    bits = np.unpackbits(loaded.run(images)[0], axis=1)
    expected = np.zeros((5, n_bits), np.uint8)
    expected[1:, 0] = 1
    assert np.array_equal(bits, expected)


def test_codes_are_those_of_imagehash(encoder):
    name, loaded = encoder
    side = SIDES[name]
    n_near, n_far = 0, 0
    for photo in map(load_sample_image, ("china.jpg", "flower.jpg")):
        for image in (photo, photo[:300, :200], photo[100:, 50:]):
            picture = Image.fromarray(np.ascontiguousarray(image))
            margins = imagehash_margins(picture, side)
            bits = np.unpackbits(loaded.encode(picture)[0])
            differ = bits != (margins > 0)
            # Pixels that were rounded in another way move a coefficient by a few units.
            near = np.abs(margins) < 40
            n_near += np.count_nonzero(differ & near)
            n_far += np.count_nonzero(differ & ~near)
    assert n_far == 0
    assert n_near <= 0.02 * 6 * side**2


def test_grey_pixels_of_the_right_size_give_exactly_the_bits_of_imagehash(encoder):
    name, loaded = encoder
    side = SIDES[name]
    n_clear = 0
    for image in photographs(12, 4 * side, 4 * side):
        picture = Image.fromarray(image)
        margins = imagehash_margins(picture, side)
        clear = np.abs(margins) > 1  # cosines of 10 bits move a coefficient by less
        bits = np.unpackbits(loaded.encode(picture)[0])
        assert np.array_equal(bits[clear], margins[clear] > 0)
        n_clear += np.count_nonzero(clear)
    assert n_clear > 0.95 * 12 * side**2
