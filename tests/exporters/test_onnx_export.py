from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from small_models import TinyHash, photographs
from torch import Tensor, nn

from hashkit.codes import binarize
from hashkit.errors import ConfigError, ModelError, ParityError
from hashkit.exporters import onnx_export
from hashkit.exporters.onnx_export import export_onnx
from hashkit.manifest import Manifest
from hashkit.runtimes.backends.onnxruntime_session import OnnxRuntimeSession

pytestmark = pytest.mark.end_to_end

SIZE = (16, 16)


def manifest_of(n_bits: int, size: tuple[int, int] = SIZE) -> Manifest:
    return Manifest(
        n_bits,
        *size,
        resize="stretch-bicubic",
        network="tiny",
        class_names=("temple", "flower"),
        seed=3,
        versions={"torch": torch.__version__},
    )


MANIFEST = manifest_of(12)


@pytest.mark.parametrize(
    ("height", "width", "n_bits"), [(7, 9, 1), (33, 31, 12), (32, 32, 48), (10, 13, 130)]
)
def test_exported_model_gives_the_outputs_of_torch(
    tmp_path: Path, height: int, width: int, n_bits: int
) -> None:
    images = photographs(70, height, width)
    model = TinyHash(n_bits).centre(images)
    path = tmp_path / "model.onnx"

    report = export_onnx(model, manifest_of(n_bits, (height, width)), path, images=images)

    with torch.inference_mode():
        expected = model(torch.from_numpy(images)).numpy()
    session = OnnxRuntimeSession(path, "cpu")
    for batch_size in (1, 2, 5, 70):
        codes, logits = session.run(images[:batch_size])
        np.testing.assert_allclose(logits, expected[:batch_size], rtol=0, atol=1e-5)
        np.testing.assert_array_equal(codes, binarize(logits))
    assert 0.2 < (expected > 0).mean() < 0.8, "the test needs both zeros and ones"
    assert report.parity.passed
    assert report.parity.n_images == 70
    assert report.parity.largest_logit == pytest.approx(np.abs(expected).max())
    assert report.model_sha256 == session.model_sha256
    assert report.n_bytes == path.stat().st_size


def test_export_is_silent_and_reproducible_and_does_not_modify_the_model(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model, images = TinyHash(12).train(), photographs(3, *SIZE)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    steps: list[str] = []

    reports = [
        export_onnx(model, MANIFEST, tmp_path / name, images=images, progress=steps.append)
        for name in ("a.onnx", "b.onnx")
    ]

    assert reports[0].model_sha256 == reports[1].model_sha256
    assert model.training
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert len(steps) == 6
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", ""), "torch's exporter printed something"
    fields = json.loads(json.dumps(reports[0].to_dict()))
    assert fields["parity"]["passed"] is True
    assert fields["path"].endswith("a.onnx")
    assert "0 bits flipped" in reports[0].parity.summary()
    assert "\n" not in reports[0].parity.summary()


@pytest.fixture(scope="module")
def traced() -> onnx.ModelProto:
    return onnx_export._trace(onnx_export._Contract(TinyHash(12), 12), MANIFEST, onnx_export.OPSET)


@pytest.fixture
def graph(traced: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch) -> onnx.ModelProto:
    """The graph of ``TinyHash(12)``; exports use it, including a test's changes to it."""
    graph = onnx.ModelProto()
    graph.CopyFrom(traced)
    monkeypatch.setattr(onnx_export, "_trace", lambda *_: graph)
    return graph


def test_file_has_the_manifest_and_no_paths_of_the_machine(
    tmp_path: Path, graph: onnx.ModelProto
) -> None:
    assert b"small_models.py" in graph.SerializeToString(), "there is no path to remove"
    path = tmp_path / "deep" / "model.onnx"
    report = export_onnx(TinyHash(12), MANIFEST, path, images=photographs(3, *SIZE))

    model = onnx.load(path)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert Manifest.from_metadata(metadata, n_bits=12, height=16, width=16) == MANIFEST
    assert json.loads(metadata["hashkit.precision"]) == "fp32"
    assert [v.version for v in model.opset_import if v.domain == ""] == [report.opset]
    assert {node.op_type for node in model.graph.node}.isdisjoint({"BitShift", "Dropout"})
    content = path.read_bytes()
    assert b"small_models" not in content
    assert str(Path.cwd()).encode() not in content
    assert list(path.parent.iterdir()) == [path]


def _constant(graph: onnx.ModelProto, values: list[float]) -> onnx.TensorProto:
    found = [
        tensor
        for tensor in graph.graph.initializer
        if np.array_equal(onnx.numpy_helper.to_array(tensor).ravel(), values)
    ]
    assert len(found) == 1
    return found[0]


def _set(tensor: onnx.TensorProto, values: NDArray[np.float32]) -> None:
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))


def _reverse_bits(graph: onnx.ModelProto) -> None:
    tensor = _constant(graph, [128, 64, 32, 16, 8, 4, 2, 1])
    _set(tensor, onnx.numpy_helper.to_array(tensor)[::-1].copy())


def _shift_threshold(graph: onnx.ModelProto) -> None:
    threshold = next(node.input[1] for node in graph.graph.node if node.op_type == "Greater")
    tensor = next(t for t in graph.graph.initializer if t.name == threshold)
    _set(tensor, onnx.numpy_helper.to_array(tensor) + np.float32(0.5))


def _change_one_weight(graph: onnx.ModelProto, by: float = 0.01) -> None:
    tensor = max(graph.graph.initializer, key=lambda t: len(t.raw_data))
    values = onnx.numpy_helper.to_array(tensor).copy()
    values.flat[0] += by
    _set(tensor, values)


