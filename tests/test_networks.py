from __future__ import annotations

import numpy as np
import oracles_training as oracles
import pytest
import torch
from torch import nn

from hashkit.training.config import TrainConfig
from hashkit.training.model import HashModel, pixel_statistics
from hashkit.training.networks import NETWORKS
from hashkit.training.networks.layers import DivideAndEncode, piecewise_threshold
from hashkit.training.optimiser import build_optimiser, set_learning_rate

SIZES = [(8, 8), (9, 9), (11, 13)]

# The table of the Caffe implementation at 32x32: (kernel, channels, side) of convolutions,
# (kind, side) of pools, after which the dropouts follow.
CAFFE_LAYERS = [
    (5, 96, 32),
    (1, 96, 32),
    ("max", 16),
    ("dropout", 16),
    (5, 256, 16),
    (1, 256, 16),
    ("max", 8),
    (1, 384, 8),
    (1, 384, 8),
    ("average", 4),
    ("dropout", 4),
    (3, 1024, 4),
    (1, "features", 4),
    ("average over the grid", 1),
]
CAFFE_STDS = [0.05, 0.05, 0.01, 0.05, 0.01, 0.05, 0.01, 0.05]


def build(name, n_bits=2, seed=0, dropout=0.5, epsilon=0.5, standardise=False):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = NETWORKS[name].build(
            n_bits, dropout=dropout, epsilon=epsilon, standardise=standardise
        )
    return network.eval()


def convolutions(network):
    return [module for module in network.modules() if isinstance(module, nn.Conv2d)]


def wrap(network, n_bits, size=(8, 8)):
    zero, one = torch.zeros(3, 1, 1), torch.ones(3, 1, 1)
    return HashModel(network, n_bits=n_bits, size=size, mean=zero, std=one)


def described(module, output):
    """A layer as a row of the table above."""
    side = output.shape[2]
    assert output.shape[2] == output.shape[3]
    if isinstance(module, nn.Conv2d):
        kernel = module.kernel_size[0]
        assert module.kernel_size == (kernel, kernel)
        assert module.padding == (kernel // 2, kernel // 2)
        assert module.stride == (1, 1)
        return kernel, module.out_channels, side
    if isinstance(module, nn.AdaptiveAvgPool2d):
        return "average over the grid", side
    if isinstance(module, nn.Dropout):
        return "dropout", side
    assert (module.kernel_size, module.stride, module.padding) == (3, 2, 0)
    return ("max" if isinstance(module, nn.MaxPool2d) else "average"), side


def layers_at(network, side):
    """Every layer but the ReLUs, and how many of those there are."""
    seen, relus, hooks = [], [], []
    for module in network.features.modules():
        if isinstance(module, nn.ReLU):
            relus.append(module)
        elif not isinstance(module, nn.Sequential):
            hooks.append(
                module.register_forward_hook(lambda m, _, out: seen.append(described(m, out)))
            )
    network(torch.zeros(1, 3, side, side))
    for hook in hooks:
        hook.remove()
    return seen, len(relus)


def expected_layers(n_bits, third_kernel):
    rows = list(CAFFE_LAYERS)
    rows[7] = (third_kernel, 384, 8)
    rows[12] = (1, 50 * n_bits, 4)
    return rows


@pytest.mark.parametrize("n_bits", [2, 12])
@pytest.mark.parametrize(("name", "third_kernel"), [("dnnh-caffe", 1), ("dnnh", 3)])
def test_layers_at_32x32_are_those_of_the_table(name, third_kernel, n_bits):
    layers, n_relus = layers_at(build(name, n_bits), 32)
    assert layers == expected_layers(n_bits, third_kernel)
    assert n_relus == 8


def test_caffe_network_starts_from_the_weights_of_the_table():
    network = build("dnnh-caffe", 12)
    for convolution, std in zip(convolutions(network), CAFFE_STDS, strict=True):
        assert_gaussian(convolution.weight, std)
        assert not convolution.bias.any()
    assert_gaussian(network.encode.weight, 0.1)
    assert not network.encode.bias.any()


def assert_gaussian(weight, std):
    """Mean and deviation within five standard errors; about as many beyond 2 as there should be."""
    values, n = weight.detach().double().flatten(), weight.numel()
    assert abs(values.mean()) < 5 * std / n**0.5
    assert abs(values.std() / std - 1) < 5 / (2 * n) ** 0.5
    beyond = (values.abs() > 2 * std).double().mean()
    assert abs(beyond - 0.0455) < 5 * (0.0455 / n) ** 0.5


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", NETWORKS)
def test_forward_is_the_loop_over_the_layers(name, size):
    network = build(name).double()
    # Larger biases than at the start, so that a wrong one shows.
    with torch.no_grad():
        for module in [*convolutions(network), network.encode]:
            module.bias.uniform_(-0.1, 0.1)
    images = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 3, *size)))
    layers = [
        (module.weight.detach().numpy(), module.bias.detach().numpy())
        for module in convolutions(network)
    ]
    encoder = network.encode.weight.detach().numpy(), network.encode.bias.detach().numpy()
    expected = [oracles.dnnh_logits(image, layers, *encoder) for image in images.numpy()]
    np.testing.assert_allclose(network(images).detach().numpy(), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("n_bits", "size"), [(1, (8, 8)), (12, (9, 30)), (128, (17, 8))])
