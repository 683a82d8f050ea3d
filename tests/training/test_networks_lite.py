"""The EfficientNet-Lite networks, with their published weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from network_samples import build, noise, rule_of, sample_images
from torch import nn
from training_samples import trainer

from hashkit.runtimes.lite_weights import LITE_VARIANTS, find_variant, lite_weights
from hashkit.training.data import MemoryPixels, TrainingData
from hashkit.training.networks import efficientnet_lite
from hashkit.training.networks.efficientnet_lite import imagenet_weights
from hashkit.workflow.settings import make_config

# Indices of the classes among the 1,000 of ImageNet, the same in all libraries. The flower is a
# dahlia, which has none: EfficientNet-Lite2 finds its centre most like a honeycomb.
PALACE, DAISY, HONEYCOMB = 698, 985, 599

pytestmark = [pytest.mark.end_to_end, pytest.mark.usefixtures("timm_and_torchvision")]


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


@pytest.mark.end_to_end
@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("efficientnet-lite1", 64),
        pytest.param("efficientnet-lite1", 192, marks=pytest.mark.slow),
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
