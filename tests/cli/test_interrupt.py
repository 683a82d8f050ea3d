"""Commands that are stopped by signals, as users and machines stop them, and typed again."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from cli_samples import OWN_NETWORK, fail, start, succeed
from own_network import HOLD
from safetensors.numpy import load_file
from training_samples import WALL_TIME

from hashkit.bank.reader import Bank
from hashkit.errors import BankError
from hashkit.runs.run import Run
from hashkit.runtimes.encoder import Encoder

pytestmark = [
    pytest.mark.end_to_end,
    pytest.mark.skipif(os.name == "nt", reason="sends POSIX signals"),
]

TRAIN = (
    f"train {OWN_NETWORK} --size 8 --bits 8 --steps 12 --batch-size 12 --training-per-class 6 "
    "--snapshot-steps 2 --display-steps 1 --name stopped --device cpu"
)
SLOW_WRITES = """
import time
from hashkit.bank.writer import BankWriter

write = BankWriter.write

def slow(*arguments, **more):
    time.sleep(0.01)
    write(*arguments, **more)

BankWriter.write = slow
"""
"""Code that leaves an encoding time to be stopped: its first commit comes after a second."""
DEADLINE = 240


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Use one thread, as `start` does: sums, and so weights, depend on the number of threads."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def unkilled(tmp_path_factory):
    """The run that `TRAIN` makes if nothing stops it."""
    place, before = tmp_path_factory.mktemp("unkilled"), Path.cwd()
    os.chdir(place)
    try:
        succeed(TRAIN)
        succeed(f"export --onnx {OWN_NETWORK}")
    finally:
        os.chdir(before)
    return Run.open(place / "runs" / "stopped")


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def wait_until(is_so, process: subprocess.Popen[str]) -> None:
    """Wait until a started command has done something, or fail if it ends before."""
    deadline = time.monotonic() + DEADLINE
    while not is_so():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


def stop_training(number: signal.Signals, place: Path) -> tuple[int, str]:
    """Start `TRAIN`, and send a signal after its first snapshot."""
    run, hold = Run(place / "runs" / "stopped"), place / HOLD
    hold.touch()
    process = start(TRAIN, place)
    try:
        wait_until(run.snapshots, process)
        process.send_signal(number)
    finally:
        hold.unlink()
    _, said = process.communicate(timeout=DEADLINE)
    return process.returncode, said


def assert_same_run(run: Run, expected: Run) -> None:
    """The same snapshots and choice of checkpoint, tensor for tensor."""
    assert [step for step, _ in run.snapshots()] == [step for step, _ in expected.snapshots()]
    paths = [path for _, path in run.snapshots()] + [run.best_path]
    others = [path for _, path in expected.snapshots()] + [expected.best_path]
    for path, other in zip(paths, others, strict=True):
        tensors, wanted = load_file(path), load_file(other)
        assert tensors.keys() == wanted.keys()
        for name in wanted:
            assert tensors[name].tobytes() == wanted[name].tobytes(), (path, name)
    lines = [
        [{k: v for k, v in line.items() if k not in WALL_TIME} for line in one.read_metrics()]
        for one in (run, expected)
    ]
    assert lines[0] == lines[1]


def test_ctrl_c_stops_a_training_that_resume_finishes(place, unkilled):
    code, said = stop_training(signal.SIGINT, place)
    assert code == 130
    assert f"hashkit train --resume --run runs/stopped {OWN_NETWORK}" in said
    assert "Traceback" not in said
    run = Run.open(place / "runs" / "stopped")
    stopped_at = run.snapshots()[-1][0]
    assert 2 <= stopped_at < 12
    assert f"stopped after step {stopped_at} of 12" in said
    assert not run.summary_path.exists()
    resumed = succeed(f"train --resume --json {OWN_NETWORK}")
    assert f"continuing after step {stopped_at} of 12" in resumed.stderr
    assert resumed.json["step"] == 12
    # The snapshot of the stop is gone by now: two stay.
    assert_same_run(run, unkilled)


@pytest.mark.slow  # test_resume_kill.py kills the same loop, without the command
def test_a_killed_and_resumed_training_has_the_weights_of_one_that_was_not_killed(place, unkilled):
    code, _ = stop_training(signal.SIGKILL, place)
    assert code == -signal.SIGKILL
    succeed(f"train --resume --run runs/stopped {OWN_NETWORK}")
    assert_same_run(Run.open(place / "runs" / "stopped"), unkilled)


def test_a_training_stopped_before_its_first_snapshot_starts_again(place, unkilled):
    succeed(TRAIN.replace("--steps 12", "--steps 4"))
    run = Run.open(place / "runs" / "stopped")
    for path in run.checkpoints_path.iterdir():
        path.unlink()
    run.summary_path.unlink()
    assert "has no checkpoint yet" in fail("export --onnx")
    assert "continuing after step 0 of 4" in succeed(f"train --resume {OWN_NETWORK}").stderr
    assert [step for step, _ in run.snapshots()] == [2, 4]


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.slow)]
)
def test_a_stopped_encode_continues_where_it_stopped(place, unkilled, number):
    command = f"encode digits --model {unkilled.model_path} --out bank.h5"
    bank = place / "bank.h5"
    one_by_one = f"{command} --batch-size 1 --num-workers 1 --device cpu"
    process = start(one_by_one, place, before=SLOW_WRITES)

    def has_rows() -> bool:
        try:
            return bank.exists() and len(Bank.open(bank)) > 0
        except BankError:  # it is being made
            return False

    wait_until(has_rows, process)
    process.send_signal(number)
    _, said = process.communicate(timeout=DEADLINE)
    assert process.returncode == (130 if number == signal.SIGINT else -number)
    if number == signal.SIGINT:
        assert "interrupted; encoded images and finished files are kept" in said
        assert "Traceback" not in said
    left = Bank.open(bank)
    assert 0 < len(left) < 1797
    assert not left.is_complete
    before = np.array(left.codes)
    (report,) = succeed(f"{command} --json").json["banks"]
    assert report["n_resumed"] == len(before)
    finished = Bank.open(bank)
    assert finished.is_complete
    assert np.array_equal(finished.codes[: len(before)], before)
    check_codes_of_digits(finished, unkilled.model_path)


def check_codes_of_digits(bank: Bank, model: Path) -> None:
    """Each digit's code, once and in order; bits next to 0 may depend on the batch size."""
    from hashkit.datasets.digits import open_digits

    digits = open_digits()
    assert list(bank.names) == list(digits.names)
    logits = Encoder.load(model, "cpu").logits(digits.pixels)
    wanted = np.unpackbits(bank.codes, axis=1, count=bank.n_bits)
    assert np.all(((logits > 0) == wanted) | (np.abs(logits) < 1e-4))
