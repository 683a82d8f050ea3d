"""The description read from an ONNX file agrees with the onnx package and ONNX Runtime."""

from __future__ import annotations

import contextlib
from pathlib import Path

import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from looped import looped
from onnx import TensorProto, helper
from small_models import linear_model

from hashkit.errors import ModelError
from hashkit.manifest import Manifest
from hashkit.runtimes.backends.onnxruntime_session import OnnxRuntimeSession
from hashkit.runtimes.onnx_file import GraphTensor, read_onnx_file

MANIFEST = Manifest(
    12, 8, 6, network="dnnh", class_names=("Käse", "猫"), seed=3, dataset="x" * 20_000
)


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "model.onnx"
    linear_model(path, height=8, width=6, metadata=MANIFEST.to_metadata())
    return path


def test_it_agrees_with_onnx_runtime(model):
    found = read_onnx_file(model)
    session = OnnxRuntimeSession(model, "cpu")
    assert found.manifest == session.manifest == MANIFEST
    assert found.precision == session.precision == "fp32"


def test_it_agrees_with_the_onnx_package(model):
    found, proto = read_onnx_file(model), onnx.load(model)
    assert found.opset == proto.opset_import[0].version
    assert found.producer == f"{proto.producer_name} {proto.producer_version}".strip()
    for tensors, values in (
        (found.inputs, proto.graph.input),
        (found.outputs, proto.graph.output),
    ):
        assert [tensor.name for tensor in tensors] == [value.name for value in values]
        for tensor, value in zip(tensors, values, strict=True):
            dims = value.type.tensor_type.shape.dim
            assert tensor.shape == tuple(
                dim.dim_value if dim.HasField("dim_value") else dim.dim_param or None
                for dim in dims
            )
    assert found.inputs == (GraphTensor("image", "tensor(uint8)", ("N", 8, 6, 3)),)
    assert [tensor.type for tensor in found.outputs] == ["tensor(uint8)", "tensor(float)"]


def test_a_model_from_elsewhere_is_described_by_its_graph(tmp_path):
    linear_model(tmp_path / "model.onnx", n_bits=20, height=5, width=7)
    found = read_onnx_file(tmp_path / "model.onnx")
    assert found.manifest == Manifest(20, 5, 7)


@looped("content", [b"", b"\0", b"hello world, this is no model", b"\x08\x0a"])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.onnx: expected an ONNX model, found other data"):
        read_onnx_file(path)


def test_a_missing_file_and_a_folder_are_reported(tmp_path):
    with pytest.raises(ModelError, match=r"none\.onnx: there is no such model"):
        read_onnx_file(tmp_path / "none.onnx")
    with pytest.raises(ModelError, match="cannot be read"):
        read_onnx_file(tmp_path)


@given(st.data())
@settings(
    deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_damaged_files_raise_only_model_errors(tmp_path, data):
    path = tmp_path / "whole.onnx"
    if not path.exists():
        linear_model(path, height=8, width=6, metadata=MANIFEST.to_metadata())
    content = bytearray(path.read_bytes())
    cut = data.draw(st.integers(0, len(content)))
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] = data.draw(st.integers(0, 255))
    damaged = Path(tmp_path / "damaged.onnx")
    damaged.write_bytes(content[:cut])
    with contextlib.suppress(ModelError):  # any other exception fails the test
        read_onnx_file(damaged)


def test_a_graph_that_breaks_the_contract_is_refused(tmp_path):
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, 8, 8])
    code = helper.make_tensor_value_info("code", TensorProto.UINT8, ["N", 2])
    graph = helper.make_graph([], "g", [image], [code])
    onnx.save(helper.make_model(graph), tmp_path / "model.onnx")
    with pytest.raises(ModelError, match=r"model\.onnx: the model must have an output logit"):
        read_onnx_file(tmp_path / "model.onnx")
