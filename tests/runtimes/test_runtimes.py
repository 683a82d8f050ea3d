from __future__ import annotations

import dataclasses
import hashlib
import logging
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
from looped import looped
from numpy.typing import NDArray
from onnx import TensorProto
from small_models import linear_model, linear_weights

from hashkit.codes import binarize
from hashkit.errors import ConfigError, DeviceError, ModelError
from hashkit.manifest import Manifest
from hashkit.runtimes import cuda
from hashkit.runtimes.backends.onnxruntime_session import OnnxRuntimeSession
from hashkit.runtimes.contract import check_contract
from hashkit.threads import available_cpus, check_threads, cpu_affinity

HEIGHT, WIDTH, N_BITS = 4, 5, 12


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return linear_model(tmp_path / "model.onnx", n_bits=N_BITS, height=HEIGHT, width=WIDTH)


def noise(n_images: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (n_images, HEIGHT, WIDTH, 3), np.uint8)


@pytest.mark.parametrize("n_images", [0, 1, 3, 64])
def test_the_session_computes_the_graph(path: Path, n_images: int) -> None:
    images = noise(n_images)
    n_pixels = HEIGHT * WIDTH * 3
    expected = (images.reshape(n_images, n_pixels) - 127.5) @ linear_weights(n_pixels, N_BITS)

    codes, logits = OnnxRuntimeSession(path, "cpu").run(images)

    np.testing.assert_array_equal(logits, expected)
    np.testing.assert_array_equal(codes, binarize(expected))
    assert (codes.dtype, logits.dtype) == (np.uint8, np.float32)
    assert codes.shape == (n_images, 2)


def test_models_from_elsewhere_need_no_metadata(path: Path) -> None:
    session = OnnxRuntimeSession(path, "cpu")
    assert session.manifest == Manifest(N_BITS, HEIGHT, WIDTH)
    assert session.model_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert session.name == f"onnxruntime {onnxruntime.__version__}"
    assert session.provider == "CPUExecutionProvider"
    assert session.precision == "fp32"


def test_metadata_is_read_and_checked_against_the_graph(tmp_path: Path) -> None:
    manifest = Manifest(N_BITS, HEIGHT, WIDTH, resize="stretch-bicubic", class_names=("a", "b"))
    metadata = manifest.to_metadata() | {"hashkit.precision": '"int8"', "author": "not JSON"}
    session = OnnxRuntimeSession(linear_model(tmp_path / "a.onnx", metadata=metadata), "cpu")
    assert session.manifest == manifest
    assert session.precision == "int8"

    wrong = linear_model(tmp_path / "b.onnx", metadata=metadata | {"hashkit.n_bits": "16"})
    with pytest.raises(ModelError, match=r"b\.onnx: .*n_bits = 16, but the graph has 12"):
        OnnxRuntimeSession(wrong, "cpu")
    wrong = linear_model(tmp_path / "c.onnx", metadata={"hashkit.precision": "8"})
    with pytest.raises(
        ModelError, match=r"c\.onnx: .*hashkit\.precision: expected a text, found 8"
    ):
        OnnxRuntimeSession(wrong, "cpu")


def _dim(graph: onnx.GraphProto, name: str, axis: int, value: int | str) -> None:
    tensor = next(t for t in [*graph.input, *graph.output] if t.name == name)
    dim = tensor.type.tensor_type.shape.dim[axis]
    dim.Clear()
    if isinstance(value, int):
        dim.dim_value = value
    else:
        dim.dim_param = value


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    for tensor in [*graph.input, *graph.output]:
        tensor.name = new if tensor.name == old else tensor.name
    for node in graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]


def _float_input(graph: onnx.GraphProto) -> None:
    graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT


def _int_code(graph: onnx.GraphProto) -> None:
    graph.node[-1].attribute[0].i = TensorProto.INT32
    graph.output[0].type.tensor_type.elem_type = TensorProto.INT32


def _no_code(graph: onnx.GraphProto) -> None:
    del graph.output[0]