def test_any_bits_and_any_size(name, n_bits, size):
    logits = build(name, n_bits)(torch.randn(2, 3, *size))
    assert logits.shape == (2, n_bits)
    assert logits.isfinite().all()


@pytest.mark.parametrize("bit", [0, 3, 11])
def test_each_bit_depends_on_its_own_50_features_alone(bit):
    encode = DivideAndEncode(12, 50)
    nn.init.normal_(encode.weight)
    features = torch.randn(1, 600, requires_grad=True)
    encode(features)[0, bit].backward()
    mine = torch.zeros(600, dtype=torch.bool)
    mine[50 * bit : 50 * bit + 50] = True
    assert torch.equal(features.grad[0] != 0, mine)
    torch.testing.assert_close(features.grad[0, mine], encode.weight[bit].detach())


def test_caffe_biases_learn_twice_as_fast_and_are_not_decayed():
    network = build("dnnh-caffe", 2)
    config = TrainConfig(n_bits=2, learning_rate=1e-3, weight_decay=5e-4)
    optimiser = build_optimiser(wrap(network, 2), config)
    set_learning_rate(optimiser, 1e-4)
    seen = {}
    for group in optimiser.param_groups:
        for parameter in group["params"]:
            seen[id(parameter)] = group["lr"], group["weight_decay"]
    for name, parameter in network.named_parameters():
        is_bias = name.endswith("bias")
        assert seen.pop(id(parameter)) == ((2e-4, 0.0) if is_bias else (1e-4, 5e-4)), name
    assert not seen


def test_the_papers_network_decays_weights_alone():
    network = build("dnnh", 2)
    optimiser = build_optimiser(wrap(network, 2), TrainConfig(n_bits=2, weight_decay=5e-4))
    decays = {
        id(parameter): (group["lr_scale"], group["weight_decay"])
        for group in optimiser.param_groups
        for parameter in group["params"]
    }
    for name, parameter in network.named_parameters():
        assert decays[id(parameter)] == (1.0, 0.0 if name.endswith("bias") else 5e-4), name


@pytest.mark.parametrize("epsilon", [0.0, 0.1, 0.3, 0.5])
def test_threshold_follows_its_equation_and_the_gradient_of_that(epsilon):
    values = torch.tensor(
        [0.0, 0.1, 0.3, 0.45, 0.5, 0.55, 0.65, 0.9, 1.0], dtype=torch.float64, requires_grad=True
    )
    result = piecewise_threshold(values, epsilon)
    result.sum().backward()
    for value, output, slope in zip(
        values.tolist(), result.tolist(), values.grad.tolist(), strict=True
    ):
        if value < 0.5 - epsilon:
            assert (output, slope) == (0, 0)
        elif value > 0.5 + epsilon:
            assert (output, slope) == (1, 0)
        else:
            assert (output, slope) == (value, 1)


def test_relaxed_codes_are_the_sigmoid_and_in_the_paper_its_threshold():
    logits = torch.tensor([[-3.0, -0.1, 0.0, 0.1, 3.0]])
    torch.testing.assert_close(build("dnnh-caffe").relax(logits), logits.sigmoid())
    torch.testing.assert_close(build("dnnh", epsilon=0.5).relax(logits), logits.sigmoid())
    relaxed = build("dnnh", epsilon=0.2).relax(logits)[0]
    assert (relaxed[0], relaxed[4]) == (0, 1)
    torch.testing.assert_close(relaxed[1:4], logits.sigmoid()[0, 1:4])


def test_dropout_drops_its_share_when_training_and_nothing_afterwards():
    for name in NETWORKS:
        network = build(name, dropout=0.3)
        dropouts = [m for m in network.modules() if isinstance(m, nn.Dropout)]
        assert [module.p for module in dropouts] == [0.3, 0.3]
        images = torch.randn(2, 3, 8, 8)
        assert torch.equal(network(images), network(images))
        network.train()
        assert not torch.equal(network(images), network(images))


