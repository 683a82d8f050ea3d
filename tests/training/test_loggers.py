"""Loggers: what they get, how their errors are handled, and the programs that they write for."""

from __future__ import annotations

import functools
import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from cli_samples import fail
from training_samples import (
    TINY,
    add_network,
    digit_data,
    settings,
    trainer,
)

import hashkit
from hashkit.errors import ConfigError, MissingExtraError, TrainingError
from hashkit.runs import known_names
from hashkit.training.loggers import LOGGERS, RunLogger, TensorBoardLogger, WandbLogger
from hashkit.training.loggers.group import LoggerGroup
from hashkit.workflow.fitting import finish_training

CONFIG = {"name": "first", "path": "runs/first", "created": "2026", "first_step": 0, "n_steps": 4}


class Kept:
    """A logger that keeps its calls, and fails in those that are named."""

    def __init__(self, *fails: str) -> None:
        self.calls: list[Any] = []
        self.fails = fails

    def start(self, config: Any) -> None:
        self._call("start", config)

    def log(self, step: int, values: Any) -> None:
        self._call("log", {"step": step, **values})

    def finish(self) -> None:
        self._call("finish", None)

    def _call(self, name: str, value: Any) -> None:
        self.calls.append((name, value))
        if name in self.fails:
            raise OSError("disk full")

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.calls]


# Several loggers as one


def test_a_logger_that_fails_is_left_out_with_a_warning():
    good, bad, worse, said = Kept(), Kept("log"), Kept("finish"), []
    group = LoggerGroup([("bad", bad), ("good", good), ("worse", worse)], said.append)
    with group.running(CONFIG):
        group.log(1, {"loss": 2.0})
        group.log(2, {"loss": 1.0})
    assert good.names == ["start", "log", "log", "finish"]
    assert bad.names == ["start", "log"]
    assert said == [
        f"warning: the logger {name} failed in {call}: disk full; it is left out from here on, and "
        "metrics.jsonl has all numbers"
        for name, call in (("bad", "log"), ("worse", "finish"))
    ]


def test_a_logger_that_cannot_start_ends_the_training_and_the_others():
    good, bad, last = Kept(), Kept("start"), Kept()
    group = LoggerGroup([("good", good), ("bad", bad), ("last", last)])
    with (
        pytest.raises(TrainingError, match=r"the logger bad cannot start: disk full: fix"),
        group.running(CONFIG),
    ):
        pytest.fail("it began")
    assert (good.names, bad.names, last.names) == (["start", "finish"], ["start"], [])


def test_loggers_finish_after_an_error_of_the_training():
    one = Kept()
    with pytest.raises(ZeroDivisionError), LoggerGroup([("one", one)]).running(CONFIG):
        raise ZeroDivisionError
    assert one.names == ["start", "finish"]


# What is named


def test_names_and_objects_are_checked_before_anything_is_read(monkeypatch):
    assert list(LOGGERS) == list(known_names.LOGGERS)
    assert all(isinstance(one, RunLogger) for one in (TensorBoardLogger(), WandbLogger(), Kept()))
    for loggers, message in (
        (["mlflow"], "unknown logger 'mlflow'; known: tensorboard, wandb"),
        ("wandb", "`loggers` must be a list"),
        ([print], "a logger must be tensorboard, wandb or an object with the methods"),
        ([Kept], "a logger must be"),
    ):
        for call in (hashkit.train, hashkit.resume):
            with pytest.raises(ConfigError, match=message):
                call("nowhere", loggers=loggers)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match="the logger wandb needs wandb"):
        hashkit.train(loggers=["wandb"])
    assert "[tensorboard]" in fail("train --log tensorboard")


# Programs


