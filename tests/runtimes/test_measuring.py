"""Measuring a model: what is timed, and processes that crash, hang or lose their parent."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from linear_models import linear_model
from numpy.typing import NDArray
from odd_worker import N_BITS, SIZE, PixelModel
from processes import DEADLINE, is_gone, wait_until

from hashkit.runtimes.answers import Answers
from hashkit.runtimes.backends.onnxruntime_session import OnnxRuntimeSession
from hashkit.runtimes.measuring import measuring, process
from hashkit.runtimes.measuring.measuring import BatchTiming, Measurement, MeasuringJob, measure
from hashkit.runtimes.measuring.peak_memory import peak_memory
from hashkit.runtimes.measuring.process import Outcome, measure_apart

SUPPORT = Path(__file__).parents[1] / "support"


@pytest.fixture
def job(tmp_path: Path) -> MeasuringJob:
    """A job for `odd_worker`, which writes its process id to the path of the model."""
    pixels = np.random.default_rng(0).integers(0, 256, (70, SIZE, SIZE, 3), np.uint8)
    np.save(tmp_path / "images.npy", pixels)
    return MeasuringJob(
        model=str(tmp_path / "pid"),
        runtime="computes",
        device="cpu",
        profile="exact",
        images=str(tmp_path / "images.npy"),
        answers=str(tmp_path / "answers.npz"),
        batch_sizes=(1, 4),
        seconds=1e-9,
    )


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("PYTHONPATH", str(SUPPORT), prepend=os.pathsep)
    return "odd_worker"


class SlowModel(PixelModel):
    """A `PixelModel` whose batches take the given times on its own ``clock``."""

    def __init__(self, durations: list[float]) -> None:
        super().__init__()
        self._durations, self._now = iter(durations), 0.0
        self.clock = SimpleNamespace(perf_counter=lambda: self._now)

    def run(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        self._now += next(self._durations)
        return super().run(images)


def run(job: MeasuringJob, worker: str, runtime: str, **changes: object) -> Outcome:
    arguments = {"n_starts": 1, "timeout_seconds": DEADLINE, "worker": worker} | changes
    return measure_apart(dataclasses.replace(job, runtime=runtime), **arguments)  # type: ignore[arg-type]


def check_answers(job: MeasuringJob) -> None:
    """Check that the outputs are those of `PixelModel` for all images, in order."""
    answers = Answers.load(Path(job.answers))
    codes, logits = PixelModel().run(np.load(job.images))
    np.testing.assert_array_equal(answers.codes, codes)
    np.testing.assert_array_equal(answers.logits, logits)


# In the calling process


def test_each_batch_size_is_run_once_before_it_is_timed(job: MeasuringJob) -> None:
    model, steps = PixelModel(), []
    found = measure(lambda _: model, job, steps.append)  # type: ignore[arg-type,return-value]
    assert steps == ["start", "batch 1", "batch 4", "answers"]
    # The start, batches of 1 and of 4, and all images in the batches of `hashkit encode`.
    assert model.batches == [1] + [1] * 4 + [4] * 4 + [8] * 8 + [6]
    assert [(one.batch_size, one.n_repeats) for one in found.timings] == [(1, 3), (4, 3)]
    assert (found.runtime, found.provider) == ("pixels 1.0", "PixelProvider")
    check_answers(job)


def test_memory_is_read_after_the_last_timed_batch_and_before_the_answers(
    job: MeasuringJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = PixelModel()
    monkeypatch.setattr(measuring, "peak_memory", lambda: len(model.batches))
    found = measure(lambda _: model, job, lambda _: None)  # type: ignore[arg-type,return-value]
    assert found.peak_memory_bytes == 1 + 4 + 4


def test_only_start_times_no_batches_and_writes_no_answers(job: MeasuringJob) -> None:
    model = PixelModel()
    only = dataclasses.replace(job, only_start=True)
    found = measure(lambda _: model, only, lambda _: None)  # type: ignore[arg-type,return-value]
    assert model.batches == [1]
    assert found.timings == ()
    assert not Path(job.answers).exists()


def test_on_a_gpu_a_model_is_opened_for_each_batch_size(job: MeasuringJob) -> None:
    opened: list[tuple[int | None, PixelModel]] = []

    def open_encoder(batch_size: int | None) -> PixelModel:
        opened.append((batch_size, PixelModel("CUDAExecutionProvider")))
        return opened[-1][1]

    measure(open_encoder, job, lambda _: None)  # type: ignore[arg-type]
    assert [batch_size for batch_size, _ in opened] == [None, 1, 4]
    assert [model.batches for _, model in opened] == [[1, 70], [1] * 4, [4] * 4]


@pytest.mark.parametrize(
    ("seconds", "n_repeats", "median"), [(6.9, 8, 0.75), (3.5, 4, 0.75), (0.1, 3, 0.5)]
)
def test_a_batch_is_timed_for_the_given_seconds_and_at_least_three_times(
    monkeypatch: pytest.MonkeyPatch, seconds: float, n_repeats: int, median: float
) -> None:
    model = SlowModel([9.0, *([0.5, 1.5, 0.5, 1.0] * 5)])
    monkeypatch.setattr(measuring, "time", model.clock)
    found = measuring._time(model, np.zeros((2, SIZE, SIZE, 3), np.uint8), seconds)  # type: ignore[arg-type]
    assert found.n_repeats == n_repeats
    assert (found.seconds_median, found.seconds_p95) == (median, 1.5)
    assert found.images_per_second == 2 / found.seconds_median
    assert found.images_per_second_p95 == 2 / 1.5


def test_nineteen_of_twenty_batches_reach_the_p95_rate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = SlowModel([99.0, *np.random.default_rng(0).permutation(np.arange(1.0, 41.0))])
    monkeypatch.setattr(measuring, "time", model.clock)
    found = measuring._time(model, np.zeros((2, SIZE, SIZE, 3), np.uint8), sum(range(1, 41)))  # type: ignore[arg-type]
    assert (found.n_repeats, found.seconds_median, found.seconds_p95) == (40, 20.5, 38)


def test_the_best_batch_size_has_the_most_images_per_second() -> None:
    timings = (
        BatchTiming(1, 3, 0.1, 0.1),
        BatchTiming(4, 3, 0.2, 9.0),
        BatchTiming(8, 3, 0.4, 0.4),
    )
    assert Measurement("a", "b", "fp32", 1.0, 1, timings).best.batch_size == 4


def test_jobs_and_measurements_round_trip_through_json(job: MeasuringJob) -> None:
    assert MeasuringJob.from_dict(json.loads(json.dumps(dataclasses.asdict(job)))) == job
    found = Measurement("a", "b", "fp32", 1.5, None, (BatchTiming(4, 3, 0.2, 0.3),))
    assert Measurement.from_dict(json.loads(json.dumps(dataclasses.asdict(found)))) == found


def test_peak_memory_is_what_the_system_reports(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("VmPeak:\t  900 kB\nVmHWM:\t    1234 kB\nVmRSS:\t  1000 kB\n")
    assert peak_memory(status) == 1234 * 1024
    block = np.ones(8_000_000)
    for place in (Path("/proc/self/status"), tmp_path / "none"):  # without the file, a system call
        found = peak_memory(place)
        assert found is not None
        assert block.nbytes < found < 1e12


# In separate processes


def test_the_start_is_the_median_and_the_last_process_measures_the_rest(
    job: MeasuringJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    timings = (BatchTiming(1, 3, 0.1, 0.2),)

    def run_one(some: MeasuringJob, *_: object) -> Outcome:
        asked.append(some.only_start)
        about = ("a", "b", "fp32", [9.0, 1.0, 2.0][len(asked) - 1])
        rest = () if some.only_start else (77, timings)
        return Outcome("ok", Measurement(*about, *rest))

    monkeypatch.setattr(process, "_run", run_one)
    outcome = measure_apart(job, n_starts=3, timeout_seconds=1)
    assert outcome == Outcome("ok", Measurement("a", "b", "fp32", 2.0, 77, timings))
    assert asked == [True, True, False]


def test_no_process_follows_a_failed_one(
    job: MeasuringJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = iter([Outcome("failed", None, "it fell over")])
    monkeypatch.setattr(process, "_run", lambda *_: next(ends))
    outcome = measure_apart(job, n_starts=3, timeout_seconds=1)
    assert outcome == Outcome("failed", None, "it fell over")


@pytest.mark.end_to_end
def test_a_model_is_measured_in_a_separate_process(tmp_path: Path) -> None:
    path = linear_model(tmp_path / "model.onnx")
    pixels = np.random.default_rng(1).integers(0, 256, (9, 4, 5, 3), np.uint8)
    np.save(tmp_path / "images.npy", pixels)
    job = MeasuringJob(
        model=str(path),
        runtime="onnxruntime",
        device="cpu",
        profile="exact",
        images=str(tmp_path / "images.npy"),
        answers=str(tmp_path / "answers.npz"),
        batch_sizes=(1, 16),
        seconds=0.1,
    )
    steps: list[str] = []
    outcome = measure_apart(job, n_starts=2, timeout_seconds=DEADLINE, step=steps.append)
    assert outcome.status == "ok", outcome.reason
    assert steps == ["start", "start", "batch 1", "batch 16", "answers"]
    found, expected = outcome.measurement, OnnxRuntimeSession(path, "cpu")
    assert found is not None
    assert (found.runtime, found.provider) == (expected.name, "CPUExecutionProvider")
    assert [one.batch_size for one in found.timings] == [1, 16]
    answers = Answers.load(Path(job.answers))
    np.testing.assert_array_equal(answers.logits, expected.run(pixels)[1])


@pytest.mark.end_to_end
def test_output_of_libraries_is_not_read_as_a_report(job: MeasuringJob, worker: str) -> None:
    outcome = run(job, worker, "babbles")
    assert outcome.status == "ok", outcome.reason
    check_answers(job)


@pytest.mark.end_to_end
@pytest.mark.parametrize(
    ("runtime", "status", "reason"),
    [
        ("absent", "absent", "it is not here"),
        ("raises", "failed", "RuntimeError: no such luck and more"),
        ("exits", "failed", "its process ended with exit code 3"),
        pytest.param(
            "aborts",
            "failed",
            "its process was ended by SIGABRT: last words",
            marks=pytest.mark.skipif(os.name == "nt", reason="has no signals"),
        ),
    ],
)
def test_every_failure_of_the_process_is_an_outcome(
    job: MeasuringJob, worker: str, runtime: str, status: str, reason: str
) -> None:
    outcome = run(job, worker, runtime, timeout_seconds=1e300)  # longer than a timer allows
    assert outcome == Outcome(status, None, reason)  # type: ignore[arg-type]


@pytest.mark.end_to_end
def test_errors_of_hashkit_are_reported_unchanged(job: MeasuringJob) -> None:
    outcome = run(job, "hashkit.runtimes.measuring.worker", "onnxruntime")
    assert (outcome.status, outcome.measurement) == ("failed", None)
    assert outcome.reason.startswith(f"{job.model}: there is no such model file")


@pytest.mark.end_to_end
def test_a_missing_device_is_absent(job: MeasuringJob, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    on_cuda = dataclasses.replace(job, device="cuda")
    outcome = run(on_cuda, "hashkit.runtimes.measuring.worker", "onnxruntime")
    assert outcome.status == "absent"
    assert "driver" in outcome.reason or "CUDA provider" in outcome.reason


@pytest.mark.end_to_end
def test_a_process_that_hangs_is_ended(job: MeasuringJob, worker: str) -> None:
    # measure_apart returns when the process has ended; this one never ends on its own.
    outcome = run(job, worker, "hangs", timeout_seconds=1.5)
    assert outcome == Outcome("failed", None, "it took longer than 1.5 seconds")


@pytest.mark.end_to_end
@pytest.mark.parametrize("runtime", ["stalls", "is deaf"])
def test_ctrl_c_leaves_no_process(
    job: MeasuringJob, worker: str, runtime: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_GRACE_SECONDS", 0.2 if runtime == "is deaf" else 60)

    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(job, worker, runtime, step=interrupt)
    assert is_gone(pid_of(job))


@pytest.mark.end_to_end
@pytest.mark.skipif(os.name == "nt", reason="sends POSIX signals")
def test_a_killed_parent_leaves_no_process(job: MeasuringJob, worker: str) -> None:
    fields = dataclasses.asdict(dataclasses.replace(job, runtime="hangs"))
    code = (
        "from hashkit.runtimes.measuring.measuring import MeasuringJob\n"
        "from hashkit.runtimes.measuring.process import measure_apart\n"
        f"job = MeasuringJob.from_dict({fields!r})\n"
        f"measure_apart(job, n_starts=1, timeout_seconds=99, worker={worker!r})\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    wait_until(lambda: Path(job.model).exists() and Path(job.model).read_text() != "")
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_until(lambda: is_gone(pid_of(job)))


def pid_of(job: MeasuringJob) -> int:
    """Id of the process that did a job of `odd_worker`."""
    return int(Path(job.model).read_text())


def test_the_pixel_model_follows_the_contract() -> None:
    codes, logits = PixelModel().run(np.full((1, SIZE, SIZE, 3), 101, np.uint8))
    assert logits.tolist() == [[1.0] * N_BITS]
    assert codes.tolist() == [[255]]