def test_calibration_standardises_every_layer_over_the_images():
    network = build("dnnh", 6)
    images = torch.randn(40, 3, 9, 9) * 3 + 1
    network.calibrate(images)
    outputs = []
    for layer in [*convolutions(network), network.encode]:
        # A copy: the ReLU that follows works in place.
        layer.register_forward_hook(lambda _m, _i, out: outputs.append(out.clone()))
    logits = network(images)
    assert torch.equal(outputs[-1], logits)
    assert len(outputs) == 9
    for output in outputs:
        values = output.transpose(0, 1).flatten(1)
        torch.testing.assert_close(values.mean(1), torch.zeros(len(values)), atol=1e-3, rtol=0)
        torch.testing.assert_close(values.var(1), torch.ones(len(values)), atol=1e-2, rtol=0)


def test_standardised_logits_have_mean_0_and_variance_1_over_the_batch():
    network = build("dnnh", n_bits=6, dropout=0.0, standardise=True).eval()
    images = torch.randn(32, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    network.calibrate(images)
    network.train()
    logits = network(images)
    torch.testing.assert_close(logits.mean(dim=0), torch.zeros(6), atol=1e-5, rtol=0)
    torch.testing.assert_close(logits.var(dim=0, unbiased=False), torch.ones(6), atol=1e-2, rtol=0)
    for _ in range(200):  # what is known of the training set settles on the batch's own numbers
        network(images)
    network.eval()
    # Over the training set the variance is the unbiased one.
    torch.testing.assert_close(network(images), logits * (31 / 32) ** 0.5, atol=1e-3, rtol=0)
    torch.testing.assert_close(network(images[:1]), network(images)[:1], atol=1e-5, rtol=1e-4)


def test_calibration_leaves_the_caffe_network_as_it_is():
    network = build("dnnh-caffe")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.calibrate(torch.randn(4, 3, 8, 8))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_weights_come_from_the_seed_alone():
    for name in NETWORKS:
        one, same, other = (build(name, seed=seed) for seed in (1, 1, 2))
        pairs = zip(one.parameters(), same.parameters(), other.parameters(), strict=True)
        for first, second, third in pairs:
            assert torch.equal(first, second)
            assert first.ndim == 1 or not torch.equal(first, third)


@pytest.mark.parametrize("mean_image", [False, True])
def test_pixel_statistics_over_blocks_are_those_of_numpy(mean_image):
    pixels = np.random.default_rng(0).integers(0, 256, (50, 8, 9, 3), dtype=np.uint8)
    mean, std = pixel_statistics(pixels, mean_image=mean_image, block=7)
    values = pixels.transpose(0, 3, 1, 2).astype(np.float64)
    axes = (0,) if mean_image else (0, 2, 3)
    expected = values.mean(axis=axes, keepdims=True)[0]
    torch.testing.assert_close(mean, torch.tensor(expected, dtype=torch.float32))
    if mean_image:
        assert torch.equal(std, torch.ones(3, 1, 1))
    else:
        deviation = torch.tensor(values.std(axis=axes, keepdims=True)[0], dtype=torch.float32)
        torch.testing.assert_close(std, deviation)


def test_a_constant_channel_is_not_divided_by_zero():
    pixels = np.zeros((4, 8, 8, 3), dtype=np.uint8)
    _, std = pixel_statistics(pixels, mean_image=False)
    assert torch.equal(std, torch.ones(3, 1, 1))


def test_a_model_takes_rgb_rows_and_normalises_them():
    network = build("dnnh-caffe")
    mean, std = torch.rand(3, 8, 9) * 255, torch.tensor([2.0, 3, 4]).reshape(3, 1, 1)
    model = HashModel(network, n_bits=2, size=(8, 9), mean=mean, std=std)
    images = torch.from_numpy(
        np.random.default_rng(1).integers(0, 256, (3, 8, 9, 3), dtype=np.uint8)
    )
    planes = torch.from_numpy(images.numpy().transpose(0, 3, 1, 2).astype(np.float32))
    torch.testing.assert_close(model(images), network((planes - mean) / std))
    assert model(images).dtype == torch.float32


def test_the_networks_and_which_of_them_subtract_the_mean_image():
    assert {name: network.subtracts_mean_image for name, network in NETWORKS.items()} == {
        "dnnh": False,
        "dnnh-caffe": True,
    }