def _fixed_batch_inside(graph: onnx.GraphProto) -> None:
    flat_shape = next(t for t in graph.initializer if t.name == "flat_shape")
    shape = np.array([1, HEIGHT * WIDTH * 3], np.int64)
    flat_shape.CopyFrom(onnx.numpy_helper.from_array(shape, "flat_shape"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda g: _rename(g, "image", "input.1"), r"one input named image, found input\.1"),
        (_no_code, r"must have an output code, uint8 \[N, ceil\(bits / 8\)\]; found logit"),
        (lambda g: _rename(g, "logit", "out"), "must have an output logit.*found code, out"),
        (_float_input, r"input image must be uint8 .* its type is tensor\(float\)"),
        (_int_code, r"output code must be uint8 .* its type is tensor\(int32\)"),
        (lambda g: _dim(g, "image", 0, 1), "input image has a fixed batch of 1"),
        (lambda g: _dim(g, "code", 0, 8), "output code has a fixed batch of 8"),
        (lambda g: _dim(g, "image", 1, "H"), r"its shape is \[N, H, 5, 3\]"),
        (lambda g: _dim(g, "image", 3, 4), r"its shape is \[N, 4, 5, 4\]"),
        (_fixed_batch_inside, "output code has a fixed batch of 1"),
    ],
)
def test_a_broken_contract_is_reported(path: Path, change: object, message: str) -> None:
    model = onnx.load(path)
    change(model.graph)  # type: ignore[operator]
    del model.graph.value_info[:]
    onnx.save_model(model, str(path))
    with pytest.raises(ModelError, match=message) as caught:
        OnnxRuntimeSession(path, "cpu")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_wrong_code_width_is_reported(path: Path) -> None:
    model = onnx.load(path)
    graph = model.graph
    # Three bytes, more than 12 bits need.
    for name, values in (("pads", [0, 0, 0, 12]), ("byte_shape", [-1, 3, 8])):
        tensor = next(t for t in graph.initializer if t.name == name)
        tensor.CopyFrom(onnx.numpy_helper.from_array(np.array(values, np.int64), name))
    _dim(graph, "code", 1, 3)
    onnx.save_model(model, str(path))
    with pytest.raises(ModelError, match="must have 2 bytes for 12 bits, found 3"):
        OnnxRuntimeSession(path, "cpu")


@dataclasses.dataclass
class Stated:
    name: str
    type: str
    shape: list[int | str | None]


def test_graphs_without_every_width_are_checked_too() -> None:
    image = Stated("image", "tensor(uint8)", [None, HEIGHT, WIDTH, 3])
    code = Stated("code", "tensor(uint8)", ["N", None])
    logit = Stated("logit", "tensor(float)", ["M", N_BITS])
    assert check_contract([image], [logit, code]) == (N_BITS, HEIGHT, WIDTH)
    logit.shape[1] = None
    with pytest.raises(ModelError, match=r"fixed number of bits, found \[M, \?\]"):
        check_contract([image], [logit, code])


class Answer:
    """A session of ONNX Runtime that returns or raises a given object."""

    def __init__(self, answer: object) -> None:
        self.answer = answer

    def run(self, *_: object) -> object:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        (RuntimeError("Failed to allocate memory\nmore"), DeviceError, "batch of 2 images"),
        (RuntimeError("bad index\nmore"), ModelError, r"failed to run \(bad index more\)"),
        (
            (np.zeros((2, 3), np.uint8), np.zeros((2, N_BITS), np.float32)),
            ModelError,
            r"must give code \[2, 2\] and logit \[2, 12\], not \[2, 3\] and \[2, 12\]",
        ),
        (
            (np.zeros((1, 2), np.uint8), np.zeros((1, N_BITS), np.float32)),
            ModelError,
            r"not \[1, 2\] and \[1, 12\]",
        ),
    ],
)
def test_failures_while_running_give_one_line_errors(
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: object,
    kind: type[Exception],
    message: str,
) -> None:
    session = OnnxRuntimeSession(path, "cpu")
    monkeypatch.setattr(session, "_session", Answer(answer))
    with pytest.raises(kind, match=message) as caught:
        session.run(noise(2))
    assert "\n" not in str(caught.value)


def test_files_that_are_not_models_give_one_line_errors(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no such model file"):
        OnnxRuntimeSession(tmp_path / "absent.onnx")
    with pytest.raises(ModelError, match="cannot be read"):
        OnnxRuntimeSession(tmp_path)
    for content in (b"", b"not a model", b"\x08\x09"):
        (tmp_path / "broken.onnx").write_bytes(content)
        with pytest.raises(
            ModelError, match=r"broken\.onnx: expected an ONNX model, found "
        ) as caught:
            OnnxRuntimeSession(tmp_path / "broken.onnx", "cpu")
        assert "\n" not in str(caught.value)


def test_images_of_another_shape_or_dtype_are_refused(path: Path) -> None:
    session = OnnxRuntimeSession(path, "cpu")
    with pytest.raises(ModelError, match=r"uint8 \[n, 4, 5, 3\], not float32 \[2, 4, 5, 3\]"):
        session.run(noise(2).astype(np.float32))  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=r"not uint8 \[2, 5, 4, 3\]"):
        session.run(noise(2).swapaxes(1, 2))


def test_images_need_not_be_contiguous(path: Path) -> None:
    session, images = OnnxRuntimeSession(path, "cpu"), noise(6)
    np.testing.assert_array_equal(session.run(images[::2])[0], session.run(images)[0][::2])


