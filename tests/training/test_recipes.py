from __future__ import annotations

import dataclasses
import json

import pytest
from cli_samples import fail, succeed
from looped import looped
from training_samples import add_network

from hashkit.errors import ConfigError
from hashkit.runs.config import TrainConfig
from hashkit.runs.known_names import FITTED
from hashkit.training.losses import LOSSES, loss_options
from hashkit.training.networks import NETWORKS, InputRule, NetworkKind, find_network
from hashkit.training.recipes import RECIPES, describe_recipe, model_manifest, settings_of
from hashkit.workflow.settings import make_config


def without_size(config):
    values = config.to_dict()
    return {key: value for key, value in values.items() if key not in ("height", "width", "resize")}


@looped("name", RECIPES)
def test_every_recipe_gives_a_config_with_its_name(name):
    recipe = RECIPES[name]
    assert recipe.about
    assert recipe.config.recipe == name
    values, size = settings_of({"recipe": name})
    assert size == recipe.size
    assert TrainConfig.from_dict(values) == recipe.config
    assert without_size(make_config({"recipe": name}, (32, 32), None)) == without_size(
        recipe.config
    )


@looped("name", RECIPES)
def test_changes_override_a_recipe(name):
    changes = {"recipe": name, "epochs": 7.0, "seed": 5, "weight_decay": 0.125, "lengths": [24]}
    values, _ = settings_of(changes)
    expected = RECIPES[name].config.to_dict() | changes
    assert values == expected


def test_the_default_recipe():
    assert settings_of({}) == settings_of({"recipe": TrainConfig().recipe})


def test_the_defaults_of_the_settings_are_the_recipe_best():
    assert TrainConfig().recipe == "best"
    assert RECIPES["best"].config == TrainConfig()
    values, _ = settings_of({"recipe": "best"})
    assert TrainConfig.from_dict(values) == TrainConfig()


@looped("name", RECIPES)
def test_a_recipe_as_it_is_is_described_by_its_name(name):
    config = make_config({"recipe": name, "lengths": (12, 24), "seed": 3}, (40, 48), None)
    assert describe_recipe(config) == name


@looped(
    ("config", "text"),
    [
        (TrainConfig(epochs=50.0, calibrate=False), "best with calibrate=False, epochs=50"),
        (TrainConfig(loss="csq"), "best with loss=csq"),
        (TrainConfig(scale=8.0), "best with scale=8"),
        (TrainConfig(milestones=(0.25, 0.5)), "best with milestones=0.25/0.5"),
        (
            dataclasses.replace(RECIPES["unlabelled"].config, network="onnx:models/clip.onnx"),
            "unlabelled with network=onnx:clip.onnx",
        ),
        (TrainConfig(recipe="my own", epochs=2.0), "my own"),
        (TrainConfig(recipe="", epochs=2.0), ""),
    ],
)
def test_what_differs_from_a_recipe_is_described(config, text):
    assert describe_recipe(config) == text


def test_a_name_without_its_settings_is_described_by_all_that_differs():
    text = describe_recipe(TrainConfig(recipe="paper"))
    assert text.startswith("paper with network=compact, ")
    assert "loss=orthohash" in text


@looped("name", ["best", "paper"])
@looped("loss", ["orthohash", "triplet", "csq"])
def test_options_of_the_recipes_loss_are_dropped_with_another_loss(name, loss):
    values, _ = settings_of({"recipe": name, "loss": loss})
    config = TrainConfig.from_dict(values)
    own = RECIPES[name].config
    assert config.loss == loss
    assert config.loss_options == (own.loss_options if loss == own.loss else {})


def test_a_models_metadata_name_files_without_their_folders():
    config = TrainConfig(
        network="module:/own/code/nets.py:small", loss="module:/own/code/own.py:far"
    )
    manifest = model_manifest(
        config, dataset="digits", protocol="random", class_names=(), versions={}
    )
    assert (manifest.network, manifest.loss) == ("module:nets.py:small", "module:own.py:far")
    assert "network=module:nets.py:small, loss=module:own.py:far" in manifest.recipe
    assert "/own/code" not in json.dumps(manifest.to_dict())


def test_options_given_with_another_loss_are_kept():
    values, _ = settings_of({"recipe": "best", "loss": "triplet", "margin": 3.0})
    assert TrainConfig.from_dict(values).loss_options == {"margin": 3.0}


