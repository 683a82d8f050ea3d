"""Saved and exported models have the statistics of the training images, whatever came before."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from training_samples import digit_data, settings, trainer

from hashkit.training.checkpoint import read_checkpoint
from hashkit.training.model import HashModel
from hashkit.training.networks.own import Wrapped
from hashkit.training.scoring import Scorer
from hashkit.training.statistics import refresh_layers, refresh_standardisation

pytestmark = pytest.mark.usefixtures("tiny_network")

ROWS = np.arange(300)
PIXELS = np.random.default_rng(0).integers(0, 256, (300, 8, 8, 3), np.uint8)


def images_of(rows: np.ndarray) -> Tensor:
    return torch.from_numpy(PIXELS[rows])


def model_of(
    body: nn.Module, *, lengths: tuple[int, ...] = (12,), mirror: bool = False
) -> HashModel:
    network = Wrapped(body, name="own", size=(8, 8), any_size=True, dropout=0.5)
    return HashModel(
        network,
        lengths=lengths,
        size=(8, 8),
        mean=torch.full((3, 1, 1), 120.0),
        std=torch.full((3, 1, 1), 70.0),
        standardise=True,
        mirror=mirror,
    )


def deep() -> nn.Module:
    """Ten layers, whose errors multiply."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for number in range(10):
        convolution = nn.Conv2d(3 if number == 0 else 8, 8, 3, padding=1, bias=False)
        layers += [convolution, nn.BatchNorm2d(8), nn.ReLU()]
    return nn.Sequential(*layers)


def refresh(model: HashModel, rows: np.ndarray = ROWS) -> np.ndarray:
    def outputs(chosen: np.ndarray) -> list[Tensor]:
        return model.unstandardised(images_of(chosen))

    refresh_layers(model, outputs, rows)
    return refresh_standardisation(model, outputs, rows)


def logits_of(model: HashModel) -> np.ndarray:
    with torch.inference_mode():
        return model.eval()(images_of(ROWS)).numpy()


def assert_standardised(logits: np.ndarray, tolerance: float = 1e-3) -> None:
    np.testing.assert_allclose(logits.mean(0), 0, atol=tolerance)
    np.testing.assert_allclose(logits.std(0), 1, atol=tolerance)


@pytest.mark.parametrize("mirror", [False, True])
def test_logits_are_standardised_over_the_images(mirror: bool) -> None:
    model = model_of(deep(), lengths=(12, 5), mirror=mirror)
    assert logits_of(model).std(0).max() < 0.5, "there is nothing to correct"
    logits = refresh(model)
    assert_standardised(logits)
    np.testing.assert_allclose(logits_of(model), logits, atol=1e-4)
    assert not model.training


@pytest.mark.parametrize("scale", [0.2, 1.0, 1e4])
def test_small_and_large_outputs_are_standardised_too(scale: float) -> None:
    model = model_of(deep())
    with torch.no_grad():
        model.heads[0].linear.weight.mul_(scale)
        model.heads[0].linear.bias.zero_()
    refresh(model)
    assert_standardised(logits_of(model), tolerance=0.01)


def test_a_constant_output_stays_constant() -> None:
    model = model_of(deep())
    with torch.no_grad():
        model.heads[0].linear.weight[3].zero_()
    logits = refresh(model)
    assert np.isfinite(logits).all()
    assert np.abs(logits[:, 3]).max() < 1e-2


def test_a_layer_gets_the_mean_and_variance_of_its_inputs() -> None:
    model = model_of(nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 8, 3)))
    refresh(model)
    inputs = (PIXELS.astype(np.float64) - 120) / 70
    norm = model.network.body[0]
    np.testing.assert_allclose(norm.running_mean, inputs.mean((0, 1, 2)), atol=1e-5)
    np.testing.assert_allclose(norm.running_var, inputs.var((0, 1, 2)), rtol=2e-3)


def test_earlier_statistics_and_sorted_images_do_not_matter() -> None:
    model = model_of(deep())
    expected = refresh(model)
    for layer in model.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.running_mean.fill_(7)
            layer.running_var.fill_(100)
    np.testing.assert_array_equal(refresh(model), expected)
    ordered = np.argsort(PIXELS.mean((1, 2, 3)))
    np.testing.assert_allclose(refresh(model, ordered)[np.argsort(ordered)], expected, atol=0.2)