def _break_one_weight(graph: onnx.ModelProto) -> None:
    _change_one_weight(graph, by=np.nan)


@pytest.mark.parametrize(
    ("tamper", "complaint"),
    [
        (_reverse_bits, "code bytes that do not match"),
        (_shift_threshold, "code bytes that do not match"),
        (_change_one_weight, "largest logit difference"),
        (_break_one_weight, "NaN or infinite"),
    ],
)
@pytest.mark.parametrize("existing", [None, b"an older model"])
def test_a_file_with_wrong_outputs_is_not_written(
    tmp_path: Path,
    graph: onnx.ModelProto,
    tamper: Callable[[onnx.ModelProto], None],
    complaint: str,
    existing: bytes | None,
) -> None:
    path = tmp_path / "model.onnx"
    if existing:
        path.write_bytes(existing)
    tamper(graph)

    with pytest.raises(ParityError, match=complaint):
        export_onnx(TinyHash(12), MANIFEST, path, images=photographs(64, *SIZE))

    left = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert left == ({"model.onnx": existing} if existing else {})


def test_different_weights_in_torch_are_detected(tmp_path: Path, graph: onnx.ModelProto) -> None:
    with pytest.raises(ParityError, match="bits flipped"):
        export_onnx(
            TinyHash(12, seed=1), MANIFEST, tmp_path / "m.onnx", images=photographs(64, *SIZE)
        )
    assert list(tmp_path.iterdir()) == []


class Unexportable(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        flat = images.flatten(1).float()
        return flat[:, :12] if float(flat.sum()) > 0 else flat[:, 12:24]


def test_error_for_invalid_arguments_is_one_line(tmp_path: Path) -> None:
    path, images = tmp_path / "m.onnx", photographs(3, *SIZE)
    with pytest.raises(ModelError, match=r"has 16 bits.*not torch.float32 \[3, 12\]"):
        export_onnx(TinyHash(12), manifest_of(16), path, images=images)
    with pytest.raises(ConfigError, match=r"uint8 \[m, 16, 16, 3\].*\[3, 8, 8, 3\]"):
        export_onnx(TinyHash(12), MANIFEST, path, images=images[:, :8, :8])
    with pytest.raises(ConfigError, match="m > 0"):
        export_onnx(TinyHash(12), MANIFEST, path, images=images[:0])
    with pytest.raises(ModelError, match="cannot be expressed in ONNX") as caught:
        export_onnx(Unexportable(), MANIFEST, path, images=images)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_error_for_a_folder_that_cannot_be_created(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("not a folder")
    with pytest.raises(ModelError, match=r"cannot be written"):
        export_onnx(TinyHash(12), MANIFEST, blocker / "m.onnx", images=photographs(3, *SIZE))


def test_manifest_is_read_back_from_an_exported_network(tmp_path: Path) -> None:
    """End to end with the Caffe network and its mean image, at an odd size."""
    from hashkit.training.model import HashModel, input_statistics
    from hashkit.training.networks import build_network, find_network

    images = photographs(20, 19, 15)
    kind, argument = find_network("dnnh-caffe")
    mean, std = input_statistics(images, kind.input_rule(argument, False))
    assert mean.shape == (3, 19, 15)
    torch.manual_seed(0)
    network = build_network("dnnh-caffe", dropout=0.5, pretrained=False)
    model = HashModel(network, lengths=(12,), size=(19, 15), mean=mean, std=std, standardise=False)
    manifest = dataclasses.replace(manifest_of(12, (19, 15)), weights_sha256="ab" * 32)

    report = export_onnx(model, manifest, tmp_path / "m.onnx", images=images)

    assert report.parity.passed
    assert report.parity.largest_difference < 1e-2 * report.parity.largest_logit
    assert OnnxRuntimeSession(tmp_path / "m.onnx", "cpu").manifest == manifest


@pytest.mark.parametrize(
    ("size", "mirror", "name", "options"),
    [
        ((8, 8), False, "compact", {"activation": "gelu"}),
        ((9, 13), True, "compact-deep", {"activation": "celu", "patch": 3}),
        pytest.param((33, 28), True, "compact", {}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_the_compact_network_gives_the_same_outputs_in_onnx_and_torch(
    tmp_path: Path, size: tuple[int, int], mirror: bool, name: str, options: dict[str, Any]
) -> None:
    from hashkit.training.model import HashModel, input_statistics
    from hashkit.training.networks import InputRule, build_network

    images = photographs(40, *size)
    mean, std = input_statistics(images, InputRule())
    torch.manual_seed(0)
    network = build_network(name, dropout=0.5, pretrained=False, options=options)
    model = HashModel(
        network,
        lengths=(12, 5),
        size=size,
        mean=mean,
        std=std,
        standardise=True,
        mirror=mirror,
    )
    pixels = torch.from_numpy(images)
    model.calibrate(pixels)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = 1.0  # one forward pass sets the statistics
    with torch.no_grad():
        model(pixels)
    path = tmp_path / "m.onnx"

    report = export_onnx(model, manifest_of(17, size), path, images=images)

    assert report.parity.passed
    with torch.inference_mode():
        expected = model.eval()(pixels).numpy()
    session = OnnxRuntimeSession(path, "cpu")
    _, logits = session.run(images)
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4)
    _, of_mirrored = session.run(np.ascontiguousarray(images[:, :, ::-1]))
    assert np.allclose(of_mirrored, logits, rtol=0, atol=1e-4) == mirror
    assert 0.2 < (expected > 0).mean() < 0.8