@pytest.mark.skipif(cuda.why_no_cuda() is None, reason="this machine has CUDA")
def test_a_missing_cuda_is_an_error(
    path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    reason = cuda.why_no_cuda()
    assert reason
    with pytest.raises(DeviceError, match="CUDA was asked for, but") as caught:
        OnnxRuntimeSession(path, "cuda")
    assert reason in str(caught.value)
    with caplog.at_level(logging.INFO, "hashkit"):
        assert OnnxRuntimeSession(path, "auto").provider == "CPUExecutionProvider"
    assert reason in caplog.text
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(cuda.why_no_cuda() is None, reason="this machine has CUDA")
def test_a_cpu_session_is_not_accepted_as_cuda(
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """If the CUDA libraries do not load, ONNX Runtime makes a CPU session without an error."""
    monkeypatch.setattr(cuda, "why_no_cuda", lambda: None)
    with pytest.raises(DeviceError, match="CUDA was asked for, but") as caught:
        OnnxRuntimeSession(path, "cuda")
    assert "\n" not in str(caught.value)
    assert OnnxRuntimeSession(path, "auto").provider == "CPUExecutionProvider"
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert capfd.readouterr() == ("", "")


def test_a_cpu_only_build_names_the_package_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    assert "install onnxruntime-gpu" in (cuda.why_no_cuda() or "")


@looped(
    ("cuda_of_torch", "is_loaded"),
    [("13.2", False), ("12.8", True), (None, True), ("no torch", True)],
)
def test_libraries_are_loaded_unless_torch_has_loaded_them(
    monkeypatch: pytest.MonkeyPatch, cuda_of_torch: str | None, is_loaded: bool
) -> None:
    calls: list[bool] = []
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: calls.append(True), raising=False)
    monkeypatch.setattr(cuda, "built_version", lambda: "13.0")
    version = SimpleNamespace(cuda=cuda_of_torch)
    torch = None if cuda_of_torch == "no torch" else SimpleNamespace(version=version)
    monkeypatch.setitem(sys.modules, "torch", torch)  # type: ignore[arg-type]
    cuda.load_libraries()
    assert bool(calls) == is_loaded


@pytest.mark.gpu
def test_cuda_gives_the_outputs_of_the_cpu(path: Path) -> None:
    reason = cuda.why_no_cuda()
    if reason:
        pytest.skip(reason)
    on_cpu, on_cuda = OnnxRuntimeSession(path, "cpu"), OnnxRuntimeSession(path, "cuda")
    assert on_cuda.provider == "CUDAExecutionProvider"
    assert OnnxRuntimeSession(path, "auto").provider == "CUDAExecutionProvider"
    for n_images in (1, 3, 64):
        codes, logits = on_cuda.run(noise(n_images))
        np.testing.assert_array_equal(codes, binarize(logits))
        np.testing.assert_allclose(logits, on_cpu.run(noise(n_images))[1], atol=1e-3)


@pytest.mark.end_to_end
@pytest.mark.gpu
def test_cuda_works_without_torch_in_the_process(path: Path) -> None:
    reason = cuda.why_no_cuda()
    if reason:
        pytest.skip(reason)
    script = (
        "import sys; sys.modules['torch'] = None\n"
        "from hashkit import Encoder\n"
        f"print(Encoder.load({str(path)!r}, device='cuda').provider)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "CUDAExecutionProvider", done.stderr


def test_settings_are_checked(path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown device 'gpu'; known: auto, cpu, cuda"):
        OnnxRuntimeSession(path, "gpu")
    with pytest.raises(ConfigError, match="`n_threads` must be at least 1, not 0"):
        OnnxRuntimeSession(path, "cpu", n_threads=0)
    assert OnnxRuntimeSession(path, "cpu", n_threads=3).n_threads == 3
    assert check_threads(2, "n_threads") == 2


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no CPU affinity here")
def test_threads_follow_the_affinity_mask(path: Path) -> None:
    allowed = os.sched_getaffinity(0)
    assert cpu_affinity() == len(allowed) >= available_cpus()
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert available_cpus() == 1
        assert OnnxRuntimeSession(path, "cpu").n_threads == 1
    finally:
        os.sched_setaffinity(0, allowed)


@pytest.mark.end_to_end
def test_runtimes_never_import_torch(path: Path) -> None:
    script = (
        "import sys\n"
        "import hashkit.runtimes.pipeline, hashkit.runtimes.encoder as e\n"
        f"e.Encoder.load({str(path)!r}, device='cpu')\n"
        "assert 'torch' not in sys.modules and 'onnx' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_documented_contract_matches_the_code() -> None:
    text = (Path(__file__).parents[2] / "docs" / "model-contract.md").read_text()
    rows = {line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| `hash")}
    documented = {row.strip("`").removeprefix("hashkit.") for row in rows}
    assert documented == set(Manifest(1, 1, 1).to_dict()) | {"precision"}
