from __future__ import annotations

import numpy as np
import pytest
import torch
from looped import looped
from numpy.typing import NDArray

from hashkit.errors import CheckpointError
from hashkit.features.head import head_from_tensors
from hashkit.runs.config import TrainConfig
from hashkit.training.model import new_model

RNG = np.random.default_rng(0)
FEATURES = RNG.standard_normal((50, 20)).astype(np.float32) * 3 + 1


def trained(
    hidden: int, standardise: bool
) -> tuple[torch.nn.Module, dict[str, NDArray[np.float32]]]:
    """A model of torch on features, with statistics of its layers, and its tensors."""
    config = TrainConfig(
        network="onnx:tiny", freeze=-1, hidden=hidden, standardise=standardise, lengths=(12,)
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = new_model(config, torch.arange(20.0) / 7, torch.full((20,), 2.5), dataset="a")
        for _ in range(5):
            model(torch.from_numpy(FEATURES))
    model.eval()
    tensors = {name: value.numpy() for name, value in model.state_dict().items()}
    return model, tensors


@looped("hidden", [0, 7])
@looped("standardise", [False, True])
def test_a_head_gives_the_logits_of_the_model_that_torch_trained(
    hidden: int, standardise: bool
) -> None:
    model, tensors = trained(hidden, standardise)
    head = head_from_tensors(tensors)
    with torch.inference_mode():
        expected = model(torch.from_numpy(FEATURES)).numpy()
    np.testing.assert_allclose(head(FEATURES), expected, rtol=1e-4, atol=1e-5)
    assert (head.n_features, head.n_bits) == (20, 12)


@looped("name", ["mean", "std", "heads.0.linear.weight", "heads.0.norm.running_var"])
def test_missing_tensors_are_named(name: str) -> None:
    _, tensors = trained(7, True)
    del tensors[name]
    with pytest.raises(CheckpointError, match="expected the tensors of a head on features"):
        head_from_tensors(tensors)


WRONG: list[tuple[str, NDArray[np.generic], str]] = [
    ("mean", np.zeros(3, np.float32), r"std \[3\], found it \[20\]"),
    ("mean", np.zeros((3, 5), np.float32), r"mean \[15\], found it \[3, 5\]"),
    ("std", np.float32(1), r"std \[1\], found it \[\]"),
    ("std", np.zeros(20, np.float32), "NaN or infinite weights in heads.0.linear"),
    ("heads.0.linear.bias", np.zeros(1, np.float32), r"weight \[1, 20\], found it \[12, 20\]"),
    ("heads.0.linear.bias", np.zeros((), np.float32), r"bias \[1\], found it \[\]"),
    ("heads.0.linear.weight", np.zeros((20, 12), np.float32), r"\[12, 20\], found it \[20, 12\]"),
    ("heads.0.linear.weight", np.zeros((12, 20, 2), np.float32), r"found it \[12, 20, 2\]"),
    ("heads.0.linear.weight", np.zeros((12, 20), np.int32), "linear.weight of int32"),
    ("heads.0.linear.weight", np.full((12, 20), np.nan, np.float32), "NaN or infinite weights"),
    ("heads.0.linear.weight", np.full((12, 20), 1e300), "NaN or infinite weights"),
    ("standardise.0.running_var", np.full(12, -1, np.float32), "NaN or infinite weights"),
    ("standardise.0.running_var", np.ones(1, np.float32), r"running_var \[12\], found it \[1\]"),
]


@looped(("name", "values", "message"), WRONG)
def test_tensors_that_do_not_fit_are_named(
    name: str, values: NDArray[np.float32], message: str
) -> None:
    _, tensors = trained(0, True)
    with pytest.raises(CheckpointError, match=message) as caught:
        head_from_tensors(tensors | {name: values})
    assert str(caught.value).startswith("expected the tensors of a head on features, ")
    assert str(caught.value).endswith(": train a new run")
