"""The arguments of `hashkit.train`: names, types and values."""

from __future__ import annotations

import inspect
import json
import re

import numpy as np
import pytest
from cli_samples import COMMANDS
from looped import looped
from own_training import FEW

from hashkit.errors import (
    ConfigError,
)
from hashkit.runs.config import SHORT_NAMES, TrainConfig
from hashkit.workflow.train import train


def test_every_flag_of_the_command_is_an_argument():
    arguments = set(inspect.signature(train).parameters) | {
        SHORT_NAMES.get(name, name)
        for name in TrainConfig.__dataclass_fields__
        if name not in ("height", "width")
    }
    flags = {flag[2:].replace("-", "_") for p in COMMANDS["train"].params for flag in p.opts}
    elsewhere = {"resume", "run", "list_recipes", "json", "help", "limit"}
    elsewhere |= {"log"}  # the names among `loggers`, which may also be objects
    others = {"loggers", "reporter", "should_stop", "settings"}
    assert flags - elsewhere == arguments - others


@looped(
    ("name", "nearest"),
    [("learning_rat", "learning_rate"), ("epoch", "epochs"), ("bit", "bits"), ("heigth", None)],
)
def test_an_unknown_setting_names_the_nearest_one(tmp_path, name, nearest):
    with pytest.raises(TypeError) as caught:
        train(runs=tmp_path, **{name: 3})
    message = str(caught.value)
    assert message.startswith(f"train() got an unknown setting {name!r}")
    assert f"did you mean {nearest}?" in message or nearest is None
    assert list(tmp_path.iterdir()) == []


def test_height_and_width_are_given_as_the_size(tmp_path):
    with pytest.raises(TypeError, match=r"setting 'height': the setting is size=\(height, width\)"):
        train(runs=tmp_path, height=8)


@pytest.mark.parametrize("twice", [{"bits": 8, "lengths": (8,)}, {"lr": 0.1, "learning_rate": 0.1}])
def test_a_setting_is_given_once(tmp_path, twice):
    with pytest.raises(TypeError, match=r"same setting|twice"):
        train(runs=tmp_path, **twice)


@looped(
    ("arguments", "message"),
    [
        ({"name": "a/b"}, "^`name` must name one folder below"),
        ({"seed": -1}, "^`seed` must be between 0"),
        ({"loss": "odd"}, "^unknown loss 'odd'"),
        ({"recipe": "odd"}, "^unknown recipe 'odd'"),
        ({"training_list": "a.txt"}, "`training_list` needs `query_list`"),
        ({"num_workers": 0}, "^`num_workers` must be at least 1, not 0$"),
        ({"split_seed": -1}, "^`split_seed` must be 0 or more, not -1$"),
        ({"bits": 0}, "^`bits` must be between 1 and"),
        ({"bits": (8, 8)}, "^`bits` must be one or more different numbers, not 8,8$"),
        ({"size": 4}, "^`size` must be between 8 and 4096, not 4$"),
        ({"size": (8, 9.5)}, "^`size` must be a whole number, not 9.5$"),
        ({"lr": -1}, "^`lr` must be above 0, not -1$"),
        ({"learning_rate": -1}, "^`learning_rate` must be above 0, not -1$"),
        ({"momentum": 0}, "^`nesterov=True` needs a `momentum` above 0"),
    ],
)
def test_a_wrong_argument_is_an_error_that_speaks_of_arguments(tmp_path, arguments, message):
    with pytest.raises(ConfigError, match=message):
        train(runs=tmp_path, **(FEW | arguments))
    assert list(tmp_path.iterdir()) == []


@looped(
    ("name", "value", "message"),
    [
        ("bits", "48", "`bits` must be a whole number, or several, not '48'"),
        ("bits", 48.0, "`bits` must be a whole number, or several, not 48.0"),
        ("bits", ["8", "16"], "`bits` must be a whole number, not ('8', '16')"),
        ("bits", True, "`bits` must be a whole number, or several, not True"),
        ("size", "64", "`size` must be a whole number or (height, width), not '64'"),
        ("size", (8,), "`size` must be a whole number or (height, width), not (8,)"),
        ("batch_size", 8.0, "`batch_size` must be a whole number, not 8.0"),
        ("seed", "1", "`seed` must be a whole number, not '1'"),
        ("epochs", None, "`epochs` must be a number, not None"),
        ("pretrained", "no", "`pretrained` must be True or False, not 'no'"),
        ("milestones", 0.5, "`milestones` must be several numbers, not 0.5"),
        ("loss", 3, "`loss` must be a text, not 3"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_before_a_run_is_made(tmp_path, name, value, message):
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        train(runs=tmp_path, **FEW | {name: value})
    assert list(tmp_path.iterdir()) == []


def test_numbers_of_numpy_are_numbers():
    config = TrainConfig(
        lengths=(np.int64(8),), steps=np.int32(2), gamma=np.float32(0.5), nesterov=np.True_
    )
    assert (config.lengths, config.steps, config.gamma, config.nesterov) == ((8,), 2, 0.5, True)
    json.dumps(config.to_dict())
