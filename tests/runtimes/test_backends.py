"""Runtimes by name: all give equal outputs, and a missing one is never replaced by another."""

from __future__ import annotations

import importlib.util
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from looped import looped
from numpy.typing import NDArray
from probe_model import SIZE, expected_logits, model_bytes
from small_models import linear_model, linear_weights, photographs

from hashkit.codes import binarize
from hashkit.errors import ConfigError, DeviceError, ModelError
from hashkit.manifest import Manifest
from hashkit.runtimes import cuda
from hashkit.runtimes.backends import onnxruntime_session, tensorrt_session
from hashkit.runtimes.backends.fixed_batch import FixedBatch
from hashkit.runtimes.backends.onnxruntime_session import OnnxRuntimeSession
from hashkit.runtimes.encoder import Encoder
from hashkit.runtimes.loaded import LoadedModel
from hashkit.runtimes.protocol import RUNTIMES, open_runtime
from hashkit.runtimes.settings import RuntimeSettings

HEIGHT, WIDTH, N_BITS = 4, 5, 12
HERE = ["onnxruntime", "openvino", "reference"]


@pytest.fixture(params=HERE)
def runtime(request: pytest.FixtureRequest) -> str:
    reason = RUNTIMES[request.param].why_absent()
    if reason:
        pytest.skip(reason)
    return str(request.param)


@pytest.fixture(scope="session")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("linear")
    metadata = Manifest(N_BITS, HEIGHT, WIDTH, network="linear").to_metadata()
    return linear_model(folder / "model.onnx", metadata=metadata)


