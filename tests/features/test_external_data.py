"""Weights beside a foreign ONNX file are taken in, but only from its own folder."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import tracemalloc

import numpy as np
import onnx
import onnx.reference
import pytest
from foreign_graphs import FILTERS, patches, pooled_network, saved

from hashkit.errors import ModelError
from hashkit.features.foreign.foreign_onnx import read_foreign
from hashkit.features.foreign.onnx_embedder import wrap_onnx
from hashkit.features.foreign.trial import pictures
from hashkit.inputs.limits import limits, set_limits
from hashkit.runs.embedder_settings import EmbedderSettings

DATA = FILTERS.tobytes()


@pytest.fixture(autouse=True)
def _restored():
    before = dataclasses.asdict(limits())
    yield
    set_limits(**before)


def split(folder, location="weights.bin", *, n_tensors=1, data=DATA, **entries):
    """A model whose weights are in another file of a folder."""
    model = pooled_network()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    given = {"location": location, "offset": "0", "length": str(len(DATA))} | entries
    for key, value in given.items():
        if value is not None:
            tensor.external_data.add(key=key, value=value)
    for number in range(1, n_tensors):
        copy = model.graph.initializer.add()
        copy.CopyFrom(tensor)
        copy.name = f"copy{number}"
    if data is not None:
        (folder / "weights.bin").write_bytes(data)
    return saved(model, folder)


def refused(path):
    with pytest.raises(ModelError) as caught:
        read_foreign(path)
    text = str(caught.value)
    assert text.startswith(str(path))
    return text


def test_weights_are_taken_in(tmp_path):
    path = split(tmp_path)
    embedder = wrap_onnx(path, EmbedderSettings(preprocessing="imagenet"), None)
    whole = wrap_onnx(
        saved(pooled_network(), tmp_path, "whole.onnx"),
        EmbedderSettings(preprocessing="imagenet"),
        None,
    )
    assert embedder.graph == whole.graph
    assert embedder.facts["external_data"] == {"weights.bin": hashlib.sha256(DATA).hexdigest()}
    assert whole.facts["external_data"] == {}


def test_weights_that_onnx_wrote_beside_a_model(tmp_path):
    onnx.save_model(
        pooled_network(),
        str(tmp_path / "split.onnx"),
        save_as_external_data=True,
        location="split.onnx.data",
        size_threshold=0,
    )
    embedder = wrap_onnx(tmp_path / "split.onnx", EmbedderSettings(preprocessing="imagenet"), None)
    assert list(embedder.facts["external_data"]) == ["split.onnx.data"]
    images = pictures((16, 16))
    graph = onnx.load_model_from_string(embedder.graph)
    (found,) = onnx.reference.ReferenceEvaluator(graph).run(None, {"image": images})
    np.testing.assert_allclose(found, patches(images).mean((2, 3)), rtol=1e-4, atol=1e-4)


def test_an_offset_and_a_folder_below(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "all.bin").write_bytes(b"12345678" + DATA + b"more")
    path = split(tmp_path, "./data/all.bin", offset="8", length=None)
    (tensor,) = read_foreign(path).model.graph.initializer
    assert (tensor.raw_data, len(tensor.external_data)) == (DATA, 0)
    assert tensor.data_location == onnx.TensorProto.DEFAULT


def test_weights_of_attributes_and_nested_graphs(tmp_path):
    model = pooled_network()
    tensor = onnx.TensorProto(name="inner", data_type=1, dims=[2], data_location=1)
    tensor.external_data.add(key="location", value="weights.bin")
    constant = onnx.helper.make_node("Constant", [], ["inner"])
    constant.attribute.add(name="value", type=onnx.AttributeProto.TENSOR).t.CopyFrom(tensor)
    nested = onnx.helper.make_graph(
        [constant], "branch", [], [onnx.helper.make_tensor_value_info("inner", 1, [2])]
    )
    for branch in (nested, nested):
        model.graph.node.append(
            onnx.helper.make_node(
                "If",
                ["is_set"],
                [f"out{len(model.graph.node)}"],
                then_branch=branch,
                else_branch=branch,
            )
        )
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(True), "is_set"))
    (tmp_path / "weights.bin").write_bytes(DATA)
    found = read_foreign(saved(model, tmp_path)).model
    for number in (-1, -2):
        for attribute in found.graph.node[number].attribute:
            assert attribute.g.node[0].attribute[0].t.raw_data == DATA[:8]


@pytest.mark.parametrize(
    "location",
    [
        "../outside.bin",
        "a/../../outside.bin",
        "/etc/passwd",
        "..",
        "",
        " ",
        "C:weights.bin",
        "C:\\weights.bin",
        "..\\outside.bin",
        "\\\\server\\share\\weights.bin",
        "weights\0.bin",
    ],
)
def test_other_places_are_refused(tmp_path, location):
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "outside.bin").write_bytes(DATA)
    text = refused(split(folder, location))
    assert "expected weights in a file of the model's own folder" in text


@pytest.mark.parametrize("kind", ["file", "folder", "same folder"])
def test_links_are_refused(tmp_path, kind):
    folder, outside = tmp_path / "model", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    (outside / "secret.bin").write_bytes(DATA)
    location = "link.bin"
    if kind == "file":
        (folder / location).symlink_to(outside / "secret.bin")
    elif kind == "folder":
        (folder / "below").symlink_to(outside, target_is_directory=True)
        location = "below/secret.bin"
    else:
        (folder / location).symlink_to("weights.bin")
    assert "found a link at" in refused(split(folder, location))


def test_the_model_may_be_reached_through_a_linked_folder(tmp_path):
    (tmp_path / "real").mkdir()
    split(tmp_path / "real")
    (tmp_path / "linked").symlink_to(tmp_path / "real", target_is_directory=True)
    assert read_foreign(tmp_path / "linked" / "foreign.onnx").external


def test_pipes_and_folders_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    assert "found a pipe" in refused(split(tmp_path, "pipe"))
    assert "found a folder" in refused(split(tmp_path, "folder"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data": None}, "expected its weights in weights.bin beside it, found no such file"),
        ({"data": DATA[:-1]}, f"expected at least {len(DATA):,} bytes, found {len(DATA) - 1:,}"),
        ({"offset": "1"}, f"expected at least {len(DATA) + 1:,} bytes"),
        ({"offset": str(2**62)}, "the file is cut off"),
        ({"data": b"version https://git-lfs.github.com/spec/v1\n"}, "git lfs pull"),
        ({"length": "8"}, "found a length of 8"),
        ({"length": str(2**40)}, "found a length of 1,099,511,627,776"),
        ({"offset": "-8"}, "expected an offset and a length"),
        ({"offset": "eight"}, "expected an offset and a length"),
        ({"length": "9" * 5000}, "expected an offset and a length"),
        ({"location": None}, "expected the name of a file"),
    ],
)
def test_data_that_does_not_fit(tmp_path, changes, words):
    assert words in refused(split(tmp_path, **changes))


def test_a_shape_or_type_without_a_size(tmp_path):
    path = split(tmp_path)
    model = onnx.load(str(path), load_external_data=False)
    model.graph.initializer[0].dims[0] = -5
    assert "expected a shape" in refused(saved(model, tmp_path))
    model.graph.initializer[0].dims[0] = 5
    model.graph.initializer[0].data_type = onnx.TensorProto.STRING
    assert "found the type string" in refused(saved(model, tmp_path))
    model.graph.initializer[0].data_type = 99
    assert "found the type undefined" in refused(saved(model, tmp_path))


def test_many_tensors_of_one_file_count_each(tmp_path):
    """A file of some kilobytes may name the same bytes a million times."""
    path = split(tmp_path, n_tensors=1000)
    set_limits(model_bytes=len(DATA) * 999)
    tracemalloc.start()
    text = refused(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert f"the external data has {len(DATA) * 1000:,} bytes" in text
    assert f"`hashkit.set_limits(model_bytes={len(DATA) * 1000})`" in text
    assert peak < 2**20


def test_a_sparse_file_of_any_size(tmp_path):
    path = split(tmp_path)
    model = onnx.load(str(path), load_external_data=False)
    tensor = model.graph.initializer[0]
    tensor.dims[:] = [2**20, 3, 32, 32]
    tensor.external_data[2].value = str(4 * 3 * 2**30)
    with (tmp_path / "weights.bin").open("wb") as file:
        file.truncate(4 * 3 * 2**30)
    assert "more than the 2,147,483,648 allowed" in refused(saved(model, tmp_path))


def test_a_file_that_is_larger_than_its_tensors(tmp_path):
    path = split(tmp_path)
    with (tmp_path / "weights.bin").open("r+b") as file:
        file.truncate(2**33)
    text = refused(path)
    assert "its weights in weights.bin cannot be read" in text
    assert "model_bytes" in text
