"""Networks that tests build, with images to run them on."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.datasets import load_sample_images
from small_models import photographs
from torch import nn

from hashkit.codes import binarize
from hashkit.manifest import Manifest
from hashkit.preprocess import load
from hashkit.training.model import HashModel, input_statistics
from hashkit.training.networks import build_network, find_network


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


def is_one_line(error):
    return "\n" not in str(error.value)


def check_export(name, path, *, pretrained=False):
    """Export a hash model of a network, and compare its codes and logits with torch's."""
    from hashkit.exporters.onnx_export import export_onnx
    from hashkit.runtimes.backends.onnxruntime_session import OnnxRuntimeSession

    size = (64, 64)
    images = photographs(16, *size)
    network = build(name)
    network = build(name, pretrained=pretrained)
    mean, std = input_statistics(images, rule_of(name, pretrained=pretrained))
    model = HashModel(network, lengths=(12,), size=size, mean=mean, std=std, standardise=True)
    part = model.standardise if pretrained else model
    learn_statistics(model, torch.from_numpy(images), part)
    report = export_onnx(model, Manifest(12, *size, network=name), path, images=images)

    assert report.parity.passed
    with torch.inference_mode():
        expected = model(torch.from_numpy(images)).numpy()
    codes, logits = OnnxRuntimeSession(path, "cpu").run(images)
    np.testing.assert_allclose(logits, expected, rtol=0, atol=2e-4)
    np.testing.assert_array_equal(codes, binarize(logits))
    assert 0.2 < (expected > 0).mean() < 0.8, "the test needs bits of both values"
