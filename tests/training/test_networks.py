from __future__ import annotations

import numpy as np
import oracles_training as oracles
import pytest
import torch
from small_models import photographs
from torch import nn
from training_samples import TinyNetwork, add_network

from hashkit.errors import ConfigError
from hashkit.runs.config import TrainConfig
from hashkit.training.model import HashModel, input_statistics, new_model
from hashkit.training.networks import (
    NETWORKS,
    InputRule,
    NetworkKind,
    build_network,
    find_network,
)
from hashkit.training.networks.layers import DivideAndEncode

pytestmark = pytest.mark.end_to_end

DNNH = ["dnnh", "dnnh-caffe"]
FROM_SCRATCH = ["compact", *DNNH]

SIZES = [(8, 8), (11, 13)]

# The table of the Caffe implementation at 32x32: (kernel, channels, side) of convolutions,
# (kind, side) of pools and dropouts.
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


def build(name, n_bits=2, seed=0, dropout=0.5):
    """A network with a new head."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_network(name, dropout=dropout, pretrained=False)
        head = network.new_head(n_bits)
    return nn.Sequential(network, head).eval()


def convolutions(part):
    return [module for module in part.modules() if isinstance(module, nn.Conv2d)]


def encoder_of(part):
    (encoder,) = (module for module in part.modules() if isinstance(module, DivideAndEncode))
    return encoder


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


def layers_at(part, side):
    """All layers except ReLUs and the encoder, and the number of ReLUs."""
    seen, relus, hooks = [], [], []
    for module in part.modules():
        if isinstance(module, nn.ReLU):
            relus.append(module)
        elif not [*module.children()] and not isinstance(module, nn.Flatten | DivideAndEncode):
            hooks.append(
                module.register_forward_hook(lambda m, _, out: seen.append(described(m, out)))
            )
    part(torch.zeros(1, 3, side, side))
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
def test_layers_at_32x32_match_the_table(name, third_kernel, n_bits):
    layers, n_relus = layers_at(build(name, n_bits), 32)
    assert layers == expected_layers(n_bits, third_kernel)
    assert n_relus == 8


def test_initial_weights_of_the_caffe_network_match_the_table():
    network = build("dnnh-caffe", 12)
    for convolution, std in zip(convolutions(network), CAFFE_STDS, strict=True):
        assert_gaussian(convolution.weight, std)
        assert not convolution.bias.any()
    encoder = encoder_of(network)
    assert_gaussian(encoder.weight, 0.1)
    assert not encoder.bias.any()


def assert_gaussian(weight, std):
    """Mean, deviation and the fraction beyond 2 deviations, each within five standard errors."""
    values, n = weight.detach().double().flatten(), weight.numel()
    assert abs(values.mean()) < 5 * std / n**0.5
    assert abs(values.std() / std - 1) < 5 / (2 * n) ** 0.5
    beyond = (values.abs() > 2 * std).double().mean()
    assert abs(beyond - 0.0455) < 5 * (0.0455 / n) ** 0.5


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", DNNH)
def test_forward_matches_a_loop_over_the_layers(name, size):
    network = build(name).double()
    # Biases other than 0, so that a wrong one changes the result.
    with torch.no_grad():
        for module in [*convolutions(network), encoder_of(network)]:
            module.bias.uniform_(-0.1, 0.1)
    images = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 3, *size)))
    layers = [
        (module.weight.detach().numpy(), module.bias.detach().numpy())
        for module in convolutions(network)
    ]
    encoder = [values.detach().numpy() for values in encoder_of(network).parameters()]
    expected = [oracles.dnnh_logits(image, layers, *encoder) for image in images.numpy()]
    np.testing.assert_allclose(network(images).detach().numpy(), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", FROM_SCRATCH)
@pytest.mark.parametrize(("n_bits", "size"), [(1, (8, 8)), (12, (9, 30)), (128, (17, 8))])
def test_any_number_of_bits_and_any_size_work(name, n_bits, size):
    logits = build(name, n_bits)(torch.randn(2, 3, *size))
    assert logits.shape == (2, n_bits)
    assert logits.isfinite().all()


@pytest.mark.parametrize("bit", [0, 3])
def test_each_bit_depends_only_on_its_50_features(bit):
    encode = DivideAndEncode(12, 50)
    nn.init.normal_(encode.weight)
    features = torch.randn(1, 600, requires_grad=True)
    encode(features)[0, bit].backward()
    mine = torch.zeros(600, dtype=torch.bool)
    mine[50 * bit : 50 * bit + 50] = True
    assert torch.equal(features.grad[0] != 0, mine)
    torch.testing.assert_close(features.grad[0, mine], encode.weight[bit].detach())


@pytest.mark.parametrize(("name", "n_dropouts"), [("dnnh", 2), ("dnnh-caffe", 2), ("compact", 1)])
def test_dropout_is_active_only_in_training(name, n_dropouts):
    network = build(name, dropout=0.3)
    dropouts = [m for m in network.modules() if isinstance(m, nn.Dropout)]
    assert [module.p for module in dropouts] == [0.3] * n_dropouts
    images = torch.randn(2, 3, 8, 8)
    assert torch.equal(network(images), network(images))
    for module in dropouts:
        module.train()
    assert not torch.equal(network(images), network(images))


@pytest.mark.parametrize("name", FROM_SCRATCH)
def test_stages_are_called_in_order_and_hold_all_parameters_once(name):
    network = build_network(name, dropout=0.0, pretrained=False)
    held = [parameter for stage in network.stages() for parameter in stage.parameters()]
    assert list(map(id, held)) == list(map(id, network.parameters()))
    assert len(set(map(id, held))) == len(held)
    called = []
    for index, stage in enumerate(network.stages()):
        stage.register_forward_hook(lambda *_, index=index: called.append(index))
    network(torch.randn(2, 3, 8, 8))
    assert called == list(range(len(network.stages())))


@pytest.mark.parametrize("name", DNNH)
def test_calibration_standardises_every_layer_over_the_images(name):
    network, *heads = build(name, 6).children()
    heads.append(network.new_head(3))
    images = torch.randn(40, 3, 9, 9) * 3 + 1
    network.calibrate(images, heads)
    outputs = []
    layers = [*convolutions(network)]
    for head in heads:
        layers += [*convolutions(head), encoder_of(head)]
    for layer in layers:
        # A copy, because the ReLU that follows works in place.
        layer.register_forward_hook(lambda _m, _i, out: outputs.append(out.clone()))
    features = network(images)
    logits = [head(features) for head in heads]
    assert torch.equal(outputs[8], logits[0])
    assert torch.equal(outputs[10], logits[1])
    assert len(outputs) == 7 + 2 * 2
    for output in outputs:
        values = output.transpose(0, 1).flatten(1)
        torch.testing.assert_close(values.mean(1), torch.zeros(len(values)), atol=1e-3, rtol=0)
        torch.testing.assert_close(values.var(1), torch.ones(len(values)), atol=1e-2, rtol=0)


def test_weights_depend_only_on_the_seed():
    for name in DNNH:
        one, same, other = (build(name, seed=seed) for seed in (1, 1, 2))
        pairs = zip(one.parameters(), same.parameters(), other.parameters(), strict=True)
        for first, second, third in pairs:
            assert torch.equal(first, second)
            assert first.ndim == 1 or not torch.equal(first, third)


def test_each_head_has_its_own_weights():
    for name in FROM_SCRATCH:
        network = build_network(name, dropout=0.0, pretrained=False)
        one, other = (list(network.new_head(4).parameters()) for _ in range(2))
        assert any(not torch.equal(*pair) for pair in zip(one, other, strict=True))


# The compact network


def photograph_batch(n_images, height, width):
    """Normalised photographs: float32 [n, 3, height, width]."""
    pixels = torch.from_numpy(photographs(n_images, height, width)).permute(0, 3, 1, 2).float()
    mean = pixels.mean((0, 2, 3), keepdim=True)
    return (pixels - mean) / pixels.std((0, 2, 3), keepdim=True)


def calibrated_compact(images, name="compact", **options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build_network(name, dropout=0.0, pretrained=False, options=options).eval()
    network.calibrate(images, [])
    return network


@pytest.mark.parametrize("patch", [2, 3])
def test_the_first_layer_of_compact_whitens_its_calibration_images(patch):
    images, n_values = photograph_batch(64, 17, 16), 3 * patch**2
    network = calibrated_compact(images, patch=patch)
    outputs = network.whiten(images).detach().double()
    assert outputs.shape == (64, 2 * n_values, 18 - patch, 17 - patch)
    values = outputs.transpose(0, 1).flatten(1)
    # The second half is the negative of the first, because the activation follows.
    torch.testing.assert_close(values[n_values:], -values[:n_values])
    # The constant added to variances makes small ones come out slightly below 1.
    second_moment = values[:n_values] @ values[:n_values].T / values.shape[1]
    off_diagonal = second_moment - torch.diag(second_moment.diag())
    assert off_diagonal.abs().max() < 5e-3
    assert (second_moment.diag() <= 1 + 1e-3).all()
    assert (second_moment.diag()[-4:] > 0.99).all()
    patches = nn.functional.unfold(images.double(), patch).transpose(1, 2).reshape(-1, n_values)
    variances = torch.linalg.eigvalsh(patches.T @ patches / len(patches))
    torch.testing.assert_close(
        second_moment.diag(), variances / (variances + 5e-4), rtol=1e-3, atol=1e-3
    )


def test_whitening_does_not_amplify_noise():
    """Directions without variance have bounded filters."""
    images = torch.zeros(8, 3, 9, 9)
    images[::2] = 1.0
    network = calibrated_compact(images)
    assert network.whiten.weight.abs().max() <= 5e-4**-0.5 + 1e-3
    assert network(images).isfinite().all()


def test_only_the_whitening_layer_is_fixed():
    network = calibrated_compact(photograph_batch(8, 16, 16))
    learned = {name for name, value in network.named_parameters() if value.requires_grad}
    fixed = {name for name, _ in network.named_parameters()} - learned
    assert fixed == {"whiten.weight", "whiten.bias"}
    assert all(name.startswith("blocks.") for name in learned)


def test_the_first_filters_of_a_block_are_the_identity():
    network = build_network("compact", dropout=0.0, pretrained=False)
    convolution = network.blocks[0].convolution1
    maps = torch.randn(2, 24, 6, 6)
    torch.testing.assert_close(convolution(maps)[:, :24], maps)
    assert not torch.equal(convolution(maps)[:, 24:48], maps)


BY_FORMULA = {
    "relu": lambda values: values.clamp(min=0),
    "celu": lambda values: values.clamp(min=0) + 0.075 * ((values / 0.075).exp() - 1).clamp(max=0),
    "gelu": lambda values: values * (1 + torch.erf(values / 2**0.5)) / 2,
}


@pytest.mark.parametrize(
    ("name", "options", "widths"),
    [
        ("compact", {}, (64, 128, 256)),
        ("compact-wide", {"activation": "gelu"}, (64, 256, 256)),
        ("compact-deep", {"activation": "celu", "patch": 3}, (64, 256, 256)),
        ("compact-wider", {"activation": "relu"}, (128, 384, 384)),
    ],
)
def test_the_features_of_compact_match_its_layers_one_by_one(name, options, widths):
    images = photograph_batch(3, 19, 16)
    network = calibrated_compact(images, name, **options)
    assert tuple(block.convolution1.out_channels for block in network.blocks) == widths
    activation = BY_FORMULA[options.get("activation", "relu")]
    maps = activation(network.whiten(images))
    for block in network.blocks:
        maps = nn.functional.max_pool2d(block.convolution1(maps), 2)
        maps = activation(block.normalise1(maps))
        inner = activation(block.normalise2(block.convolution2(maps)))
        if name == "compact-deep":
            inner = activation(block.normalise3(block.convolution3(inner)) + maps)
        maps = inner
    torch.testing.assert_close(network(images), maps.amax((2, 3)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [(8, 8), (11, 13), (64, 48), (96, 96)], ids=str)
def test_compact_takes_images_of_8_to_96_pixels(size):
    images = photograph_batch(4, *size)
    network = calibrated_compact(images)
    features = network(images)
    assert features.shape == (4, network.n_features) == (4, 256)
    assert features.isfinite().all()
    assert not torch.equal(features[0], features[1])
    features.sum().backward()
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad.abs().sum() > 0, name


# The model


def tiny_model(lengths=(6,), standardise=False, dropout=0.0, mirror=False):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return HashModel(
            TinyNetwork(dropout),
            lengths=lengths,
            size=(8, 8),
            mean=torch.full((3, 1, 1), 127.0),
            std=torch.full((3, 1, 1), 64.0),
            standardise=standardise,
            mirror=mirror,
        )


def random_pixels(n_images, height=8, width=8, seed=0):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.integers(0, 256, (n_images, height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("lengths", [(6,), (3, 8)], ids=str)
def test_mirrored_logits_are_the_mean_over_an_image_and_its_mirror_image(lengths):
    plain, mirrored = (tiny_model(lengths, mirror=mirror) for mirror in (False, True))
    images = random_pixels(5)
    flipped = torch.from_numpy(images.numpy()[:, :, ::-1].copy())
    plain.eval()
    mirrored.eval()
    expected = (plain(images) + plain(flipped)) / 2
    torch.testing.assert_close(mirrored(images), expected)
    torch.testing.assert_close(mirrored(flipped), mirrored(images))
    assert not torch.allclose(plain(flipped), plain(images))
    for one in (plain, mirrored):  # training uses no mirror images
        one.train()
    torch.testing.assert_close(mirrored(images), plain(images))


@pytest.mark.parametrize(
    ("augmentation", "dataset", "mirror", "expected"),
    [
        ("auto", "cifar10", True, True),
        ("auto", "cifar10", False, False),
        ("auto", "digits", True, False),
        ("auto", "mnist", True, False),
        ("shift", "cifar10", True, False),
        ("none", "cifar10", True, False),
        ("crop", "digits", True, True),
    ],
)
def test_a_model_mirrors_only_if_training_does(augmentation, dataset, mirror, expected):
    config = TrainConfig(augmentation=augmentation, mirror=mirror)
    model = new_model(config, torch.zeros(3, 1, 1), torch.ones(3, 1, 1), dataset=dataset)
    assert model.mirror is expected


@pytest.mark.parametrize("lengths", [(6,), (3, 8)], ids=str)
def test_standardised_logits_have_mean_0_and_variance_1_over_the_batch(lengths):
    n_bits = sum(lengths)
    model = tiny_model(lengths, standardise=True)
    images = random_pixels(32)
    logits = model(images)
    torch.testing.assert_close(logits.mean(dim=0), torch.zeros(n_bits), atol=1e-5, rtol=0)
    # BatchNorm adds 1e-5 to the variance.
    torch.testing.assert_close(
        logits.var(dim=0, unbiased=False), torch.ones(n_bits), atol=2e-2, rtol=0
    )
    for _ in range(150):  # the running statistics converge to those of the batch
        model(images)
    model.eval()
    # The running variance is the unbiased one.
    torch.testing.assert_close(model(images), logits * (31 / 32) ** 0.5, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(model(images[:1]), model(images)[:1], atol=1e-5, rtol=1e-4)


def test_without_standardisation_logits_are_the_output_of_the_head():
    model = tiny_model().eval()
    images = random_pixels(5)
    torch.testing.assert_close(model(images), model.heads[0](model.features(images)))


def test_logits_of_several_lengths_are_concatenated():
    model = tiny_model((3, 8, 1), standardise=True).eval()
    images = random_pixels(5)
    features = model.features(images)
    assert (model.n_bits, model.lengths) == (12, (3, 8, 1))
    parts = model(images).split([3, 8, 1], dim=1)
    for part, head, standardise in zip(parts, model.heads, model.standardise, strict=True):
        torch.testing.assert_close(part, standardise(head(features)))
    assert torch.equal(model.logits(features), model(images))


@pytest.mark.parametrize(("n_stages", "n_frozen"), [(0, 0), (1, 1), (-1, 2)])
def test_freezing_applies_to_the_first_stages(n_stages, n_frozen):
    model = tiny_model()
    model.freeze(n_stages)
    for index, stage in enumerate(model.network.stages()):
        learned = {parameter.requires_grad for parameter in stage.parameters()}
        assert learned == {index >= n_frozen}
    assert all(parameter.requires_grad for parameter in model.heads.parameters())
    assert model.has_fixed_features == (n_frozen == 2)
    model.train()
    assert [stage.training for stage in model.network.stages()] == [
        index >= n_frozen for index in range(2)
    ]
    assert model.heads.training


def test_freezing_too_many_stages_is_refused():
    with pytest.raises(
        ConfigError,
        match=r"^`freeze` must be at most 2, the number of stages of this network, not 3$",
    ):
        tiny_model().freeze(3)


@pytest.mark.parametrize("mean_image", [False, True])
def test_input_statistics_over_blocks_match_numpy(mean_image):
    pixels = np.random.default_rng(0).integers(0, 256, (50, 8, 9, 3), dtype=np.uint8)
    rule = InputRule(subtracts_mean_image=mean_image)
    mean, std = input_statistics(pixels, rule, block=7)
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
    _, std = input_statistics(pixels, InputRule())
    assert torch.equal(std, torch.ones(3, 1, 1))


def test_mean_and_deviation_of_the_input_rule_are_used():
    rule = InputRule(mean=(10.0, 20.0, 30.0), std=(1.0, 2.0, 3.0))
    mean, std = input_statistics(np.zeros((2, 8, 8, 3), dtype=np.uint8), rule)
    assert mean.flatten().tolist() == [10, 20, 30]
    assert std.flatten().tolist() == [1, 2, 3]
    assert mean.shape == std.shape == (3, 1, 1)


def test_a_model_takes_rgb_images_and_normalises_them():
    network = build_network("dnnh-caffe", dropout=0.0, pretrained=False)
    mean, std = torch.rand(3, 8, 9) * 255, torch.tensor([2.0, 3, 4]).reshape(3, 1, 1)
    model = HashModel(
        network, lengths=(2,), size=(8, 9), mean=mean, std=std, standardise=False
    ).eval()
    images = random_pixels(3, 8, 9, seed=1)
    planes = torch.from_numpy(images.numpy().transpose(0, 3, 1, 2).astype(np.float32))
    torch.testing.assert_close(model(images), model.heads[0](network((planes - mean) / std)))
    assert model(images).dtype == torch.float32


# Networks by name


def test_which_networks_subtract_the_mean_image():
    rules = {name: NETWORKS[name].input_rule("", False) for name in FROM_SCRATCH}
    assert {name: rule.subtracts_mean_image for name, rule in rules.items()} == {
        "compact": False,
        "dnnh": False,
        "dnnh-caffe": True,
    }
    assert all(rule.size is None for rule in rules.values())
    assert not any(NETWORKS[name].has_weights for name in FROM_SCRATCH)


@pytest.mark.parametrize("name", ["vgg", "compact:small", "timm", "timm:"])
def test_an_unknown_network_lists_the_known_ones(name):
    with pytest.raises(ConfigError, match=f"^unknown network '{name}'; known: ") as caught:
        find_network(name)
    for known, kind in NETWORKS.items():
        assert (f"{known}:NAME" if kind.takes_argument else known) in str(caught.value)


def test_the_argument_is_everything_after_the_first_colon():
    kind, argument = find_network("timm:a:b")
    assert kind is NETWORKS["timm"]
    assert argument == "a:b"


@pytest.mark.parametrize(("has_weights", "expected"), [(True, True), (False, False)])
def test_pretrained_weights_are_requested_only_if_available(monkeypatch, has_weights, expected):
    calls = []

    def build(argument, dropout, pretrained):
        calls.append((argument, dropout, pretrained))
        return TinyNetwork(dropout)

    kind = NetworkKind("", build, takes_argument=True, has_weights=has_weights)
    add_network(monkeypatch, "recorded", kind)
    build_network("recorded:one", dropout=0.25, pretrained=True)
    build_network("recorded:two", dropout=0.0, pretrained=False)
    assert calls == [("one", 0.25, expected), ("two", 0.0, False)]
