"""Models that are made from a graph of hashkit's and weights of another package."""

from __future__ import annotations

import hashlib

import numpy as np
import onnx
import pytest

from hashkit.errors import ModelError
from hashkit.runtimes.builtin import BUILTIN_MODELS, model_path
from hashkit.runtimes.installed_weights import make_model, with_weights
from hashkit.runtimes.lite_folding import convolutions, folded
from hashkit.runtimes.lite_weights import find_variant, lite_weights
from hashkit.runtimes.protobuf import Message
from hashkit.runtimes.protobuf_writing import bytes_field, number_field

pytestmark = pytest.mark.end_to_end

LITE0 = "efficientnet-lite0"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HASHKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_weights_are_added_to_the_graph_and_nothing_else_changes():
    model = onnx.helper.make_model(
        onnx.helper.make_graph([], "empty", [], []), producer_name="test"
    )
    onnx.helper.set_model_props(model, {"hashkit.bits": "64"})
    made = onnx.load_model_from_string(with_weights(model.SerializeToString(), LITE0))
    variant = find_variant(LITE0)
    weights = lite_weights(variant, "lite")
    found = {one.name: onnx.numpy_helper.to_array(one) for one in made.graph.initializer}
    names = list(convolutions(weights))
    assert len(names) == sum("_conv" in name for name in weights) == 49
    assert list(found) == [f"{name}.{part}" for name in names for part in ("weight", "bias")]
    for name in names:
        for part, values in zip(("weight", "bias"), folded(variant, weights, name), strict=True):
            np.testing.assert_array_equal(found[f"{name}.{part}"], values, strict=True)
    del made.graph.initializer[:]
    assert made == model


def test_a_batch_normalisation_is_part_of_its_convolution():
    variant = find_variant(LITE0)
    weights = lite_weights(variant, "lite")
    weight, bias = folded(variant, weights, "_blocks.3._expand_conv")
    image = np.random.default_rng(0).normal(size=weight.shape[1])
    plain = weights["_blocks.3._expand_conv.weight"][:, :, 0, 0] @ image
    norm = {part: weights[f"_blocks.3._bn0.{part}"] for part in ("weight", "bias")}
    mean, variance = (weights[f"_blocks.3._bn0.running_{part}"] for part in ("mean", "var"))
    expected = (plain - mean) / np.sqrt(variance + 1e-3) * norm["weight"] + norm["bias"]
    np.testing.assert_allclose(weight[:, :, 0, 0] @ image + bias, expected, rtol=1e-4, atol=1e-5)


def test_a_file_that_is_there_stays_and_a_damaged_one_is_made_again(cache):
    path = model_path("lite0")
    assert path == cache / "models" / "lite0-v1.onnx"
    first = path.stat().st_mtime_ns
    assert model_path("lite0").stat().st_mtime_ns == first
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert hashlib.sha256(model_path("lite0").read_bytes()).hexdigest() == (
        BUILTIN_MODELS["lite0"].sha256
    )
    assert [one.name for one in path.parent.iterdir()] == ["lite0-v1.onnx"]


def test_a_cache_that_cannot_be_written_is_a_one_line_error(cache):
    cache.write_text("a file where the folder should be")
    with pytest.raises(ModelError, match=r"lite0-v1.onnx: cannot be written .*set HASHKIT_CACHE"):
        model_path("lite0")


def test_a_model_of_other_bytes_is_never_kept(tmp_path):
    graph, target = tmp_path / "a.graph", tmp_path / "a.onnx"
    graph.write_bytes(onnx.helper.make_model(onnx.GraphProto()).SerializeToString())
    with pytest.raises(ModelError, match=f"expected a model of SHA-256 {'0' * 16}"):
        make_model(graph, LITE0, target, "0" * 64)
    assert not target.exists()


def test_fields_are_read_as_they_were_written():
    numbers = [0, 1, 127, 128, 2**14, 2**40]
    data = b"".join(number_field(3, number) for number in numbers)
    data += bytes_field(21, b"x" * 300) + bytes_field(2, b"")
    message = Message(data, 0, len(data))
    assert list(message.numbers(3)) == numbers
    assert (message.content(21), message.has(2), message.content(2)) == (b"x" * 300, True, b"")
    start, end = message.message(21).span
    assert data[start:end] == b"x" * 300