def test_an_option_of_only_the_recipes_loss_is_refused_with_another_loss():
    values, _ = settings_of({"recipe": "best", "loss": "triplet", "label_smoothing": 0.2})
    with pytest.raises(ConfigError, match="the loss triplet has no label_smoothing"):
        TrainConfig.from_dict(values)


def test_an_unknown_recipe_lists_the_known_ones():
    with pytest.raises(ConfigError) as caught:
        settings_of({"recipe": "unknown"})
    assert str(caught.value) == f"unknown recipe 'unknown'; known: {', '.join(RECIPES)}"
    assert "unknown recipe 'unknown'" in fail("train --recipe unknown")


# The input size


@looped(
    ("asked", "recipe_size", "network_size", "own_size", "expected"),
    [
        ((40, 48), (96, 96), (24, 24), (28, 28), (40, 48)),
        (None, (96, 96), (24, 24), (28, 28), (96, 96)),
        (None, None, (24, 24), (28, 28), (24, 24)),
        (None, None, None, (28, 28), (28, 28)),
        (None, None, None, None, (64, 64)),
    ],
)
def test_the_size_comes_from_flag_recipe_network_or_images(
    monkeypatch, asked, recipe_size, network_size, own_size, expected
):
    rule = InputRule(size=network_size, resize="stretch-bicubic")
    kind = NetworkKind("", lambda *_: None, lambda *_: rule)
    add_network(monkeypatch, "sized", kind)
    recipe = RECIPES["best"]
    sized = type(recipe)(recipe.about, recipe.config, recipe_size)
    monkeypatch.setitem(RECIPES, "best", sized)
    config = make_config({"network": "sized"}, asked, own_size)
    assert (config.height, config.width) == expected
    assert config.resize == "stretch-bicubic"
    given = make_config({"network": "sized", "resize": "crop-bicubic"}, asked, own_size)
    assert given.resize == "crop-bicubic"


# hashkit train --list-recipes


def test_the_list_as_json_has_every_name_and_setting():
    document = succeed("train --list-recipes --json").json
    assert list(document) == ["recipes", "networks", "losses", "methods"]
    assert list(document["recipes"]) == list(RECIPES)
    assert list(document["networks"]) == list(NETWORKS)
    assert list(document["losses"]) == [*LOSSES, "module"]
    for name, recipe in RECIPES.items():
        listed = document["recipes"][name]
        assert TrainConfig.from_dict(listed["settings"]) == recipe.config
        assert listed["about"] == recipe.about
        assert listed["size"] == (list(recipe.size) if recipe.size else None)
    assert document["methods"] == FITTED
    for name, kind in NETWORKS.items():
        assert document["networks"][name] == kind.about
    for name, loss in LOSSES.items():
        listed = document["losses"][name]
        assert listed["learns_from"] == loss.learns_from
        assert listed["options"] == json.loads(json.dumps(loss_options(name)))
        assert listed["about"]
        assert "\n\n" not in listed["about"]


def test_the_list_as_tables_has_every_name():
    shown = succeed("train --list-recipes").stdout
    tables = shown.split("Networks")
    assert len(tables) == 2
    for name in RECIPES:
        assert f" {name} " in tables[0]
    networks, losses = tables[1].split("Losses")
    for name, kind in NETWORKS.items():
        assert f" {name}:NAME " in networks if kind.takes_argument else f" {name} " in networks
    for name in LOSSES:
        assert f" {name} " in losses


def test_the_list_creates_no_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    succeed("train --list-recipes")
    assert list(tmp_path.iterdir()) == []


@looped("name", RECIPES)
def test_networks_of_recipes_are_known(name):
    assert find_network(RECIPES[name].config.network)


def test_a_network_that_cannot_be_built_leaves_no_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = fail("train --name deep --freeze 99")
    assert "freeze must be at most 4" in message
    assert not (tmp_path / "runs" / "deep").exists()


def test_no_name_is_cut_on_a_narrow_terminal(monkeypatch):
    for name, value in (("COLUMNS", "60"), ("FORCE_COLOR", "1"), ("NO_COLOR", "1")):
        monkeypatch.setenv(name, value)
    shown = succeed("train --list-recipes").stdout
    assert "…" not in shown
    assert all(f" {name} " in shown for name in (*RECIPES, *LOSSES, "dnnh-caffe", "timm:NAME"))