@pytest.fixture(scope="session")
def convolutional(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model of `hashkit doctor`, with biases for which photographs have bits of both values."""
    out = tmp_path_factory.mktemp("convolutional") / "model.onnx"
    model = onnx.load_model_from_string(model_bytes())
    bias = -expected_logits(photographs(64, SIZE, SIZE)).mean(axis=0)
    model.graph.initializer.append(onnx.numpy_helper.from_array(bias.astype(np.float32), "bias"))
    next(node for node in model.graph.node if node.op_type == "Gemm").input.append("bias")
    onnx.save_model(model, str(out))
    return out


def settings(runtime: str, **changes: object) -> RuntimeSettings:
    return RuntimeSettings(runtime, "cpu", n_threads=1, **changes)  # type: ignore[arg-type]


def noise(n_images: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (n_images, HEIGHT, WIDTH, 3), np.uint8)


@pytest.mark.parametrize("n_images", [0, 1, 3, 64])
def test_a_linear_model_is_computed_exactly(runtime: str, path: Path, n_images: int) -> None:
    images = noise(n_images)
    n_pixels = HEIGHT * WIDTH * 3
    expected = (images.reshape(n_images, n_pixels) - 127.5) @ linear_weights(n_pixels, N_BITS)
    codes, logits = open_runtime(path, settings(runtime)).run(images)
    np.testing.assert_array_equal(logits, expected)
    np.testing.assert_array_equal(codes, binarize(expected))
    assert (codes.dtype, logits.dtype) == (np.uint8, np.float32)


def test_outputs_are_equal_at_every_batch_size(runtime: str, convolutional: Path) -> None:
    images = photographs(64, SIZE, SIZE)
    oracle = OnnxRuntimeSession(convolutional, "cpu", n_threads=1)
    opened = open_runtime(convolutional, settings(runtime))
    for n_images in (1, 3, 64):
        codes, logits = opened.run(images[:n_images])
        np.testing.assert_array_equal(codes, binarize(logits))
        np.testing.assert_allclose(logits, oracle.run(images[:n_images])[1], atol=1e-3)
    assert len(np.unique(codes, axis=0)) > 10, "equal codes would hide a wrong order"


def test_each_reports_itself_and_the_metadata_of_the_file(runtime: str, path: Path) -> None:
    opened = open_runtime(path, settings(runtime))
    assert isinstance(opened, LoadedModel)
    assert opened.manifest == Manifest(N_BITS, HEIGHT, WIDTH, network="linear")
    assert opened.precision == "fp32"
    assert opened.model_sha256 == OnnxRuntimeSession(path, "cpu").model_sha256
    assert opened.name.split()[0] in (runtime, "onnx-reference")
    assert opened.name.split()[1][0].isdigit()


def test_the_encoder_takes_any_runtime(runtime: str, path: Path) -> None:
    images = photographs(5, HEIGHT, WIDTH)
    expected = Encoder.load(path, "cpu").encode(images)
    encoder = Encoder.load(path, "cpu", runtime=runtime, n_threads=1)
    np.testing.assert_array_equal(encoder.encode(images), expected)
    assert len(np.unique(expected, axis=0)) > 1


def test_outputs_are_not_overwritten_by_later_runs(runtime: str, path: Path) -> None:
    opened = open_runtime(path, settings(runtime))
    codes, logits = opened.run(noise(3))
    before = codes.copy(), logits.copy()
    opened.run(255 - noise(3))
    np.testing.assert_array_equal(codes, before[0])
    np.testing.assert_array_equal(logits, before[1])


def test_threads_may_share_a_runtime(runtime: str, path: Path) -> None:
    opened, images = open_runtime(path, settings(runtime)), noise(40)
    expected = opened.run(images)[1]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda row: opened.run(images[row : row + 1])[1], range(40)))
    np.testing.assert_array_equal(np.concatenate(answers), expected)


def test_images_of_another_shape_or_dtype_are_refused(runtime: str, path: Path) -> None:
    opened = open_runtime(path, settings(runtime))
    with pytest.raises(ModelError, match=r"uint8 \[n, 4, 5, 3\], not float32 \[2, 4, 5, 3\]"):
        opened.run(noise(2).astype(np.float32))  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=r"not uint8 \[2, 5, 4, 3\]"):
        opened.run(noise(2).swapaxes(1, 2))


def test_broken_files_give_one_line_errors(runtime: str, path: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none\.onnx: there is no such model file"):
        open_runtime(tmp_path / "none.onnx", settings(runtime))
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a model")
    with pytest.raises(ModelError, match=r"broken\.onnx: expected an ONNX model, found ") as caught:
        open_runtime(broken, settings(runtime))
    assert "\n" not in str(caught.value)
    model = onnx.load(path)
    model.graph.output[0].name = model.graph.node[-1].output[0] = "codes"
    onnx.save_model(model, str(broken))
    with pytest.raises(ModelError, match=r"broken\.onnx: the model must have an output code"):
        open_runtime(broken, settings(runtime))
    fixed = onnx.load(path)
    fixed.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save_model(fixed, str(broken))
    with pytest.raises(ModelError, match="input image has a fixed batch of 1"):
        open_runtime(broken, settings(runtime))


def test_another_packing_is_refused(runtime: str, tmp_path: Path) -> None:
    path = linear_model(tmp_path / "m.onnx", bit_values=[1, 2, 4, 8, 16, 32, 64, 128])
    with pytest.raises(ModelError, match="most significant bit first"):
        Encoder.load(path, "cpu", runtime=runtime)


# Runtimes that are not available


def test_errors_for_unknown_names_list_the_known_ones(path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown runtime 'tvm'; known: onnxruntime, onnxrunt"):
        open_runtime(path, settings("tvm"))
    with pytest.raises(ConfigError, match="unknown profile 'quick'; known: exact, fast"):
        RuntimeSettings(profile="quick")
    with pytest.raises(ConfigError, match="`batch_size` must be at least 1, not 0"):
        RuntimeSettings(batch_size=0)


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [("openvino", "openvino", "openvino"), ("reference", "onnx", "train")],
)
def test_a_missing_package_is_reported_with_its_install_command(
    path: Path, monkeypatch: pytest.MonkeyPatch, name: str, package: str, extra: str
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == package else find_spec(name)
    )
    with pytest.raises(DeviceError) as caught:
        open_runtime(path, settings(name))
    assert str(caught.value) == (
        f"the runtime {name} is not available: {package} is not installed: "
        f"pip install '.[{extra}]' (in a clone of hashkit)"
    )


@pytest.mark.parametrize("name", ["openvino", "reference"])
def test_cuda_is_refused_where_there_is_only_a_cpu(path: Path, name: str) -> None:
    with pytest.raises(DeviceError, match=f"the runtime {name} runs on cpu, but cuda was asked"):
        open_runtime(path, RuntimeSettings(name, "cuda"))
    assert open_runtime(path, RuntimeSettings(name, "auto")).manifest.n_bits == N_BITS


def test_tensorrt_reports_what_is_missing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "onnxruntime-tensorrt"
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(DeviceError, match="no TensorRT provider: pip install onnxruntime-gpu"):
        open_runtime(path, RuntimeSettings(name))
    monkeypatch.undo()
    monkeypatch.setattr(cuda, "why_no_cuda", lambda: "there is no driver")
    if "TensorrtExecutionProvider" in onnxruntime.get_available_providers():
        assert cuda.why_no_tensorrt() == "there is no driver"
        monkeypatch.setattr(cuda, "why_no_cuda", lambda: None)
        monkeypatch.setattr(cuda, "_tensorrt_library", lambda: "no-such-library.so")
        monkeypatch.setattr(cuda, "built_version", lambda: "12.8")
        assert "pip install 'tensorrt-cu12<11'" in (cuda.why_no_tensorrt() or "")


class Claiming:
    """A session of ONNX Runtime on the CPU that claims other providers."""

    def __init__(self, session: object, providers: list[str]) -> None:
        self._session, self._providers = session, providers

    def get_providers(self) -> list[str]:
        return self._providers

    def __getattr__(self, name: str) -> object:
        return getattr(self._session, name)


@pytest.mark.parametrize("case", ["works", "cpu session", "no engine"])
def test_tensorrt_is_accepted_only_with_an_engine(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    monkeypatch.setenv("HASHKIT_CACHE", str(tmp_path))
    made = []

    def create(model: bytes, provider: str, options: dict[str, object], *_: object) -> object:
        made.append((provider, options))
        if case == "works":
            (Path(str(options["trt_engine_cache_path"])) / "a.engine").write_bytes(b"")
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        return Claiming(session, ["CPUExecutionProvider" if case == "cpu session" else provider])

    def on_cpu(session: object, manifest: Manifest, batch_size: int, device: str) -> FixedBatch:
        assert device == "cuda"
        return FixedBatch(session, manifest, batch_size, "cpu")

    monkeypatch.setattr(tensorrt_session, "create_session", create)
    monkeypatch.setattr(tensorrt_session, "FixedBatch", on_cpu)
    wanted = RuntimeSettings("onnxruntime-tensorrt", batch_size=2)
    if case == "works":
        opened = tensorrt_session.TensorRtSession(path, wanted)
        expected = OnnxRuntimeSession(path, "cpu").run(noise(5))
        np.testing.assert_array_equal(opened.run(noise(5))[1], expected[1])
        assert (opened.provider, opened.precision) == ("TensorrtExecutionProvider", "tf32")
        assert made[0][0] == "TensorrtExecutionProvider"
        assert made[0][1]["trt_engine_cache_enable"] is True
        assert tmp_path in Path(str(made[0][1]["trt_engine_cache_path"])).parents
    else:
        why = "could not load its TensorRT provider" if case == "cpu session" else "took no part"
        with pytest.raises(DeviceError, match=f"TensorRT was asked for, but .*{why}") as caught:
            tensorrt_session.TensorRtSession(path, wanted)
        assert "\n" not in str(caught.value)


def test_tensorrt_does_not_run_on_the_cpu(path: Path) -> None:
    with pytest.raises(DeviceError, match="tensorrt runs on cuda, but cpu was asked for"):
        open_runtime(path, RuntimeSettings("onnxruntime-tensorrt", "cpu"))


# Profiles of CUDA


class Counting:
    """A session that records the batches it gets."""

    def __init__(self, session: object) -> None:
        self.session, self.n_runs = session, 0

    def io_binding(self) -> object:
        return self.session.io_binding()  # type: ignore[attr-defined]

    def run_with_iobinding(self, binding: object) -> None:
        self.n_runs += 1
        self.session.run_with_iobinding(binding)  # type: ignore[attr-defined]


@looped(("n_images", "n_runs"), [(1, 1), (7, 1), (8, 2), (20, 3)])
def test_batches_of_one_size_do_not_change_outputs(path: Path, n_images: int, n_runs: int) -> None:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    counted, images = Counting(session), noise(n_images)
    batches = FixedBatch(counted, Manifest(N_BITS, HEIGHT, WIDTH), 7, "cpu")
    batches.run(255 - noise(7))  # must not be visible in later outputs
    codes, logits = batches.run(images)
    expected = session.run(["code", "logit"], {"image": images})
    np.testing.assert_array_equal(codes, expected[0])
    np.testing.assert_array_equal(logits, expected[1])
    assert counted.n_runs == 1 + n_runs


def test_the_profile_sets_the_options_of_cuda() -> None:
    exact, fast = (onnxruntime_session.cuda_options(name) for name in ("exact", "fast"))
    assert (exact["use_tf32"], fast["use_tf32"]) == (0, 1)
    assert exact["cudnn_conv_algo_search"] == "HEURISTIC"
    assert fast["cudnn_conv_algo_search"] == "EXHAUSTIVE"


@looped("profile", ["exact", "fast"])
@looped("stated", ["fp32", "int8"])
def test_cuda_reports_its_precision_and_fixes_its_batch_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, profile: str, stated: str
) -> None:
    path = linear_model(tmp_path / "m.onnx", metadata={"hashkit.precision": f'"{stated}"'})
    made, sizes = [], []

    def create(model: bytes, provider: str, options: dict[str, object], *_: object) -> object:
        made.append((provider, options))
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        return Claiming(session, [provider, "CPUExecutionProvider"])

    def on_cpu(session: object, manifest: Manifest, batch_size: int, device: str) -> FixedBatch:
        sizes.append((batch_size, device))
        return FixedBatch(session, manifest, batch_size, "cpu")

    monkeypatch.setattr(cuda, "why_no_cuda", lambda: None)
    monkeypatch.setattr(onnxruntime_session, "create_session", create)
    monkeypatch.setattr(onnxruntime_session, "FixedBatch", on_cpu)
    opened = OnnxRuntimeSession(path, "cuda", profile=profile, batch_size=9)
    assert opened.provider == "CUDAExecutionProvider"
    assert made == [("CUDAExecutionProvider", onnxruntime_session.cuda_options(profile))]
    assert sizes == ([(9, "cuda")] if profile == "exact" else [])
    assert opened.precision == ("tf32" if (profile, stated) == ("fast", "fp32") else stated)
    expected = OnnxRuntimeSession(path, "cpu").run(noise(20))
    np.testing.assert_array_equal(opened.run(noise(20))[0], expected[0])


def test_on_the_cpu_the_profile_changes_nothing(path: Path) -> None:
    fast, exact = (OnnxRuntimeSession(path, "cpu", profile=name) for name in ("fast", "exact"))
    assert fast.precision == exact.precision == "fp32"
    np.testing.assert_array_equal(fast.run(noise(9))[1], exact.run(noise(9))[1])


def test_buffers_that_do_not_fit_give_a_one_line_error(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def create(model: bytes, provider: str, *_: object) -> object:
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        return Claiming(session, [provider])

    def refuse(*_: object) -> FixedBatch:
        raise RuntimeError("CUDA out of memory\nmore")

    monkeypatch.setattr(cuda, "why_no_cuda", lambda: None)
    monkeypatch.setattr(onnxruntime_session, "create_session", create)
    monkeypatch.setattr(onnxruntime_session, "FixedBatch", refuse)
    with pytest.raises(DeviceError, match="buffers of 256 images; use a smaller") as caught:
        OnnxRuntimeSession(path, "cuda")
    assert "\n" not in str(caught.value)
    monkeypatch.undo()
    with caplog.at_level(logging.WARNING, "hashkit"):
        assert OnnxRuntimeSession(path, "cpu").provider == "CPUExecutionProvider"


@pytest.mark.gpu
def test_exact_bits_depend_only_on_the_image(convolutional: Path) -> None:
    reason = cuda.why_no_cuda()
    if reason:
        pytest.skip(reason)
    images = photographs(100, SIZE, SIZE)
    first, again = (OnnxRuntimeSession(convolutional, "cuda", batch_size=size) for size in (64, 64))
    together = first.run(images)[1]
    alone = np.concatenate([again.run(images[row : row + 1])[1] for row in range(100)])
    np.testing.assert_array_equal(alone, together)
    assert first.precision == "fp32"


@pytest.mark.gpu
def test_fast_is_close_and_reports_tf32(convolutional: Path) -> None:
    reason = cuda.why_no_cuda()
    if reason:
        pytest.skip(reason)
    images = photographs(64, SIZE, SIZE)
    fast = OnnxRuntimeSession(convolutional, "cuda", profile="fast")
    exact = OnnxRuntimeSession(convolutional, "cuda")
    assert fast.precision == "tf32"
    np.testing.assert_allclose(fast.run(images)[1], exact.run(images)[1], atol=4)


@pytest.mark.gpu
def test_tensorrt_gives_the_outputs_of_the_cpu(
    convolutional: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = RUNTIMES["onnxruntime-tensorrt"].why_absent()
    if reason:
        pytest.skip(reason)
    monkeypatch.setenv("HASHKIT_CACHE", str(tmp_path))
    images = photographs(64, SIZE, SIZE)
    opened = open_runtime(convolutional, RuntimeSettings("onnxruntime-tensorrt"))
    codes, logits = opened.run(images)
    np.testing.assert_array_equal(codes, binarize(logits))
    np.testing.assert_allclose(
        logits, OnnxRuntimeSession(convolutional, "cpu").run(images)[1], atol=4
    )


def test_the_table_describes_each_runtime() -> None:
    assert list(RUNTIMES) == ["onnxruntime", "onnxruntime-tensorrt", "openvino", "reference"]
    for kind in RUNTIMES.values():
        assert kind.summary.endswith(".")
    assert [name for name, kind in RUNTIMES.items() if kind.is_slow] == ["reference"]
