"""The contenders of `hashkit bench`: which models in which runtimes, and the reference first."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from bench_samples import (
    model_of,
    models,
)
from linear_models import linear_model
from looped import looped

from hashkit.errors import ConfigError
from hashkit.exporters import torch_model
from hashkit.exporters.bench.contenders import Contender, Wanted, contenders, read_models
from hashkit.manifest import Manifest


def names(rows: list[Contender]) -> list[tuple[str, str, str]]:
    return [(one.runtime, one.device, one.precision) for one in rows]


def test_every_model_runs_in_every_runtime_on_every_device(tmp_path: Path) -> None:
    both = ["fp32", "int8"]
    assert names(contenders(models(tmp_path), Wanted())) == [
        *(("onnxruntime", "cpu", precision) for precision in both),
        *(("onnxruntime", "cuda", precision) for precision in both),
        *(("onnxruntime-tensorrt", "cuda", precision) for precision in both),
        *(("openvino", "cpu", precision) for precision in both),
        *(("reference", "cpu", precision) for precision in both),
    ]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Wanted(("onnxruntime",), device="cpu"), [("onnxruntime", "cpu", "int8")]),
        (
            Wanted(("openvino",), ("int8",)),
            [("openvino", "cpu", "int8")],
        ),
        (
            Wanted(precisions=("fp32",), device="cuda"),
            [("onnxruntime", "cuda", "fp32"), ("onnxruntime-tensorrt", "cuda", "fp32")],
        ),
    ],
)
def test_the_reference_is_always_first(
    tmp_path: Path, wanted: Wanted, expected: list[tuple[str, str, str]]
) -> None:
    found = contenders(models(tmp_path), wanted)
    assert names(found) == [("onnxruntime", "cpu", "fp32"), *expected]


def test_torch_is_a_row_if_there_is_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = models(tmp_path)
    manifest = dataclasses.replace(known[0].manifest, weights_sha256="12ab")
    known[0] = dataclasses.replace(known[0], manifest=manifest)
    checkpoint = tmp_path / "best.safetensors"
    (last,) = (one for one in contenders(known, Wanted(), checkpoint) if one.runtime == "torch")
    assert (last.model, last.precision, last.device) == (checkpoint, "fp32", "cpu")
    assert (last.worker, last.weights_sha256) == (torch_model.WORKER, "12ab")
    for wanted in (Wanted(device="cuda"), Wanted(precisions=("int8",)), Wanted(("openvino",))):
        assert "torch" not in {one.runtime for one in contenders(known, wanted, checkpoint)}
    monkeypatch.setattr(torch_model, "why_no_torch", lambda: "it is not here")
    assert "torch" not in {one.runtime for one in contenders(known, Wanted(), checkpoint)}
    named = contenders(known, Wanted(("torch",)), checkpoint)
    assert names(named) == [("onnxruntime", "cpu", "fp32"), ("torch", "cpu", "fp32")]
    with pytest.raises(ConfigError, match=r"needs a checkpoint: name a run .* `run=...`"):
        contenders(known, Wanted(("torch",)))


@looped(
    ("wanted", "complaint"),
    [
        ({"runtimes": ("tvm",)}, r"unknown runtime 'tvm'; known: onnxruntime, .*, torch$"),
        ({"runtimes": ()}, "expected at least one name"),
        ({"precisions": ()}, "expected at least one name"),
        ({"device": "tpu"}, "unknown device 'tpu'"),
        ({"precisions": ("fp16",)}, r"no model is fp16; found: fp32, int8; .*--precision"),
        ({"runtimes": ("openvino",), "device": "cuda"}, "openvino runs on cpu, not on cuda"),
    ],
)
def test_impossible_requests_are_refused(tmp_path: Path, wanted: dict, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        contenders(models(tmp_path), Wanted(**wanted))


def test_models_that_differ_in_bits_or_size_are_refused(tmp_path: Path) -> None:
    first = model_of(tmp_path / "a.onnx", "fp32")
    other = linear_model(tmp_path / "b.onnx", n_bits=8)
    with pytest.raises(ConfigError, match="cannot be compared: bits 12 and 8"):
        read_models([first, other])
    larger = linear_model(tmp_path / "c.onnx", height=5)
    with pytest.raises(ConfigError, match=r"size \(4, 5\) and \(5, 5\)"):
        read_models([first, larger])
    metadata = Manifest(12, 4, 5, resize="stretch-bicubic").to_metadata()
    resized = linear_model(tmp_path / "d.onnx", metadata=metadata)
    with pytest.raises(ConfigError, match="resize crop-bilinear and stretch-bicubic"):
        read_models([first, resized])
