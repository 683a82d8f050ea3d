"""The user's own loss: functions, modules and subclasses of `Loss` by their name in a file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from training_samples import (
    CPU,
    TINY,
    add_network,
    checkpoint_files,
    digit_data,
    open_run,
    settings,
    trainer,
)

from hashkit.errors import ConfigError, TrainingError
from hashkit.training.losses import Task, build_loss, find_loss
from hashkit.training.trainer import Trainer

FILE = """
import torch
from torch import nn
from hashkit.training.losses import Loss, LossValue

def pull(logits, targets):
    same = (targets[:, None] == targets[None, :]).float() * 2 - 1
    return (same - logits.tanh() @ logits.tanh().T / logits.shape[1]).square().mean()

class Centres(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, logits, targets):
        return pull(self.scale * logits, targets)

class Options(Loss):
    takes_multi_label = False
    compares_images = False

    def __init__(self, task, *, margin=1.0):
        super().__init__(task)
        self.margin = margin

    def forward(self, logits, targets):
        value = pull(logits, targets) * self.margin
        return LossValue(value, torch.tensor(0.25))

def broken(logits, targets):
    return logits @ targets

def not_scalar(logits, targets):
    return logits

def detached(logits, targets):
    return torch.zeros(())

class NeedsMore(nn.Module):
    def __init__(self, n_classes):
        super().__init__()

class NoLoss:
    pass

number = 3
"""

TASK = Task(n_bits=8, n_classes=3)


@pytest.fixture
def own(tmp_path) -> str:
    (tmp_path / "own.py").write_text(FILE)
    return f"module:{tmp_path}/own.py:"


def call(name: str, **options: float):
    logits = torch.linspace(-1, 1, 32).reshape(4, 8).requires_grad_()
    value = build_loss(name, TASK, options)(logits, torch.tensor([0, 0, 1, 2]))
    value.value.backward()
    assert logits.grad is not None
    return value


def test_a_function_a_module_and_a_loss_give_the_same_value(own):
    of_function, of_module = call(own + "pull"), call(own + "Centres")
    of_loss = call(own + "Options", margin=2.0)
    assert of_function.value == of_module.value == of_loss.value / 2
    assert of_function.active is None  # a function does not say
    assert of_loss.active == 0.25
    assert find_loss(own + "pull").compares_images
    assert not find_loss(own + "Options").compares_images


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "broken",
            r"failed with \w+: .*\(own\.py, line 31\); it was called with float32 \[4, 8\], int64",
        ),
        ("not_scalar", r"must return a scalar tensor .*, not float32 \[4, 8\]"),
        ("detached", r"not float32 \[\] that needs no gradient"),
    ],
)
def test_a_loss_that_cannot_be_learned_from_is_a_one_line_error(own, name, message):
    with pytest.raises(TrainingError, match=message) as caught:
        call(own + name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing", "has no missing"),
        ("NoLoss", "must be a function of"),
        ("number", "must be a function of .*, not int"),
        ("NeedsMore", "is made with no arguments; the call failed: .*n_classes"),
    ],
)
def test_objects_that_are_not_losses_are_refused(own, name, message):
    with pytest.raises(ConfigError, match=message):
        build_loss(own + name, TASK, {})
    for plain in ("pull", "Centres"):
        with pytest.raises(ConfigError, match="has no margin; it has no options"):
            build_loss(own + plain, TASK, {"margin": 1.0})
    with pytest.raises(ConfigError, match="learns from one label per image"):
        build_loss(own + "pull", Task(8, 3, is_multi_label=True), {})


def test_a_file_that_changed_is_imported_again(own, tmp_path):
    before = call(own + "pull").value.detach()
    path = tmp_path / "own.py"
    path.write_text(FILE.replace(".mean()", ".sum()"))
    os.utime(path, ns=(1, 1))
    assert call(own + "pull").value.detach() == pytest.approx(16 * before.item())


@pytest.mark.end_to_end
def test_training_learns_and_resumes_with_a_file_that_moved(own, tmp_path, monkeypatch):
    """Its parameters are learned, and the checkpoints name the place of the training."""
    add_network(monkeypatch, "tiny", TINY)
    config = settings(loss=own + "Centres", lengths=(8,), steps=6, holdout=0.0)
    data = digit_data(config)
    whole = trainer(config, data, tmp_path / "whole")
    whole.fit()
    assert whole.learner.losses[0].own.scale.item() != 1

    half = trainer(config, data, tmp_path / "half")
    half.fit(should_stop=lambda: half.step == 3)
    Path(tmp_path / "own.py").rename(tmp_path / "moved.py")
    moved = f"module:{tmp_path}/moved.py:Centres"
    resumed = Trainer(config, data, open_run(tmp_path / "half"), CPU, loss=moved)
    assert resumed.resume() == 3
    resumed.fit()
    last = sorted(checkpoint_files(whole.run))[-1]
    assert checkpoint_files(whole.run)[last] == checkpoint_files(resumed.run)[last]
