"""Networks with layers that are unused, shared, frozen, lazy or random: saved, resumed, loaded."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from trainer_samples import assert_same_checkpoints, stop_after
from training_samples import add_network, digit_data, settings, trainer

from hashkit.errors import CheckpointError, TrainingError
from hashkit.runs.checkpoint_weights import check_weights
from hashkit.training.checkpoint import load_model, read_checkpoint, weights_sha256
from hashkit.training.networks import NetworkKind
from hashkit.training.networks.base import Network
from hashkit.training.networks.wrapped import Wrapped

pytestmark = pytest.mark.end_to_end


class Odd(nn.Module):
    """A small body; subclasses add what is odd."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 3)
        self.norm = nn.BatchNorm2d(8)

    def forward(self, images: Tensor) -> Tensor:
        return self.norm(self.convolution(images)).relu().mean((2, 3))


class Unused(Odd):
    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Linear(8, 4)


class Frozen(Odd):
    def __init__(self) -> None:
        super().__init__()
        self.convolution.weight.requires_grad_(False)


class Shared(Odd):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 8, bias=False)
        self.second = nn.Linear(8, 8, bias=False)
        self.second.weight = self.first.weight
        self.register_buffer("ones", torch.ones(6))
        self.register_buffer("few", self.ones[:3])

    def forward(self, images: Tensor) -> Tensor:
        return self.second(self.first(super().forward(images)).relu())


