"""A model that cannot work is refused before it is traced."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from looped import looped
from numpy.typing import NDArray
from small_models import TinyHash
from torch import Tensor, nn

from hashkit.errors import ConfigError, ModelError
from hashkit.exporters import source_checks
from hashkit.exporters.source_checks import check_source
from hashkit.manifest import Manifest

MANIFEST = Manifest(12, 16, 16)
IMAGES = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), np.uint8)


class Giving(nn.Module):
    """A network that returns what a function makes of the images."""

    def __init__(self, make: object) -> None:
        super().__init__()
        self._make = make

    def forward(self, images: Tensor) -> object:
        return self._make(images)  # type: ignore[operator]


def check(model: nn.Module, images: NDArray[np.uint8] = IMAGES) -> None:
    check_source(model.eval(), MANIFEST, images)


def test_a_model_that_fits_passes() -> None:
    check(TinyHash(12))


@looped("value", [np.nan, np.inf, -np.inf])
@looped("name", ["features.0.weight", "features.1.bias", "features.8.weight"])
def test_weights_that_are_not_finite_are_named(name: str, value: float) -> None:
    model = TinyHash(12)
    with torch.no_grad():
        model.get_parameter(name).view(-1)[0] = value
    with pytest.raises(ModelError, match=f"NaN or infinite values in {name}: export an earlier"):
        check(model)


def test_statistics_that_are_nan_are_named_and_masks_of_infinity_are_not() -> None:
    model = TinyHash(12)
    model.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
    check(model)
    model.get_buffer("features.1.running_var")[0] = torch.nan
    with pytest.raises(ModelError, match=r"in features\.1\.running_var"):
        check(model)


def test_only_some_names_are_listed() -> None:
    model = TinyHash(12)
    with torch.no_grad():
        for values in model.parameters():
            values.fill_(torch.nan)
    n_parts = len(list(model.parameters()))
    with pytest.raises(ModelError, match=f"features.1.weight and {n_parts - 3} more"):
        check(model)


def divide(images: Tensor) -> Tensor:
    values = images.flatten(1).float()[:, :12]
    return values / (values - values[:, :1])


def fail(_: Tensor) -> Tensor:
    raise KeyError("no such\nlayer")


@looped(
    ("make", "message"),
    [
        (divide, r"found NaN or infinite ones for 16 of 16 images"),
        (fail, r"must take images uint8 \[16, 16, 16, 3\]; it failed: 'no such.nlayer'"),
        (lambda images: [images], r"give logits float32 \[16, 12\], not list"),
        (lambda images: images.flatten(1)[:, :12], r"not torch\.uint8 \[16, 12\]"),
        (lambda images: images.flatten(1)[:, :12].double(), r"not torch\.float64 \[16, 12\]"),
        (lambda images: images.flatten(1)[:, :7].float(), r"not torch\.float32 \[16, 7\]"),
    ],
)
def test_logits_that_are_wrong_are_refused(make: object, message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        check(Giving(make))
    assert str(caught.value).isprintable()


def test_weights_too_large_for_one_file_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = TinyHash(12)
    n_bytes = sum(values.nbytes for values in model.state_dict().values())
    monkeypatch.setattr(source_checks, "_MAX_BYTES", n_bytes)
    check(model)
    monkeypatch.setattr(source_checks, "_MAX_BYTES", n_bytes - 1)
    with pytest.raises(ModelError, match=f"found {n_bytes:,}: use a smaller network"):
        check(model)


@pytest.mark.parametrize("images", [IMAGES[:0], IMAGES[:, :8], IMAGES.astype(np.float32)])
def test_images_of_another_size_or_type_are_refused(images: NDArray[np.uint8]) -> None:
    with pytest.raises(ConfigError, match=r"must be uint8 \[m, 16, 16, 3\] with m > 0"):
        check(TinyHash(12), images)
