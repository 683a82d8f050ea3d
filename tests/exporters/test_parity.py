from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from small_models import linear_model, linear_weights, photographs
from torch import Tensor, nn

from hashkit.errors import ConfigError
from hashkit.exporters import parity
from hashkit.exporters.parity import ParityReport, allowed_difference
from hashkit.exporters.torch_model import ModuleSource
from hashkit.runtimes.backends.onnxruntime_session import OnnxRuntimeSession

HEIGHT, WIDTH, N_BITS = 4, 5, 12


def verify(model: nn.Module, *arguments: Any, **settings: Any) -> ParityReport:
    return parity.verify(ModuleSource(model), *arguments, **settings)


class Linear(nn.Module):
    """`linear_model` in torch; ``offset`` is added to every logit."""

    def __init__(self, offset: float = 0.0) -> None:
        super().__init__()
        self.weights = torch.from_numpy(linear_weights(HEIGHT * WIDTH * 3, N_BITS))
        self.offset = offset
        self.largest_batch = 0

    def forward(self, images: Tensor) -> Tensor:
        self.largest_batch = max(self.largest_batch, len(images))
        return (images.flatten(1).float() - 127.5) @ self.weights + self.offset


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return linear_model(tmp_path / "m.onnx", height=HEIGHT, width=WIDTH, n_bits=N_BITS)


def test_equal_models_pass_exactly(path: Path) -> None:
    images = photographs(70, HEIGHT, WIDTH)
    report = verify(Linear(), path, images)
    assert report.passed
    assert report.n_images == 70
    assert report.batch_sizes == (1, 3, 64)
    # The weights are multiples of 1/64 and the pixels of 1/2: both sums are exact.
    assert report.largest_difference == report.largest_batch_difference == 0
    assert (report.n_flipped_bits, report.largest_flipped_logit) == (0, 0)


def test_few_images_are_repeated_to_fill_the_largest_batch(path: Path) -> None:
    model = Linear()
    report = verify(model, path, photographs(5, HEIGHT, WIDTH))
    assert model.largest_batch == 64
    assert report.n_images == 5


def test_flips_and_differences_are_measured(path: Path) -> None:
    images = photographs(64, HEIGHT, WIDTH)
    with torch.inference_mode():
        logits = Linear()(torch.from_numpy(images)).numpy()
    offset = 300.0
    n_flipped = int(((logits > 0) != (logits + offset > 0)).sum())
    flipped = ((logits > 0) != (logits + offset > 0)).nonzero()
    assert n_flipped > 0

    report = verify(Linear(offset), path, images, batch_sizes=(1, 64))

    assert not report.passed
    assert report.largest_difference == offset
    assert report.n_flipped_bits == 2 * n_flipped, "once for each batch size"
    assert report.largest_flipped_logit == np.abs(logits + offset)[flipped].max()
    assert f"{2 * n_flipped} bits flipped" in report.summary()


def test_result_depends_on_the_tolerance(path: Path) -> None:
    images = photographs(64, HEIGHT, WIDTH)
    scale = verify(Linear(0.5), path, images).largest_logit
    within = verify(Linear(0.5), path, images, absolute_tolerance=0.5, relative_tolerance=0)
    assert within.tolerance == 0.5
    assert within.passed
    beyond = verify(Linear(0.5), path, images, absolute_tolerance=0.49, relative_tolerance=0)
    assert not beyond.passed
    relative = verify(
        Linear(0.5), path, images, absolute_tolerance=0, relative_tolerance=0.51 / scale
    )
    assert relative.passed