class RandomBuffer(Odd):
    """Mixes channels by values that are drawn when it is built and never saved."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mix", torch.randn(8, 8), persistent=False)
        self.plain = torch.randn(8)

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) @ self.mix + self.plain


class Lazy(Odd):
    def __init__(self) -> None:
        super().__init__()
        self.lazy = nn.LazyLinear(8)

    def forward(self, images: Tensor) -> Tensor:
        return self.lazy(super().forward(images))


class MadeInForward(Odd):
    def forward(self, images: Tensor) -> Tensor:
        features = super().forward(images)
        if not hasattr(self, "late"):
            self.late = nn.Linear(features.shape[1], 8)
        return self.late(features)


class LaterUsed(Odd):
    """A layer that has its first gradient in the middle of the training."""

    def __init__(self) -> None:
        super().__init__()
        self.later = nn.Linear(8, 8)
        self.n_calls = 0

    def forward(self, images: Tensor) -> Tensor:
        features = super().forward(images)
        self.n_calls += self.training and torch.is_grad_enabled()
        return self.later(features) if self.n_calls > 5 else features


class OwnNetwork(Network):
    """A network with a lazy layer that is used without a wrapper."""

    n_features = 8

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.LazyConv2d(8, 3), nn.LazyBatchNorm2d(), nn.ReLU())

    def forward(self, images: Tensor) -> Tensor:
        return self.body(images).mean((2, 3))

    def stages(self) -> Sequence[nn.Module]:
        return [self.body]


def build(body: type[nn.Module]) -> Network:
    made = body()
    if isinstance(made, Network):
        return made
    return Wrapped(made, name="odd", size=(8, 8), any_size=True, dropout=0.0)


def add(monkeypatch: pytest.MonkeyPatch, body: type[nn.Module]) -> None:
    add_network(monkeypatch, "odd", NetworkKind("for tests", lambda *_: build(body)))


KINDS = [Unused, Frozen, Shared, RandomBuffer, Lazy, MadeInForward, OwnNetwork]


@pytest.mark.parametrize("optimiser", ["sgd", "muon"])
@pytest.mark.parametrize("body", KINDS, ids=lambda body: body.__name__)
def test_a_stopped_run_resumes_to_the_same_bytes(tmp_path, monkeypatch, body, optimiser) -> None:
    add(monkeypatch, body)
    config = settings(network="odd", keep_snapshots=1, optimiser=optimiser, steps=8)
    data = digit_data(config)
    trainer(config, data, tmp_path / "whole").fit()
    trainer(config, data, tmp_path / "run").fit(should_stop=stop_after(4))
    second = trainer(config, data, tmp_path / "run")
    assert second.resume() == 4
    second.fit()
    assert_same_checkpoints(tmp_path / "run", tmp_path / "whole")


@pytest.mark.parametrize("body", KINDS, ids=lambda body: body.__name__)
def test_a_saved_model_gives_the_logits_of_the_trained_one(tmp_path, monkeypatch, body) -> None:
    add(monkeypatch, body)
    config = settings(network="odd", steps=4)
    data = digit_data(config)
    one = trainer(config, data, tmp_path / "run")
    one.fit()
    images = data.pixels.batch(np.arange(40))
    torch.manual_seed(99)  # what was drawn before does not matter
    loaded = load_model(one.run.snapshots()[-1][1]).model
    with torch.inference_mode():
        expected = one.learner.model.eval()(images)
        assert torch.equal(loaded(images), expected)


def test_a_layer_that_is_used_later_goes_on_without_momentum(tmp_path, monkeypatch) -> None:
    add(monkeypatch, LaterUsed)
    config = settings(network="odd", steps=8, snapshot_steps=4, keep_snapshots=0)
    one = trainer(config, digit_data(config), tmp_path / "run")
    one.fit()
    first, second = (read_checkpoint(path) for _, path in one.run.snapshots())
    late = ["model.network.body.later.weight", "model.network.body.later.bias"]
    assert first.state["without_momentum"] == late
    assert second.state["without_momentum"] == []
    assert set(late) <= set(second.optimiser)


def test_a_snapshot_of_a_network_with_other_layers_is_refused(tmp_path, monkeypatch) -> None:
    add(monkeypatch, Unused)
    config = settings(network="odd", steps=8)
    one = trainer(config, digit_data(config), tmp_path / "run")
    one.fit(should_stop=stop_after(4))
    add(monkeypatch, Frozen)  # which has no layer "unused"
    with pytest.raises(CheckpointError, match="expected the tensors of the network that was"):
        trainer(config, digit_data(config), tmp_path / "run").resume()
    with pytest.raises(CheckpointError, match="expected the tensors of the network that was"):
        load_model(one.run.snapshots()[-1][1])


class Half(Odd):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("half_values", torch.tensor([1.0, -2.5]).bfloat16())
        self.register_buffer("one_value", torch.tensor(2.0).bfloat16())


def test_weights_in_bfloat16_have_a_digest(tmp_path, monkeypatch) -> None:
    add(monkeypatch, Half)
    config = settings(network="odd", steps=4)
    one = trainer(config, digit_data(config), tmp_path / "run")
    one.fit()
    path = one.run.snapshots()[-1][1]
    checkpoint = read_checkpoint(path)
    assert check_weights(path) == checkpoint.manifest.weights_sha256
    assert checkpoint.model["network.body.half_values"].tolist() == [1.0, -2.5]
    whole = torch.tensor([1, 2], dtype=torch.int16)
    digests = {weights_sha256({"w": one}) for one in (whole, whole.view(torch.bfloat16))}
    assert len(digests) == 2


# Divergence


class Exploding(Odd):
    """Weights become NaN after some steps, without a report of the loss in between."""

    def __init__(self) -> None:
        super().__init__()
        self.n_calls = 0

    def forward(self, images: Tensor) -> Tensor:
        features = super().forward(images)
        self.n_calls += self.training and torch.is_grad_enabled()
        return features * torch.nan if self.n_calls > 7 else features


@pytest.mark.parametrize("holdout", [0.0, 0.2])
def test_nan_weights_are_never_saved(tmp_path, monkeypatch, holdout) -> None:
    add(monkeypatch, Exploding)
    config = settings(network="odd", steps=100, snapshot_steps=3, display_steps=50, holdout=holdout)
    one = trainer(config, digit_data(config), tmp_path / "run")
    with pytest.raises(TrainingError, match="weights are NaN or infinite at step") as caught:
        one.fit()
    assert "\n" not in str(caught.value)
    assert "snapshots up to step 6 are kept" in str(caught.value)
    assert [step for step, _ in one.run.snapshots()] == [3, 6]
    paths = [path for _, path in one.run.snapshots()] + [one.run.best_path] * bool(holdout)
    for path in paths:
        assert all(value.isfinite().all() for value in read_checkpoint(path).model.values())