class Partly(nn.Module):
    """A network with a layer that it does not use, and one that it never trains."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        self.fixed = nn.BatchNorm2d(8)
        self.unused = nn.BatchNorm2d(8)
        self.batch = nn.BatchNorm2d(8, track_running_stats=False)

    def train(self, mode: bool = True) -> Partly:
        super().train(mode)
        self.fixed.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        return self.batch(self.fixed(self.body(images)))


def test_frozen_unused_and_fixed_layers_keep_their_statistics() -> None:
    model = model_of(Partly())
    body = model.network.body
    for layer in (body.fixed, body.unused):
        layer.running_mean.fill_(0.5)
        layer.num_batches_tracked.fill_(9)
    before = [
        {k: v.clone() for k, v in one.state_dict().items()} for one in (body.fixed, body.unused)
    ]
    refresh(model)
    for layer, state in zip((body.fixed, body.unused), before, strict=True):
        assert all(torch.equal(value, state[name]) for name, value in layer.state_dict().items())
    assert body.body[1].running_mean.abs().max() > 0
    assert all(one.momentum == 0.1 for one in (body.body[1], body.unused))

    frozen = model_of(deep())
    frozen.freeze(1)
    refresh(frozen)
    norms = [one for one in frozen.modules() if isinstance(one, nn.BatchNorm2d)]
    assert norms[0].num_batches_tracked == 0
    assert norms[1].num_batches_tracked > 0


def test_nothing_random_is_used() -> None:
    model = model_of(nn.Sequential(deep(), nn.Dropout(0.5)))
    torch.manual_seed(3)
    state = torch.get_rng_state()
    first = refresh(model)
    assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_array_equal(refresh(model), first)


# Training


def saved_logits(path, data) -> np.ndarray:
    """Logits of the images to train on, with the model of a checkpoint."""
    from hashkit.training.checkpoint import load_model

    model = load_model(path).model
    with torch.inference_mode():
        return model(data.pixels.batch(data.fit_rows())).numpy()


@pytest.mark.end_to_end
@pytest.mark.parametrize("changes", [{}, {"lengths": (12, 5)}, {"freeze": -1}, {"freeze": 1}])
def test_every_checkpoint_of_a_training_has_standardised_logits(tmp_path, changes) -> None:
    config = settings(keep_snapshots=0, **changes)
    data = digit_data(config)
    one = trainer(config, data, tmp_path / "run")
    one.fit()
    paths = [one.run.best_path, *(path for _, path in one.run.snapshots())]
    assert len(paths) == 5
    for path in paths:
        assert_standardised(saved_logits(path, data), tolerance=0.02)


@pytest.mark.end_to_end
def test_scores_and_snapshots_do_not_change_the_course_of_a_training(tmp_path) -> None:
    states = []
    for number, changes in enumerate(
        ({"snapshot_steps": 2, "validate_epochs": 1}, {"snapshot_steps": 500, "validate_epochs": 9})
    ):
        config = settings(**changes)
        one = trainer(config, digit_data(config), tmp_path / str(number))
        one.fit()
        states.append(read_checkpoint(one.run.snapshots()[-1][1]))
    first, second = states
    assert set(first.model) == set(second.model)
    for name, value in first.model.items():
        assert torch.equal(value, second.model[name]), name
    for name, value in first.optimiser.items():
        assert torch.equal(value, second.optimiser[name]), name


@pytest.mark.end_to_end
def test_the_score_is_that_of_the_saved_model(tmp_path) -> None:
    from hashkit.training.checkpoint import load_model
    from hashkit.training.selection import held_out_score

    config = settings(augmentation="shift-flip", mirror=True)
    data = dataclasses.replace(digit_data(config), dataset="photographs")
    one = trainer(config, data, tmp_path / "run")
    result = one.fit()
    model = load_model(one.run.best_path).model
    assert model.mirror

    @torch.inference_mode()
    def encode(rows: np.ndarray) -> np.ndarray:
        return model(data.pixels.batch(rows)).numpy()

    assert held_out_score(encode, data, config.lengths) == pytest.approx(
        result.best_score, abs=1e-3
    )


def test_statistics_are_computed_once_for_the_same_weights(tmp_path, monkeypatch) -> None:
    config = settings()
    one = trainer(config, digit_data(config), tmp_path / "run")
    n_calls = 0
    outputs = Scorer._outputs

    def counted(self, rows):
        nonlocal n_calls
        n_calls += 1
        return outputs(self, rows)

    monkeypatch.setattr(Scorer, "_outputs", counted)
    one.scorer.refresh()
    once = n_calls
    one.scorer.refresh()
    one.scorer.refresh(4)
    assert n_calls == once
    one.scorer.forget()
    one.scorer.refresh(4)
    assert n_calls > once
