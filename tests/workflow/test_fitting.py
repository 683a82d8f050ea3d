from __future__ import annotations

import errno
from types import SimpleNamespace

import pytest

from hashkit.errors import RunError
from hashkit.runs.config import TrainConfig
from hashkit.runs.run import Run
from hashkit.runs.run_config import RunConfig
from hashkit.workflow.fitting import finish_training
from hashkit.workflow.reporter import SILENT


def test_a_full_disk_names_the_file_and_how_to_continue(tmp_path):
    def fit(*_):
        raise OSError(errno.ENOSPC, "No space left on device", str(run.metrics_path))

    run = Run.create(tmp_path, "run", RunConfig())
    trainer = SimpleNamespace(
        run=run,
        step=0,
        n_steps=10,
        has_fixed_features=False,
        record=SimpleNamespace(),
        fit=fit,
        config=TrainConfig(),
    )
    with pytest.raises(RunError) as caught:
        finish_training(trainer, SILENT)
    assert str(caught.value) == (
        f"{run.metrics_path}: cannot be written (No space left on device); free some space, or "
        f'choose another disk; then continue with `hashkit.resume("{run.path}")`'
    )
