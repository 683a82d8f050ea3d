"""Networks of torchvision."""

from __future__ import annotations

import urllib.error
from pathlib import Path

import pytest
import torch
from network_samples import build, is_one_line, learn_statistics, noise, rule_of
from torch import nn

from hashkit.errors import ConfigError, ModelError
from hashkit.training.networks.base import pooled

pytestmark = [pytest.mark.end_to_end, pytest.mark.usefixtures("timm_and_torchvision")]


@pytest.fixture
def torch_home(monkeypatch, tmp_path):
    """An empty torch cache, and no network."""

    def download(url, *_, **__):
        raise urllib.error.URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    checkpoints = tmp_path / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    return checkpoints


@pytest.mark.end_to_end
def test_torchvision_weights_in_the_cache_are_loaded(torch_home):
    from torchvision.models import ShuffleNet_V2_X0_5_Weights, get_model

    torch.manual_seed(7)
    whole = get_model("shufflenet_v2_x0_5").eval()
    file = Path(ShuffleNet_V2_X0_5_Weights.DEFAULT.url).name
    torch.save(whole.state_dict(), torch_home / file)
    network = build("torchvision:shufflenet_v2_x0_5", pretrained=True)
    images = noise(2, (64, 64))
    with torch.inference_mode():
        assert torch.equal(whole.fc(network(images)), whole(images))


def test_torchvision_weights_that_cannot_be_downloaded_are_a_one_line_error(torch_home):
    with pytest.raises(ModelError, match=r"resnet18-\w+.pth .*no network") as error:
        build("torchvision:resnet18", pretrained=True)
    assert f"{torch_home}, or train from scratch with `pretrained=False`" in str(error.value)
    assert is_one_line(error)


@pytest.mark.end_to_end
@pytest.mark.parametrize(
    ("name", "classifier", "n_features"),
    [
        ("resnet18", "fc", 512),
        ("squeezenet1_1", "classifier.1", 512),
        ("mobilenet_v3_small", "classifier.3", 1024),
        ("alexnet", "classifier.6", 4096),
    ],
)
def test_torchvision_features_are_those_before_the_last_layer(name, classifier, n_features):
    from torchvision.models import get_model

    network = build(f"torchvision:{name}")
    assert network.n_features == n_features
    whole = get_model(name).eval()
    missing = whole.load_state_dict(network.body.state_dict(), strict=False).missing_keys
    assert {key.rpartition(".")[0] for key in missing} == {classifier}
    seen = []
    whole.get_submodule(classifier).register_forward_pre_hook(
        lambda _, given: seen.append(given[0])
    )
    images = noise(2, (64, 64))
    with torch.inference_mode():
        whole(images)
        features = network(images)
    assert torch.allclose(pooled(seen[0]), features, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_inception_models_give_equal_features_with_weights_and_from_a_checkpoint(torch_home, name):
    from torchvision.models import get_model, get_model_weights

    weights = get_model_weights(name).DEFAULT
    torch.manual_seed(7)
    drawn = get_model(name, init_weights=False)
    learn_statistics(drawn, noise(2, (128, 128)))
    torch.save(drawn.state_dict(), torch_home / Path(weights.url).name)
    theirs = get_model(name, weights=weights).eval()
    theirs.fc = nn.Identity()

    network = build(f"torchvision:{name}", pretrained=True)
    rule = rule_of(f"torchvision:{name}")
    rebuilt = build(f"torchvision:{name}")
    rebuilt.load_state_dict(network.state_dict())
    pixels = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    images = (255 * pixels - torch.tensor(rule.mean).reshape(3, 1, 1)) / rule.std[0]
    usual = weights.transforms()
    mean, std = (torch.tensor(values).reshape(3, 1, 1) for values in (usual.mean, usual.std))
    with torch.inference_mode():
        features = network(images)
        assert torch.allclose(features, theirs((pixels - mean) / std), rtol=1e-3, atol=1e-4)
        assert torch.equal(features, rebuilt(images))
        assert not torch.allclose(*features, rtol=1e-3, atol=1e-4)
    assert network.train()(images).shape == (2, network.n_features)
    assert not [key for key in network.state_dict() if "aux" in key.lower()]


def test_torchvision_rules_follow_the_weights():
    efficient = rule_of("torchvision:efficientnet_v2_s")
    assert (efficient.size, efficient.resize) == ((384, 384), "crop-bilinear")
    swin = rule_of("torchvision:swin_v2_t")
    assert (swin.size, swin.resize) == ((256, 256), "crop-bicubic")
    assert swin.mean == pytest.approx((123.675, 116.28, 103.53))


def test_unknown_torchvision_names_suggest_others():
    with pytest.raises(ConfigError, match=r"no model 'resnet5'; similar names: .*resnet50"):
        build("torchvision:resnet5")
    with pytest.raises(
        ConfigError, match=r"weights of resnet50: resnet50.IMAGENET1K_V1, resnet50.I"
    ):
        build("torchvision:resnet50.V3")