def test_tensorboard_gets_scalars_and_hides_what_is_trained_again(tmp_path, monkeypatch):
    calls: list[Any] = []

    class SummaryWriter:
        def __init__(self, folder: str, **options: Any) -> None:
            calls.append((folder, options["purge_step"]))

        def add_text(self, tag: str, text: str, step: int) -> None:
            calls.append((tag, '"name": "first"' in text, step))

        def add_scalar(self, tag: str, value: float, step: int) -> None:
            calls.append((tag, value, step))

        def close(self) -> None:
            calls.append("closed")

    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = SummaryWriter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    for logger, first_step in ((TensorBoardLogger(), 0), (TensorBoardLogger(tmp_path), 7)):
        logger.start({**CONFIG, "first_step": first_step})
        logger.log(9, {"loss": 0.5, "active": 0.25})
        logger.finish()
    scalars = [("loss", 0.5, 9), ("active", 0.25, 9), "closed"]
    assert calls == [
        (str(Path("runs/first/tensorboard")), None), ("config", True, 0), *scalars,
        (str(tmp_path), 8), ("config", True, 7), *scalars,
    ]  # fmt: skip


def test_wandb_sends_nothing_unless_asked_and_resumes_its_run(monkeypatch):
    calls: list[Any] = []

    class Run:
        def define_metric(self, name: str, step_metric: str) -> None:
            calls.append((name, step_metric))

        def log(self, values: dict[str, float]) -> None:
            calls.append(values)

        def finish(self) -> None:
            calls.append("finished")

    module = types.ModuleType("wandb")
    inits: list[dict[str, Any]] = []
    module.init = lambda **options: inits.append(options) or Run()  # type: ignore[attr-defined]
    module.Settings = dict  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", module)
    for name in ("WANDB_MODE", "WANDB_PROJECT", "WANDB_ERROR_REPORTING"):
        monkeypatch.delenv(name, raising=False)

    def run(logger: WandbLogger, **changes: Any) -> dict[str, Any]:
        logger.start(CONFIG | changes)
        logger.log(9, {"loss": 0.5})
        logger.finish()
        return inits[-1]

    first = run(WandbLogger())
    assert (first["mode"], first["project"], first["name"]) == ("offline", "hashkit", "first")
    assert (first["dir"], first["config"]["n_steps"]) == ("runs/first", 4)
    assert calls == [("*", "step"), {"loss": 0.5, "step": 9}, "finished"]
    assert run(WandbLogger(), first_step=3)["id"] == first["id"]
    assert run(WandbLogger(), created="2027")["id"] != first["id"]
    monkeypatch.setenv("WANDB_MODE", "online")
    assert run(WandbLogger(project="mine"))["mode"] == "online"
    assert run(WandbLogger(mode="offline"))["mode"] == "offline"


# Trainings


@pytest.mark.end_to_end
def test_a_logger_gets_what_metrics_has_also_where_a_training_is_resumed(tmp_path, monkeypatch):
    add_network(monkeypatch, "tiny", TINY)
    config = settings()
    data = digit_data(config)
    for n_stops in (6, 99):
        logger = Kept()
        one = trainer(config, data, tmp_path / "a")
        first_step = one.resume()
        group = LoggerGroup([("kept", logger)])
        stop = functools.partial(lambda one, last: one.step >= last, one, n_stops)
        finish_training(one, should_stop=stop, loggers=group)
        (_, started), *_, (last, _) = logger.calls
        assert (started["name"], started["first_step"], last) == ("a", first_step, "finish")
        assert (started["n_steps"], "training" in started) == (12, True)
        lines = [json.loads(line) for line in one.run.metrics_path.read_text().splitlines()]
        logged = [values for name, values in logger.calls if name == "log"]
        assert logged == [line for line in lines if line["step"] > first_step]
    assert any("held_out" in values for values in logged)


@pytest.mark.slow
def test_tensorboard_reads_what_is_written_for_it(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for first_step in (0, 2):
        logger = TensorBoardLogger(tmp_path)
        logger.start({**CONFIG, "first_step": first_step})
        for step in range(first_step + 1, 5):
            logger.log(step, {"loss": 10 * first_step + step})
        logger.finish()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [(one.step, one.value) for one in events.Scalars("loss")] == [
        (1, 1), (2, 2), (3, 23), (4, 24),
    ]  # fmt: skip
