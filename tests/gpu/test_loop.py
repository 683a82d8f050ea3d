"""Measurements of a training loop on a GPU, with replacements for GPU functions."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.autograd import DeviceType

sys.path.insert(0, str(Path(__file__).parent))

from gpucheck import loop

WAIT = "called a synchronizing CUDA operation (Triggered internally at CUDAFunctions.cpp:42.)"


class StandIn:
    """A trainer whose step is one line of code in a file that seems to belong to hashkit."""

    def __init__(self, line: str, file: str = "/any/hashkit/training/trainer.py") -> None:
        self.step, self.device = 0, torch.device("cpu")
        names = {"warnings": warnings, "WAIT": WAIT, "trainer": self}
        exec(compile(f"def train_step():\n    {line}", file, "exec"), names)  # noqa: S102
        self._train_step = names["train_step"]

    def fit(self, should_stop) -> None:
        warnings.warn(WAIT, stacklevel=1)  # before the first step; not counted
        while not should_stop():
            self._train_step()
            self.step += 1
        warnings.warn(WAIT, stacklevel=1)  # after the last step; not counted


def test_a_round_has_the_given_number_of_steps():
    trainer = StandIn("pass")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.step = 10
        done, seconds, snapshot = loop.loop_round(trainer, 7)
    assert (done, trainer.step) == (7, 17)
    assert 0 < seconds < 1
    assert 0 <= snapshot < 1


def test_waits_are_counted_by_step_and_place(monkeypatch):
    modes = []
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)
    trainer = StandIn(
        "warnings.warn(WAIT); trainer.step % 2 or warnings.warn(WAIT); warnings.warn('other')"
    )
    found = loop.count_waits(trainer, 4)
    assert found == {
        "per_step": 1.5,
        "n_steps": 4,
        "places": {"training/trainer.py:2 train_step": 1.5},
    }
    assert modes[0] == "warn"
    assert modes[-1] == "default"


def test_the_debug_mode_is_reset_when_the_loop_fails(monkeypatch):
    modes = []
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)
    with pytest.raises(ZeroDivisionError):
        loop.count_waits(StandIn("1 / 0"), 4)
    assert modes == ["warn", "default"]


def test_busy_seconds_is_the_union_of_spans_on_the_gpu(monkeypatch):
    """Overlapping spans count once; spans of the host and annotations do not count."""

    def event(start, end, kind=DeviceType.CUDA, is_user_annotation=False):
        return SimpleNamespace(
            time_range=SimpleNamespace(start=start, end=end),
            device_type=kind,
            is_user_annotation=is_user_annotation,
        )

    events = [
        event(0, 400),
        event(300, 500),
        event(350, 360),
        event(700, 800),
        event(0, 9000, DeviceType.CPU),
        event(0, 9000, is_user_annotation=True),
    ]

    class Session:
        def __init__(self, **_):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def events(self):
            return events

    monkeypatch.setattr(torch.profiler, "profile", Session)
    trainer = StandIn("pass")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert loop.busy_seconds(trainer, 3) == pytest.approx(600e-6 / 3)


@pytest.mark.end_to_end
def test_a_profiler_that_sees_no_gpu_is_an_error():
    trainer = StandIn("pass")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(RuntimeError, match="the profiler recorded nothing on the GPU"):
            loop.busy_seconds(trainer, 2)


def test_differences_of_tensors():
    one = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor(3), "empty": torch.zeros(0)}
    equal = loop.largest_difference(one, {name: value.clone() for name, value in one.items()})
    assert equal["is_bit_equal"]
    assert (equal["n_tensors"], equal["largest_difference"]) == (3, 0.0)
    found = loop.largest_difference(one, one | {"a": torch.tensor([1.0, 2.5])})
    assert not found["is_bit_equal"]
    assert found["n_tensors_that_differ"] == 1
    assert (found["largest_difference"], found["largest_difference_in"]) == (0.5, "a")
    with pytest.raises(ValueError, match="different tensors"):
        loop.largest_difference(one, {"a": one["a"]})
