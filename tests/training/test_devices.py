"""Devices and precision."""

from __future__ import annotations

import pytest
import torch
from trainer_samples import (
    LEARNING,
    needs_cuda,
    stop_after,
)
from training_samples import (
    CPU,
    digit_data,
    open_run,
    settings,
    trainer,
)

from hashkit.errors import ConfigError, DeviceError
from hashkit.training.checkpoint import read_checkpoint
from hashkit.training.data import TrainingData
from hashkit.training.devices import choose_device
from hashkit.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("tiny_network")


def test_fp16_on_the_cpu_is_refused(tmp_path):
    config = settings(precision="fp16")
    with pytest.raises(ConfigError, match=r"^`precision=\"fp16\"` needs a GPU"):
        trainer(config, digit_data(config), tmp_path / "run")


@pytest.mark.end_to_end
def test_bf16_on_the_cpu_runs_the_network_in_bf16_and_keeps_weights_in_fp32(tmp_path):
    config = settings(precision="bf16", steps=3)
    made = trainer(config, digit_data(config), tmp_path / "run")
    seen = []
    made.learner.model.network.register_forward_hook(
        lambda module, _, features: seen.append((module.training, features.dtype))
    )
    made.fit()
    assert {dtype for is_training, dtype in seen if is_training} == {torch.bfloat16}
    assert {dtype for is_training, dtype in seen if not is_training} == {torch.float32}
    assert {weights.dtype for weights in made.learner.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    "changes", [{"augmentation": "crop"}, {"augmentation": "views", "loss": "cibhash"}], ids=str
)
def test_augmentation_is_the_same_in_every_precision(tmp_path, changes):
    seen = {}
    for precision in ("fp32", "bf16"):
        config = settings(precision=precision, steps=1, **changes)
        made = trainer(config, digit_data(config), tmp_path / precision)
        found = seen.setdefault(precision, [])
        made.learner.model.network.register_forward_pre_hook(
            lambda _, images, found=found: found.append(images[0].clone())
        )
        made.fit()
    assert seen["fp32"][0].dtype == torch.float32
    assert torch.equal(seen["fp32"][0], seen["bf16"][0])


def test_devices_by_name(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("cpu") == CPU
    assert choose_device("auto") == CPU
    for name in ("cuda", "cuda:1"):
        with pytest.raises(DeviceError, match=f'^`device="{name}"`: torch .*; use `device="cpu"`$'):
            choose_device(name)
    for name in ("gpu", "cudart", "", "mps"):
        with pytest.raises(ConfigError, match=f"^unknown device '{name}'; known: auto, cpu, cuda"):
            choose_device(name)


def test_a_cuda_device_that_does_not_work_is_an_error_of_one_line(monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("CUDA error: invalid device ordinal\nCompile with TORCH_USE_CUDA_DSA")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "empty", broken)
    with pytest.raises(DeviceError) as caught:
        choose_device("cuda:7")
    message = '`device="cuda:7"`: CUDA error: invalid device ordinal'
    assert str(caught.value) == f"{message} Compile with TORCH_USE_CUDA_DSA"


@pytest.mark.gpu
@needs_cuda
def test_auto_takes_the_gpu():
    assert choose_device("auto").type == "cuda"
    assert choose_device("cuda:0") == torch.device("cuda:0")
    with pytest.raises(DeviceError, match=r'^`device="cuda:99"`: '):
        choose_device("cuda:99")


def gpu_trainer(config, data: TrainingData, path) -> Trainer:
    return Trainer(config, data, open_run(path), torch.device("cuda"))


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_every_precision_learns_on_the_gpu(tmp_path, precision):
    config = settings(**LEARNING, precision=precision)
    result = gpu_trainer(config, digit_data(config, 500), tmp_path / "run").fit()
    assert result.best_score > 0.35


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_stopped_run_resumes_on_the_gpu(tmp_path, precision):
    """Weights agree to rounding: the order of sums on the GPU may vary between processes."""
    config = settings(precision=precision)
    data = digit_data(config)
    gpu_trainer(config, data, tmp_path / "whole").fit()
    gpu_trainer(config, data, tmp_path / "run").fit(should_stop=stop_after(5))
    second = gpu_trainer(config, data, tmp_path / "run")
    assert second.resume() > 0
    assert second.fit().is_done
    expected, found = (
        read_checkpoint(open_run(tmp_path / name).snapshot_path(12)) for name in ("whole", "run")
    )
    tolerance = {"fp32": 1e-4, "bf16": 5e-2, "fp16": 2e-2}[precision]
    for name, value in expected.model.items():
        torch.testing.assert_close(found.model[name], value, rtol=tolerance, atol=tolerance)
    assert found.state["scaler"] == expected.state["scaler"]
