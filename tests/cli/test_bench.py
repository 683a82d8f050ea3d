"""`hashkit bench` as it is typed: processes, exit codes, files, and what it refuses."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from bench_samples import StandIn, model_of, write_photos
from cli_samples import fail, hashkit, start, succeed
from looped import looped
from processes import is_gone, wait_until

from hashkit.exporters.bench import comparison
from hashkit.runs.data_spec import DataSpec
from hashkit.runs.run import Run
from hashkit.runs.run_config import RunConfig
from hashkit.runtimes import cuda
from hashkit.runtimes.measuring.process import Outcome

QUICK = "--device cpu --starts 1 --batches 1 --seconds 0.1 --queries 5 --database 9"
WEIGHTS_KEY = "hashkit.weights_sha256"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of class folders with models in fp32 and int8, the second of other weights."""
    folder = tmp_path_factory.mktemp("bench")
    write_photos(folder / "photos")
    spec = DataSpec(str(folder / "photos"))
    made = Run.create(folder / "runs", "a", RunConfig(data=spec))
    model_of(made.model_path, "fp32")
    model_of(made.path / "model-int8.onnx", "int8", seed=1)
    return made


@pytest.fixture
def run(made: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The run, in the folder that commands are run in; nothing may be written there."""
    monkeypatch.chdir(made.path.parent.parent)
    return made


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """A stand-in for the measuring processes, for tests that are not about them."""
    fake = StandIn()
    monkeypatch.setattr(comparison, "measure_apart", fake)
    return fake


@pytest.mark.end_to_end
def test_a_run_is_measured_and_written_down(run: Run, tmp_path: Path) -> None:
    files = f"--markdown {tmp_path}/b.md --html {tmp_path}/b.html"
    outcome = succeed(f"bench {QUICK} --runtimes onnxruntime --json {files}")
    document = outcome.json
    assert document["ok"] is True
    assert document["problems"] == []
    assert document["name"] == "a"
    assert document["bits"] == 12
    assert document["models"] == ["runs/a/model.onnx", "runs/a/model-int8.onnx"]
    assert document["images"]["has_labels"] is True
    assert (document["images"]["n_queries"], document["images"]["n_database"]) == (3, 9)
    assert "using the newest run" in outcome.stderr
    reference, other = document["rows"]
    assert reference["is_reference"]
    assert reference["provider"] == "CPUExecutionProvider"
    assert reference["agreement"]["flipped_per_million"] == 0
    assert reference["agreement"]["map"] > 0
    assert other["precision"] == "int8"
    assert other["agreement"]["flipped_per_million"] > 0
    for row in (reference, other):
        assert row["status"] == "ok"
        assert row["start_seconds"] > 0
        assert row["peak_memory_bytes"] > 20e6
        assert [one["batch_size"] for one in row["batches"]] == [1]
        assert row["batches"][0]["seconds_p95"] >= row["batches"][0]["seconds_median"] > 0
    assert "| onnxruntime | int8 |" in (tmp_path / "b.md").read_text(encoding="utf-8")
    assert "<table" in (tmp_path / "b.html").read_text(encoding="utf-8")


def test_flags_reach_the_measurement(run: Run, stand_in: StandIn) -> None:
    line = (
        "bench --device cpu --runtimes onnxruntime,reference --precisions fp32 --profile fast "
        "--starts 2 --batches 8,2 --seconds 0.5 --timeout 77 --slow-images 3 "
        "--queries 2 --database 4 --max-flips 7 --min-map 0.01 --json"
    )
    document = succeed(line).json
    fast, slow = stand_in.calls
    assert (fast.job.runtime, slow.job.runtime) == ("onnxruntime", "reference")
    assert (fast.job.batch_sizes, slow.job.batch_sizes) == ((1, 2, 8), (1, 2))
    assert (fast.n_images, slow.n_images) == (6, 3)
    assert (fast.n_starts, slow.n_starts) == (2, 1)
    for call in stand_in.calls:
        assert (call.job.device, call.job.profile, call.job.seconds) == ("cpu", "fast", 0.5)
        assert call.timeout_seconds == 77
    assert document["settings"] == {
        "batch_sizes": [1, 2, 8],
        "seconds": 0.5,
        "n_starts": 2,
        "n_slow_images": 3,
        "timeout_seconds": 77,
        "profile": "fast",
    }
    assert document["floors"] == {"max_flips": 7, "min_map": 0.01}


def test_a_missed_floor_is_a_one_line_error_after_the_results(
    run: Run, stand_in: StandIn, tmp_path: Path
) -> None:
    table = tmp_path / "b.md"
    line = f"bench {QUICK} --run runs/a --runtimes onnxruntime --max-flips 10 --markdown {table}"
    outcome = hashkit(line)
    assert outcome.exit_code == 1
    (error,) = (one for one in outcome.stderr.splitlines() if one.startswith("error: "))
    assert error.startswith("error: onnxruntime on CPU, int8: ")
    assert error.endswith("flipped bits per million (10 allowed)")
    assert "beyond a floor" in outcome.stdout
    assert "beyond a floor" in table.read_text(encoding="utf-8")


def test_models_by_name_are_compared_on_images_or_noise(run: Run, stand_in: StandIn) -> None:
    line = f"bench {QUICK} --model runs/a/model.onnx --runtimes onnxruntime --json"
    found = succeed(f"{line} --images photos").json
    assert found["name"] == "model.onnx"
    assert (found["images"]["n_queries"], found["images"]["n_database"]) == (3, 9)
    assert found["rows"][0]["agreement"]["map"] is not None
    noise = succeed(f"{line} --random").json
    assert (noise["images"]["n_queries"], noise["images"]["n_database"]) == (5, 9)
    assert noise["images"]["is_random"] is True
    assert fail(line).endswith("name images with --images, or take noise with --random")
    refused = hashkit(f"{line} --random --min-map 0.5")
    assert refused.exit_code == 1
    assert refused.stderr.splitlines()[-1].endswith("needs labels, and random pixels have none")


def test_a_run_of_triplets_is_compared_on_their_images(
    stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_photos(tmp_path / "photos")
    lines = [f"nought/{n}.png one/{n}.png two/{n}.png" for n in range(6)]
    (tmp_path / "triplets.txt").write_text("\n".join(lines))
    config = RunConfig(data=DataSpec("digits", root="photos"), triplets="triplets.txt")
    made = Run.create(tmp_path / "runs", "t", config)
    model_of(made.model_path, "fp32")
    document = succeed(f"bench {QUICK} --runtimes onnxruntime --json").json
    assert document["images"]["source"] == "training images of t, evenly spaced"
    assert document["images"]["has_labels"] is False
    assert document["images"]["n_queries"] + document["images"]["n_database"] == 12
    assert document["rows"][0]["agreement"]["neighbours_kept"] == 1


@looped(
    ("flags", "message"),
    [
        ("--runtimes tvm", "unknown runtime 'tvm'; known: onnxruntime"),
        ("--runtimes ,", "expected at least one name"),
        ("--precisions fp16", "no model is fp16; found: fp32, int8"),
        ("--device tpu", "unknown device 'tpu'"),
        ("--profile quick", "unknown profile 'quick'; known: exact, fast"),
        ("--batches 1,two", "--batches must be numbers"),
        ("--seconds 0", "seconds must be a number above 0, not 0"),
        ("--timeout inf", "--timeout must be a number above 0, not inf"),
        ("--max-flips nan", "--max-flips must be from 0 to 1,000,000, not nan"),
        ("--min-map nan", "--min-map must be from 0 to 1, not nan"),
        ("--images photos --random", "choose one"),
        ("--model runs/a/model.onnx --run runs/a", "choose one"),
        ("--model none.onnx", "none.onnx: there is no such model"),
        ("--runtimes torch", "the row torch needs a checkpoint"),
        ("--images nowhere", "unknown image set 'nowhere'"),
    ],
)
def test_what_cannot_be_measured_is_a_one_line_error(
    run: Run, stand_in: StandIn, flags: str, message: str
) -> None:
    assert message in fail(f"bench {flags}")
    assert not stand_in.calls


def test_models_with_different_weights_give_a_warning(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crash = StandIn({("onnxruntime", "cpu"): Outcome("failed", None, "for the test")})
    monkeypatch.setattr(comparison, "measure_apart", crash)
    models = [
        model_of(tmp_path / f"{seed}.onnx", "fp32", seed, **{WEIGHTS_KEY: f'"{seed}"'})
        for seed in (0, 1)
    ]
    line = "bench --device cpu --runtimes onnxruntime --images photos"
    one = hashkit(f"{line} --model {models[0]}")
    assert "weights" not in one.stderr
    two = hashkit(f"{line} --model {models[0]} --model {models[1]}")
    assert f"{models[1]} were made from different weights" in two.stderr
    assert two.exit_code == 1, "every row failed"


@pytest.mark.end_to_end
@pytest.mark.skipif(os.name == "nt", reason="sends POSIX signals")
def test_ctrl_c_ends_the_measuring_process_too(run: Run) -> None:
    line = "bench --device cpu --runtimes onnxruntime --batches 64 --seconds 99"
    process = start(line, run.path.parent.parent)
    deadline = time.monotonic() + 60
    while not (children := children_of(process)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted; nothing is kept" in said
    assert "Traceback" not in said
    # One that was just being started ends on its own: its input is closed.
    wait_until(lambda: all(map(is_gone, children)))


def children_of(process: subprocess.Popen[str]) -> list[int]:
    """Processes that a process has started; empty where the system does not list them."""
    tasks = Path(f"/proc/{process.pid}/task")
    if not tasks.exists():
        pytest.skip("the system does not list the children of a process")
    lists = [(task / "children").read_text() for task in tasks.iterdir()]
    return [int(number) for text in lists for number in text.split()]


@pytest.mark.slow
def test_torch_is_a_row_of_a_trained_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cli_samples import QUICK as TRAINING

    monkeypatch.chdir(tmp_path)
    succeed(f"train {TRAINING} --name a")
    succeed("export --onnx")
    document = succeed(f"bench {QUICK} --runtimes torch --json").json
    _, row = document["rows"]
    assert row["runtime"] == "torch"
    assert row["version"].startswith("torch ")
    assert row["agreement"]["relative_difference"] < 1e-4
    assert np.isfinite(row["agreement"]["map"])
    # A checkpoint of other weights than the model's is refused.
    succeed(f"train {TRAINING} --name b --seed 5")
    checkpoint = Run.open(Path("runs/b")).checkpoint_path()
    Run.open(Path("runs/a")).checkpoint_path().write_bytes(checkpoint.read_bytes())
    outcome = hashkit(f"bench {QUICK} --run runs/a --runtimes torch")
    assert outcome.exit_code == 1
    assert "has different weights than the exported model" in outcome.stderr


@pytest.mark.gpu
def test_a_gpu_gives_the_same_bits_of_exact_sums(run: Run) -> None:
    reason = cuda.why_no_cuda()
    if reason:
        pytest.skip(reason)
    line = "bench --run runs/a --runtimes onnxruntime --starts 1 --batches 1,8 --seconds 0.1 --json"
    rows = {(row["device"], row["precision"]): row for row in succeed(line).json["rows"]}
    row = rows["cuda", "fp32"]
    assert row["status"] == "ok", row["detail"]
    assert row["provider"] == "CUDAExecutionProvider"
    assert row["agreement"]["flipped_per_million"] == 0
    assert [one["batch_size"] for one in row["batches"]] == [1, 8]
