from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from looped import looped
from numpy.typing import NDArray
from PIL import Image
from small_models import linear_model, linear_weights, photographs

import hashkit
from hashkit.codes import binarize
from hashkit.errors import ConfigError, ImageError, ModelError
from hashkit.manifest import Manifest
from hashkit.preprocess import load
from hashkit.runtimes.encoder import Encoder, default_batch_size
from hashkit.runtimes.protocol import RUNTIMES

HEIGHT, WIDTH, N_BITS = 4, 5, 12


@pytest.fixture
def encoder(tmp_path: Path) -> Encoder:
    metadata = Manifest(N_BITS, HEIGHT, WIDTH, resize="stretch-bilinear").to_metadata()
    return Encoder.load(linear_model(tmp_path / "model.onnx", metadata=metadata), device="cpu")


def test_every_kind_of_image_gives_the_same_code(encoder: Encoder, tmp_path: Path) -> None:
    pixels = photographs(1, 40, 30)[0]
    image, path, data = Image.fromarray(pixels), tmp_path / "image.png", io.BytesIO()
    image.save(path)
    image.save(data, "png")
    prepared = load(pixels, (HEIGHT, WIDTH), "stretch-bilinear")
    expected = (prepared.ravel() - 127.5) @ linear_weights(HEIGHT * WIDTH * 3, N_BITS)
    code = binarize(expected[None])

    for source in (pixels, image, path, str(path), data.getvalue()):
        np.testing.assert_array_equal(encoder.encode(source), code)
        np.testing.assert_array_equal(encoder.encode([source, source]), np.repeat(code, 2, 0))
        np.testing.assert_array_equal(encoder.logits(source), expected[None])
    np.testing.assert_array_equal(encoder.encode([pixels, image, path]), np.repeat(code, 3, 0))


def test_many_images_keep_their_order_across_batches(encoder: Encoder) -> None:
    images = photographs(2 * default_batch_size(encoder) + 3, HEIGHT, WIDTH)
    flat = images.reshape(len(images), -1)
    expected = binarize((flat - 127.5) @ linear_weights(HEIGHT * WIDTH * 3, N_BITS))
    assert len(np.unique(expected, axis=0)) > 10, "equal codes would hide a wrong order"

    np.testing.assert_array_equal(encoder.encode(images), expected)
    np.testing.assert_array_equal(encoder.encode(list(images)), expected)
    np.testing.assert_array_equal(encoder.encode(image for image in images), expected)
    np.testing.assert_array_equal(binarize(encoder.logits(images)), expected)


