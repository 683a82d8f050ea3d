"""A run on digits in an empty folder, with a model and banks that are made without torch."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from cli_samples import succeed
from small_models import linear_model

from hashkit.runs.data_spec import DataSpec
from hashkit.runs.run import Run
from hashkit.runs.run_config import RunConfig


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty folder as the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(place) -> Run:
    """A run on digits that has only its settings."""
    made = Run.create(place / "runs", "first", RunConfig(data=DataSpec()))
    return Run(made.path.relative_to(place))


@pytest.fixture
def model(run) -> Path:
    """The run's model, made without torch."""
    return linear_model(run.model_path, height=8, width=8)


@pytest.fixture(scope="session")
def encoded(tmp_path_factory) -> Path:
    """A folder with a run, its model and its banks; tests must not change it."""
    folder = tmp_path_factory.mktemp("encoded")
    made = Run.create(folder / "runs", "first", RunConfig(data=DataSpec()))
    linear_model(made.model_path, height=8, width=8)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        succeed("encode")
    return folder


@pytest.fixture
def banks(place, encoded) -> Run:
    """A copy of that run."""
    shutil.copytree(encoded / "runs", place / "runs")
    return Run(Path("runs/first"))


@pytest.fixture
def other(place) -> Path:
    """Another model with the same number of bits."""
    return linear_model(place / "other.onnx", height=8, width=8, seed=1)
