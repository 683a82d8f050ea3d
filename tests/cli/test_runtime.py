"""`--runtime` and `--profile` reach the model, wherever a command runs one."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from cli_samples import fail, hashkit, succeed, write_class_folders
from small_models import linear_model

from hashkit.bank.reader import Bank
from hashkit.runtimes import encoder, protocol
from hashkit.runtimes.settings import RuntimeSettings


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runtimes")
    write_class_folders(folder / "photos", per_class=2, suffix=".png")
    linear_model(folder / "model.onnx", height=8, width=8)
    return folder


def encode(place: Path, out: Path, flags: str) -> str:
    return f"encode {place}/photos --model {place}/model.onnx --out {out} --device cpu {flags}"


def test_a_bank_says_which_runtime_made_it(place: Path, tmp_path: Path) -> None:
    banks = {}
    for name in ("onnxruntime", "reference"):
        shown = succeed(encode(place, tmp_path / f"{name}.h5", f"--runtime {name}")).stderr
        banks[name] = Bank.open(tmp_path / f"{name}.h5")
        assert ("reference is slow" in shown) == (name == "reference")
    assert banks["onnxruntime"].header.runtime.startswith("onnxruntime ")
    assert banks["reference"].header.runtime.startswith("onnx-reference ")
    assert banks["reference"].header.provider == "ReferenceEvaluator"
    np.testing.assert_array_equal(banks["onnxruntime"].codes, banks["reference"].codes)

    line = f"search --query {place}/photos/two/0002.png --bank {tmp_path}/reference.h5"
    found = succeed(f"{line} --model {place}/model.onnx --runtime reference --json")
    assert found.json["queries"][0]["hits"][0]["name"] == "two/0002.png"
    assert "onnx-reference" in found.stderr


def test_openvino_is_refused_or_used_but_never_replaced(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if protocol.RUNTIMES["openvino"].why_absent() is None:
        report = succeed(encode(place, tmp_path / "a.h5", "--runtime openvino --json")).json
        assert report["banks"][0]["runtime"].startswith("openvino ")
        assert report["banks"][0]["provider"] == "CPU"
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "openvino" else find_spec(name)
    )
    line = fail(encode(place, tmp_path / "b.h5", "--runtime openvino"))
    assert line.endswith("pip install '.[openvino]' (in a clone of hashkit)")
    assert not (tmp_path / "b.h5").exists()


def test_wrong_names_list_the_known(place: Path, tmp_path: Path) -> None:
    line = fail(encode(place, tmp_path / "a.h5", "--runtime tvm"))
    assert line.endswith("known: onnxruntime, onnxruntime-tensorrt, openvino, reference")
    line = fail(encode(place, tmp_path / "a.h5", "--profile quick"))
    assert line == "error: unknown profile 'quick'; known: exact, fast"


@pytest.mark.parametrize("command", ["encode", "search"])
def test_every_setting_reaches_the_runtime(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    seen = []
    open_runtime = protocol.open_runtime

    def noted(path: Path, settings: RuntimeSettings) -> protocol.Runtime:
        seen.append(settings)
        return open_runtime(path, settings)

    monkeypatch.setattr(encoder, "open_runtime", noted)
    flags = "--runtime onnxruntime --profile fast --device cpu"
    succeed(encode(place, tmp_path / "a.h5", "--profile fast --batch-size 5"))
    if command == "search":
        seen.clear()
        line = f"search --query {place}/photos/two/0002.png --bank {tmp_path}/a.h5"
        succeed(f"{line} --model {place}/model.onnx {flags}")
    batch_size = 5 if command == "encode" else None
    assert seen == [RuntimeSettings("onnxruntime", "cpu", None, "fast", batch_size)]


def test_evaluate_takes_them_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = hashkit("evaluate --profile quick")
    assert outcome.exit_code == 1
    assert "unknown profile 'quick'" in outcome.stderr
