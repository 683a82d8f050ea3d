"""docs/gpu.md matches the stored result, or says that there is none."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import check
from gpucheck.page import read_kept, render, write_page
from gpucheck.plan import STAGES
from gpucheck.settings import ROOT
from gpucheck.table import tables

DOCS = ROOT / "docs"


def a_result(device="cuda") -> dict:
    """An invented result with one failed and one skipped stage."""
    speed = {
        "images": "32x32",
        "batch_size": 100,
        "images_per_second_loop": 9000.0,
        "images_per_second_bare": 10000.0,
        "images_per_second_passes": 20000.0,
        "share_of_bare": 0.9,
    }
    stages = [
        stage("machine", figures={"python": "3.12.3", "torch": {"gpu": "Any GPU", "version": "2"}}),
        stage(
            "speed-best",
            "failed",
            figures={"bf16": speed, "bf16_waits": {"per_step": 2.5}, "bf16_idle": {"share": 0.25}},
            checks=[{"name": "the loop keeps up", "passed": False, "detail": "90.0% of 95%"}],
        ),
        stage("tensorrt", "skipped", reason="TensorRT 10 is not installed"),
    ]
    return {"format": 1, "device": device, "is_small": False, "seconds": 321.0, "stages": stages}


def stage(name: str, status="ok", reason="", figures=None, checks=()) -> dict:
    fields = {"about": "something", "expected_seconds": 5.0, "seconds": 4.0}
    return fields | {
        "name": name,
        "status": status,
        "reason": reason,
        "figures": figures or {},
        "checks": list(checks),
    }


def test_the_page_matches_the_stored_result():
    assert (DOCS / "gpu.md").read_text(encoding="utf-8") == render(read_kept(DOCS))


def test_a_stored_result_is_from_a_gpu_and_contains_no_path():
    kept = read_kept(DOCS)
    if kept is None:
        assert "Nothing has been measured on a GPU yet" in render(None)
        return
    assert kept["device"] == "cuda"
    assert ' "/' not in json.dumps(kept)


def test_without_a_result_the_page_has_no_figures():
    page = render(None)
    assert "**Nothing has been measured on a GPU yet.**" in page
    assert "images/s" not in page
    for one in STAGES:
        assert f"| {one.name} | {one.about} | {one.expected:.0f} |" in page


def test_the_page_of_a_result(tmp_path):
    path = tmp_path / "result.json"
    path.write_text(json.dumps(a_result()))
    write_page(tmp_path, path)
    page = (tmp_path / "gpu.md").read_text()
    assert page == render(read_kept(tmp_path))
    assert "Nothing has been measured" not in page
    assert "Measured in 321 s on: Any GPU; torch 2; Python 3.12.3." in page
    assert "| best | bf16 | 32x32, 100 | 9,000 | 10,000 | 20,000 | 90.0% | 2.50 | 25.0% |" in page
    assert "|  | failed |  | the loop keeps up: 90.0% of 95% |" in page
    assert "| tensorrt | skipped | 4 | TensorRT 10 is not installed |" in page
    write_page(tmp_path, None)
    assert (tmp_path / "gpu.md").read_text() == page


def test_an_export_that_answers_nan_has_its_row():
    parity = {
        "n_images": 256,
        "largest_difference": None,
        "largest_batch_difference": 1e-6,
        "tolerance": None,
        "n_flipped_bits": 9,
    }
    figures = {"parity": parity, "parity_on_cuda": "this ONNX Runtime has no CUDA provider"}
    text = tables({"stages": [stage("export-best", "failed", figures=figures)]})
    assert "| best | CPU | 256 | — | — | 9 |" in text
    assert "| best | CUDA |" not in text


def test_figures_that_fit_no_table_end_no_run(tmp_path):
    """They are still in result.json, and the page says what does not fit."""
    settings = check.Settings("cuda", str(tmp_path), str(tmp_path))
    record = {"status": "ok", "reason": "", "seconds": 1.0, "checks": []}
    outcome = check.Outcome(STAGES[2], record | {"figures": {"bf16": {"images": "32x32"}}})
    check._save(settings, [outcome], 2.0)
    kept = json.loads((tmp_path / "result.json").read_text())
    assert kept["stages"][0]["figures"] == {"bf16": {"images": "32x32"}}
    assert "KeyError: 'batch_size'" in (tmp_path / "result.md").read_text()


def test_a_result_of_a_cpu_is_refused(tmp_path):
    path = tmp_path / "result.json"
    path.write_text(json.dumps(a_result("cpu")))
    with pytest.raises(ValueError, match="was measured on cpu, not on a GPU"):
        write_page(tmp_path, path)
    assert not (tmp_path / "gpu.md").exists()