def test_small_logits_get_a_small_tolerance() -> None:
    assert allowed_difference(1.0) == pytest.approx(1.1e-4)
    assert allowed_difference(100.0) == pytest.approx(1e-4 + 1e-3)
    # A network whose logits are all within 1e-4 of 0 must not pass as another such network.
    assert allowed_difference(1e-4) == pytest.approx(1.1e-8)
    assert allowed_difference(0.0) == 0.0


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_logits_that_are_not_finite_fail(path: Path, bad: float) -> None:
    report = verify(Linear(bad), path, photographs(64, HEIGHT, WIDTH))
    assert not report.passed
    assert report.n_not_finite == 64 * N_BITS
    assert "NaN or infinite" in report.summary()
    assert report.to_dict()["largest_difference"] is None


def test_wrong_packing_fails(tmp_path: Path) -> None:
    reversed_bits = [1, 2, 4, 8, 16, 32, 64, 128]
    path = linear_model(tmp_path / "m.onnx", bit_values=reversed_bits)
    report = verify(Linear(), path, photographs(64, HEIGHT, WIDTH))
    assert report.largest_difference == 0
    assert report.n_packing_errors > 0
    assert not report.passed
    assert "do not match" in report.summary()


@pytest.mark.parametrize("odd_batch", [1, 3, 64])
def test_outputs_that_depend_on_the_batch_size_fail(
    path: Path, monkeypatch: pytest.MonkeyPatch, odd_batch: int
) -> None:
    class Unstable(OnnxRuntimeSession):
        def run(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
            codes, logits = super().run(images)
            return codes, logits + np.float32(0.25 if len(images) == odd_batch else 0)

    monkeypatch.setattr(parity, "OnnxRuntimeSession", Unstable)
    report = verify(Linear(), path, photographs(66, HEIGHT, WIDTH), absolute_tolerance=0.1)
    assert report.largest_difference == report.largest_batch_difference == 0.25
    assert not report.passed
    only_batches = dataclasses.replace(report, largest_difference=0.0, n_flipped_bits=0)
    assert not dataclasses.replace(only_batches, largest_flipped_logit=0.0).passed
    assert "2.5e-01" in only_batches.summary()


@pytest.mark.parametrize("batch_sizes", [(), (0,), (3, -1)])
def test_nothing_to_compare_is_refused(path: Path, batch_sizes: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="batch sizes"):
        verify(Linear(), path, photographs(3, HEIGHT, WIDTH), batch_sizes)
    with pytest.raises(ConfigError, match="0 images"):
        verify(Linear(), path, photographs(1, HEIGHT, WIDTH)[:0])


class Cancelling(nn.Module):
    """Subtracts nearly equal numbers, and multiplies what is left."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("third", torch.tensor(1 / 3))

    def forward(self, images: Tensor) -> Tensor:
        pixels = images.flatten(1)[:, :12].to(self.third.dtype)
        return ((pixels + 1000) * self.third - 1000 * self.third) * 50


class OnlyFloat32(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(60, 12)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.linear(images.flatten(1).float())
        return logits


def test_the_rounding_error_of_a_network_is_measured() -> None:
    images = photographs(8, HEIGHT, WIDTH)
    with torch.inference_mode():
        expected = Cancelling()(torch.from_numpy(images)).numpy()
    exact = images.reshape(8, -1)[:, :12] * (50 * np.float64(np.float32(1 / 3)))
    found = parity._rounding(ModuleSource(Cancelling()), images, expected)
    assert found == pytest.approx(np.abs(exact - expected).max(), rel=1e-3)
    assert found > 1e-4
    assert parity._rounding(ModuleSource(OnlyFloat32()), images, expected) == 0


@pytest.mark.parametrize(("rounding", "tolerance"), [(0.0, 1e-4), (5e-5, 4e-4), (1.0, 1e-3)])
def test_a_network_that_rounds_more_is_allowed_more(
    path: Path, monkeypatch: pytest.MonkeyPatch, rounding: float, tolerance: float
) -> None:
    monkeypatch.setattr(parity, "_rounding", lambda *_: rounding)
    report = verify(Linear(), path, photographs(4, HEIGHT, WIDTH), relative_tolerance=0)
    assert report.tolerance == tolerance
    assert report.rounding == rounding
