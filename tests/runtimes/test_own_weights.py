"""A model whose weights lie in another file is refused, wherever in the graph they are named."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from linear_models import linear_model
from looped import looped
from onnx import AttributeProto, GraphProto, ModelProto, TensorProto, helper, numpy_helper

from hashkit.errors import ModelError
from hashkit.runtimes.encoder import Encoder
from hashkit.runtimes.onnx_file import read_onnx_file
from hashkit.runtimes.protocol import RUNTIMES, open_runtime
from hashkit.runtimes.settings import RuntimeSettings

AVAILABLE = [
    name for name, kind in RUNTIMES.items() if "cpu" in kind.devices and kind.why_absent() is None
]


def external(name: str = "w") -> TensorProto:
    """A tensor whose values are in another file."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[2])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    return tensor


def graph_with(tensor: TensorProto) -> GraphProto:
    return GraphProto(name="inner", initializer=[tensor])


def sparse_with(tensor: TensorProto) -> onnx.SparseTensorProto:
    return onnx.SparseTensorProto(values=tensor, indices=numpy_helper.from_array(np.arange(2)))


def with_attribute(model: ModelProto, attribute: AttributeProto) -> None:
    model.graph.node[0].attribute.append(attribute)


def in_function(model: ModelProto) -> None:
    node = helper.make_node("Constant", [], ["c"], value=external())
    model.functions.append(onnx.FunctionProto(name="f", domain="own", node=[node]))


def in_default_of_function(model: ModelProto) -> None:
    default = helper.make_attribute("value", external())
    model.functions.append(onnx.FunctionProto(name="f", domain="own", attribute_proto=[default]))


def in_deeply_nested_graph(model: ModelProto) -> None:
    inner = graph_with(external())
    for _ in range(20):
        node = onnx.NodeProto(op_type="If", attribute=[helper.make_attribute("then_branch", inner)])
        inner = GraphProto(name="outer", node=[node])
    with_attribute(model, helper.make_attribute("body", inner))


PLACES: dict[str, Callable[[ModelProto], None]] = {
    "initializer": lambda model: model.graph.initializer.append(external()),
    "sparse initializer": lambda model: model.graph.sparse_initializer.append(
        sparse_with(external())
    ),
    "attribute": lambda model: with_attribute(model, helper.make_attribute("value", external())),
    "list of tensors": lambda model: with_attribute(
        model, AttributeProto(name="v", type=AttributeProto.TENSORS, tensors=[external()])
    ),
    "sparse attribute": lambda model: with_attribute(
        model, helper.make_attribute("v", sparse_with(external()))
    ),
    "list of sparse tensors": lambda model: with_attribute(
        model,
        AttributeProto(
            name="v",
            type=AttributeProto.SPARSE_TENSORS,
            sparse_tensors=[sparse_with(external())],
        ),
    ),
    "subgraph": lambda model: with_attribute(
        model, helper.make_attribute("body", graph_with(external()))
    ),
    "list of graphs": lambda model: with_attribute(
        model,
        AttributeProto(name="v", type=AttributeProto.GRAPHS, graphs=[graph_with(external())]),
    ),
    "deeply nested": in_deeply_nested_graph,
    "function": in_function,
    "function's default": in_default_of_function,
    "training": lambda model: model.training_info.append(
        onnx.TrainingInfoProto(initialization=graph_with(external()))
    ),
}


@looped("place", PLACES)
def test_external_data_is_found_everywhere(place: str, tmp_path: Path) -> None:
    model = onnx.load(linear_model(tmp_path / "m.onnx"))
    read_onnx_file(tmp_path / "m.onnx")
    PLACES[place](model)
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(ModelError, match=r"external data \(w in weights\.bin\)"):
        read_onnx_file(tmp_path / "m.onnx")


def field(number: int, content: bytes) -> bytes:
    assert len(content) < 128
    return bytes([number << 3 | 2, len(content)]) + content


@pytest.mark.parametrize("twice", [b"\x70\x00\x70\x01", b"\x70\x81\x80\x80\x80\x10"])
def test_an_unusual_spelling_of_external_data_is_found(twice: bytes, tmp_path: Path) -> None:
    """Libraries merge repeated fields, take the last value, and 32 bits of an enumeration."""
    tensor = external().SerializeToString() + twice
    data = linear_model(tmp_path / "m.onnx").read_bytes() + field(7, field(5, tensor))
    merged = onnx.load_model_from_string(data).graph.initializer[-1]
    assert merged.data_location == TensorProto.EXTERNAL
    (tmp_path / "m.onnx").write_bytes(data)
    with pytest.raises(ModelError, match="external data"):
        read_onnx_file(tmp_path / "m.onnx")


def test_a_compiled_network_is_refused(tmp_path: Path) -> None:
    model = onnx.load(linear_model(tmp_path / "m.onnx"))
    model.graph.node.append(helper.make_node("EPContext", [], ["x"], domain="com.microsoft"))
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(ModelError, match="found a node EPContext"):
        read_onnx_file(tmp_path / "m.onnx")


@pytest.mark.parametrize("is_in_function", [False, True])
def test_a_network_that_draws_numbers_is_refused(tmp_path: Path, is_in_function: bool) -> None:
    model = onnx.load(linear_model(tmp_path / "m.onnx"))
    node = helper.make_node("RandomNormalLike", ["image"], ["noise"])
    if is_in_function:
        opsets = [helper.make_opsetid("", 17)]
        function = helper.make_function("own", "noisy", ["image"], ["noise"], [node], opsets)
        model.functions.append(function)
    else:
        model.graph.node.append(node)
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(ModelError, match="the operator RandomNormalLike, which draws random"):
        read_onnx_file(tmp_path / "m.onnx")


def split(folder: Path) -> Path:
    """A model that works, with its weights in a second file."""
    path = linear_model(folder / "m.onnx")
    onnx.save(
        onnx.load(path),
        path,
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    assert (folder / "weights.bin").exists()
    return path


@pytest.mark.parametrize("runtime", AVAILABLE)
def test_every_runtime_refuses_it_from_every_folder(
    runtime: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = split(tmp_path)
    (tmp_path / "other").mkdir()
    link = tmp_path / "other" / "link.onnx"
    link.symlink_to(path)
    for folder, given in itertools.product(
        (tmp_path, tmp_path / "other"), (path, link, "relative")
    ):
        monkeypatch.chdir(folder)
        opened = Path(os.path.relpath(path, folder)) if given == "relative" else Path(given)
        with pytest.raises(ModelError, match="external data") as caught:
            open_runtime(opened, RuntimeSettings(runtime, "cpu"))
        assert "\n" not in str(caught.value)


def test_the_remedy_of_the_message_works(tmp_path: Path) -> None:
    path = split(tmp_path)
    with pytest.raises(ModelError, match="in Python: ") as caught:
        Encoder.load(path, "cpu")
    exec(str(caught.value).partition("in Python: ")[2], {})  # noqa: S102 - our own text
    pixels = np.random.default_rng(0).integers(0, 256, (5, 4, 5, 3), np.uint8)
    whole = Encoder.load(tmp_path / "m-whole.onnx", "cpu").encode(pixels)
    plain = Encoder.load(linear_model(tmp_path / "plain.onnx"), "cpu").encode(pixels)
    np.testing.assert_array_equal(whole, plain)
