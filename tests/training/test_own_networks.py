"""The user's own networks: a class or function of a file or a package."""

from __future__ import annotations

import textwrap

import pytest
import torch
from network_samples import build, check_export, is_one_line, noise, rule_of

from hashkit.errors import ConfigError
from hashkit.training.networks import Network

pytestmark = pytest.mark.end_to_end


def write(folder, text):
    path = folder / "mine.py"
    path.write_text("import torch\nfrom torch import nn\n" + textwrap.dedent(text))
    return path


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
def test_invalid_own_networks_are_a_one_line_error(own, name, message):
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
def test_own_files_that_fail_are_a_one_line_error(tmp_path, text, message):
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
def test_invalid_names_of_own_networks_are_a_one_line_error(name, message):
    with pytest.raises(ConfigError, match=message) as error:
        build(name)
    assert is_one_line(error)


def test_exported_codes_match_torch(own, tmp_path):
    check_export(own("Maps"), tmp_path / "model.onnx")