def test_an_iterable_is_read_at_most_one_batch_ahead_of_the_model(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_size, image = default_batch_size(encoder), photographs(1, HEIGHT, WIDTH)[0]
    run, n_read, read_before_run = encoder.run, 0, []

    def recorded(pixels: NDArray[np.uint8]) -> object:
        read_before_run.append(n_read)
        return run(pixels)

    def images() -> Iterator[NDArray[np.uint8]]:
        nonlocal n_read
        for n_read in range(1, 2 * batch_size + 4):  # noqa: B007 - read by `recorded`
            yield image

    monkeypatch.setattr(encoder, "run", recorded)
    assert len(encoder.encode(images())) == 2 * batch_size + 3
    assert read_before_run == [2 * batch_size, 2 * batch_size + 3, 2 * batch_size + 3]


def test_images_decoded_in_threads_give_the_codes_of_single_images(encoder: Encoder) -> None:
    images = list(photographs(default_batch_size(encoder) + 5, HEIGHT, WIDTH))
    codes = encoder.encode(iter(images))
    assert np.array_equal(codes, np.concatenate([encoder.encode(image) for image in images]))


def test_the_first_image_that_cannot_be_used_is_the_one_reported(encoder: Encoder) -> None:
    images = [*photographs(3, HEIGHT, WIDTH), "first.png", "second.png"]
    with pytest.raises(ImageError, match=r"first\.png"):
        encoder.encode(images)


def test_no_images_give_no_codes(encoder: Encoder) -> None:
    assert encoder.encode([]).shape == (0, 2)
    assert encoder.encode(np.empty((0, HEIGHT, WIDTH, 3), np.uint8)).shape == (0, 2)
    assert encoder.logits([]).shape == (0, N_BITS)


def test_the_error_names_a_bad_image(encoder: Encoder, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"not a picture")
    with pytest.raises(ImageError, match=r"bad\.jpg"):
        encoder.encode([photographs(1, 8, 8)[0], tmp_path / "bad.jpg"])


def test_grey_arrays_are_one_image(encoder: Encoder) -> None:
    assert encoder.encode(np.zeros((9, 9), np.uint8)).shape == (1, 2)


def test_properties_come_from_the_model(encoder: Encoder, tmp_path: Path) -> None:
    assert hashkit.Encoder is Encoder
    assert encoder.n_bits == N_BITS
    assert encoder.manifest.resize == "stretch-bilinear"
    assert encoder.provider == "CPUExecutionProvider"
    assert encoder.precision == "fp32"
    assert encoder.runtime.startswith("onnxruntime ")
    assert len(encoder.model_sha256) == 64


def test_a_model_that_packs_by_another_rule_is_refused(tmp_path: Path) -> None:
    path = linear_model(tmp_path / "m.onnx", bit_values=[1, 2, 4, 8, 16, 32, 64, 128])
    with pytest.raises(ModelError, match=r"m\.onnx: .*most significant bit first"):
        Encoder.load(path, device="cpu")


def test_the_error_for_an_unknown_runtime_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown runtime 'tvm'; known: onnxruntime"):
        Encoder.load(tmp_path / "m.onnx", runtime="tvm")
    assert "onnxruntime" in RUNTIMES


@pytest.mark.parametrize(
    ("provider", "size", "expected"),
    [
        ("CPUExecutionProvider", (32, 32), 8),
        ("CPUExecutionProvider", (224, 224), 5),
        ("CPUExecutionProvider", (4000, 4000), 1),
        ("CUDAExecutionProvider", (32, 32), 256),
        ("CUDAExecutionProvider", (1024, 1024), 16),
    ],
)
def test_batches_shrink_with_the_input(
    encoder: Encoder, provider: str, size: tuple[int, int], expected: int
) -> None:
    class Described:
        def __init__(self) -> None:
            self.manifest = Manifest(N_BITS, *size)
            self.provider = provider

    assert default_batch_size(Described()) == expected  # type: ignore[arg-type]


@looped("images", [3, 2.5, None, True, {}, {"a.png": 1}, range], ids=repr)
def test_images_must_be_an_image_or_a_list(tmp_path, images):
    encoder = Encoder.load(linear_model(tmp_path / "a.onnx"), device="cpu")
    for call in (encoder.encode, encoder.logits):
        with pytest.raises(ConfigError, match="`images` must be an image or several in a list"):
            call(images)


@looped("image", [3, None, [1, 2], {}, True], ids=repr)
def test_items_of_a_list_must_be_images(tmp_path, image):
    encoder = Encoder.load(linear_model(tmp_path / "a.onnx"), device="cpu")
    for images in ([image], [np.zeros((4, 5, 3), np.uint8)] * 3 + [image], iter([image])):
        with pytest.raises(ConfigError, match="an image must be a path, the bytes of a file"):
            encoder.encode(images)


def test_other_holders_of_bytes_are_refused_with_how_to_get_the_bytes(encoder, tmp_path):
    path = tmp_path / "image.png"
    Image.fromarray(photographs(1, 40, 30)[0]).save(path)
    data = path.read_bytes()
    with path.open("rb") as file:
        for source in (file, io.BytesIO(data)):
            for images in (source, [source]):
                with pytest.raises(ConfigError, match=r"as bytes.*give `image.read\(\)`"):
                    encoder.encode(images)
    for source in (bytearray(data), memoryview(data)):
        with pytest.raises(ConfigError, match=r"give `bytes\(image\)`"):
            encoder.encode(source)


def test_an_encoder_has_a_repr_and_is_not_constructed_from_a_name(encoder):
    assert repr(encoder) == "<Encoder: 12 bits, images 4x5, fp32, CPUExecutionProvider>"
    with pytest.raises(ConfigError, match=r"`Encoder.load\('lite0'\)`"):
        Encoder("lite0")
