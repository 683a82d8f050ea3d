"""Equal runs, a killed run that is resumed, and missing devices."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from typing import Any, Self

from gpucheck.loop import largest_difference
from gpucheck.product import Run
from gpucheck.product_training import (
    TrainConfig,
    Trainer,
    TrainingData,
    choose_device,
    read_checkpoint,
)
from gpucheck.record import Record
from gpucheck.settings import Settings
from gpucheck.training import config_of, new_trainer, training_data

_COMMAND = "import sys; from hashkit.cli import main; sys.argv[0] = 'hashkit'; main()"

_SLACK = 10.0
"""Factor by which a resumed run may differ more than a second run with the same seed, which differs
by chance because the order of sums on a GPU may vary."""


def run(record: Record, settings: Settings) -> None:
    """Start the background processes, train, and compare."""
    refusals = _start_refusals(settings)
    base: dict[str, Any] = {
        "recipe": "best",
        "lengths": (48,),
        "cutmix": 0.5,
        "steps": 8 if settings.is_small else 80,
        "snapshot_steps": 2 if settings.is_small else 20,
        "display_steps": 2 if settings.is_small else 20,
        "validate_epochs": 1,
    }
    if settings.is_small:
        base["batch_size"] = 16
    data = None
    # Muon in bf16 is slow on most CPUs.
    for precision in ("fp32",) if settings.is_small else ("bf16", "fp32"):
        with record.attempt(f"kill and resume, {precision}"):
            config = config_of(settings, base | {"precision": precision})
            data = data or training_data(settings, config)
            _kill_and_resume(record, settings, config, data)
    for name, process in refusals.items():
        with record.attempt(name):
            _check_refusal(record, name, process)


def _kill_and_resume(
    record: Record, settings: Settings, config: TrainConfig, data: TrainingData
) -> None:
    precision = config.precision
    with _Victim(settings, config, f"resume-{precision}-killed") as victim:
        first = new_trainer(settings, config, data, f"resume-{precision}-whole")
        first.fit()
        again = new_trainer(settings, config, data, f"resume-{precision}-again")
        again.fit()
        last_said = victim.killed_after()
    run_folder = Run.open(settings.work_path / "runs" / victim.name)
    resumed = Trainer(config, data, run_folder, choose_device(settings.device))
    resumed_from = resumed.resume()
    resumed.fit()
    tensors = [_tensors(trainer.run, config) for trainer in (first, again, resumed)]
    same_seed = largest_difference(tensors[0], tensors[1])
    after_kill = largest_difference(tensors[0], tensors[2])
    figures = {
        "n_steps": config.steps,
        "killed_by": victim.killed_by,
        "killed_after_step": last_said,
        "resumed_after_step": resumed_from,
        "resumed": after_kill,
        "same_seed": same_seed,
    }
    record.figure(precision, figures)
    record.check(
        f"{precision}: the run was killed and resumed in the middle",
        victim.killed_by == "SIGKILL" and 0 < resumed_from < resumed.n_steps,
        f"killed after step {last_said} of {config.steps}, resumed after step {resumed_from}",
    )
    allowed = 0.0 if same_seed["is_bit_equal"] else _SLACK * same_seed["largest_difference"]
    record.check(
        f"{precision}: resumed as a run never stopped",
        after_kill["largest_difference"] <= allowed,
        f"{_words(after_kill)}; the same seed twice: {_words(same_seed)}",
    )


class _Victim:
    """A process that trains and is killed after half of its steps."""

    def __init__(self, settings: Settings, config: TrainConfig, name: str) -> None:
        self.name = name
        self._wanted = (config.steps or 0) // 2
        self._last = 0
        arguments = [str(settings.work_path / "settings.json"), json.dumps(config.to_dict()), name]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "gpucheck.train_worker", *arguments],
            stdout=subprocess.PIPE,
            text=True,
        )
        self._watch = threading.Thread(target=self._kill_past_the_middle)

    def __enter__(self) -> Self:
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._watch.join()

    def killed_after(self) -> int:
        """The last step that it printed, after its end."""
        self._watch.join()
        self._process.wait()
        return self._last

    @property
    def killed_by(self) -> str | None:
        """Name of the signal that killed it; None if it finished."""
        code = self._process.returncode
        return signal.Signals(-code).name if code < 0 else None

    def _kill_past_the_middle(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            word, _, number = line.partition(" ")
            if word == "step":
                self._last = int(number)
                if self._last > self._wanted:
                    os.kill(self._process.pid, signal.SIGKILL)
                    return


def _tensors(run_folder: Run, config: TrainConfig) -> dict[str, Any]:
    """All tensors of the last snapshot: weights, loss state and momentum."""
    step, path = run_folder.snapshots()[-1]
    if step != config.steps:
        raise RuntimeError(f"the last snapshot is of step {step}, not {config.steps}")
    checkpoint = read_checkpoint(path)
    parts = {"model": checkpoint.model, "losses": checkpoint.losses}
    parts["optimiser"] = checkpoint.optimiser
    return {f"{part}.{name}": value for part, of in parts.items() for name, value in of.items()}


def _words(difference: dict[str, Any]) -> str:
    if difference["is_bit_equal"]:
        return f"all {difference['n_tensors']} tensors equal bit for bit"
    return (
        f"{difference['n_tensors_that_differ']} of {difference['n_tensors']} tensors differ, by "
        f"{difference['largest_difference']:.1e} at most"
    )


def _start_refusals(settings: Settings) -> dict[str, subprocess.Popen[str]]:
    """Trainings on missing devices, which must fail."""
    processes = {}
    for name, device, more in (
        ("--device cuda:99", "cuda:99", {}),
        ("--device cuda without a visible GPU", "cuda", {"CUDA_VISIBLE_DEVICES": ""}),
    ):
        arguments = f"train --data digits --steps 1 --device {device}".split()
        arguments += ["--runs", str(settings.work_path / "refused")]
        processes[name] = subprocess.Popen(
            [sys.executable, "-c", _COMMAND, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | more,
        )
    return processes


def _check_refusal(record: Record, name: str, process: subprocess.Popen[str]) -> None:
    _, shown = process.communicate(timeout=60)
    lines = shown.strip().splitlines()
    record.figure(name, {"exit_code": process.returncode, "lines": lines[-3:]})
    is_clear = process.returncode == 1 and len(lines) == 1 and "--device cuda" in lines[0]
    shown_line = lines[0] if lines else "nothing"
    record.check(f"{name} is refused", is_clear, f"exit code {process.returncode}: {shown_line}")
