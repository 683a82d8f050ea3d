from __future__ import annotations

import numpy as np
import pytest
from looped import looped

from hashkit.datasets.imageset import ImageSet
from hashkit.errors import ConfigError
from hashkit.runs.config import TrainConfig
from hashkit.runs.named_code import absolute_network, recorded_network, runs_own_code
from hashkit.workflow.embedders import open_embedder
from hashkit.workflow.recipe_choice import chosen_settings, odd_class_names
from hashkit.workflow.reporter import SILENT


@looped(
    "names",
    [
        ("2019", "2020", "2021"),
        ("2021-05 Rome", "2021-07", "2022-01-01 party"),
        ("Camera", "WhatsApp Images", "Screenshots"),
        ("100CANON", "101_PANA", "102APPLE"),
        ("backup", "old", "misc"),
        ("June", "july", "aug 2"),
        ("cats", "backup", "2021"),
    ],
)
def test_folders_named_by_date_or_origin_are_not_classes(names: tuple[str, ...]) -> None:
    assert odd_class_names(names)


@looped(
    "names",
    [
        ("cat", "dog", "horse"),
        ("0", "1", "2", "3", "9"),
        ("n01440764", "n01443537"),
        ("marsupial", "maypole", "juniper", "oldsmobile", "newt", "photosynthesis"),
        ("airplane", "automobile", "bird", "album cover"),
        ("007_cat", "008_dog"),
        (*(f"class{number}" for number in range(20)), "misc"),
    ],
)
def test_folders_with_other_names_are_classes(names: tuple[str, ...]) -> None:
    assert odd_class_names(names) == []


@looped(
    ("settings", "network", "recipe"),
    [
        ({"network": "timm:resnet18", "loss": "itq"}, "onnx:timm:resnet18", "unlabelled"),
        ({"network": "torchvision:alexnet", "recipe": "features"}, "onnx:torchvision:alexnet",
         "features"),
        ({"network": "efficientnet-lite1", "loss": "sh"}, "onnx:efficientnet-lite1", "unlabelled"),
        ({"network": "onnx:a.onnx", "loss": "sh"}, "onnx:a.onnx", "unlabelled"),
        ({"network": "timm:resnet18", "recipe": "best"}, "timm:resnet18", "best"),
        ({"network": "compact", "loss": "itq"}, "compact", "unlabelled"),
    ],
)  # fmt: skip
def test_a_network_of_torch_is_an_embedder_where_one_is_needed(
    settings: dict[str, str], network: str, recipe: str
) -> None:
    images = ImageSet("a", ["a"], pixels=np.zeros((1, 8, 8, 3), dtype=np.uint8))
    found = chosen_settings(settings, images, SILENT)
    assert (found["network"], found["recipe"]) == (network, recipe)


def test_an_exported_network_is_neither_a_file_nor_code() -> None:
    name = "onnx:timm:resnet50.a1_in1k"
    assert absolute_network(name) == recorded_network(name) == name
    assert not runs_own_code(name)
    assert absolute_network("onnx:timm.onnx").endswith("timm.onnx")
    assert absolute_network("onnx:timm.onnx") != "onnx:timm.onnx"
    config = TrainConfig(network=name, loss="itq", freeze=-1, preprocessing="imagenet")
    with pytest.raises(ConfigError, match=r"timm:resnet50\.a1_in1k has a preprocessing of its own"):
        open_embedder(config, None)
