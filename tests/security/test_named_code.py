"""What a checkpoint or a config.json names is never imported: the user names it again."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path

import pytest
from looped import looped

import hashkit
from hashkit.errors import CheckpointError, ConfigError, RunError
from hashkit.exporters.bench.contenders import BenchModel, Wanted, contenders
from hashkit.manifest import Manifest
from hashkit.runs.checkpoint_header import read_checkpoint_network
from hashkit.runs.config import TrainConfig
from hashkit.runs.data_spec import DataSpec
from hashkit.runs.known_names import NETWORKS, split_network
from hashkit.runs.named_code import (
    absolute_loss,
    absolute_network,
    loss_to_build,
    network_to_build,
    runs_own_code,
)
from hashkit.runs.run import Run
from hashkit.runs.run_config import RunConfig
from hashkit.training.own_code import import_own

FILE = Path("runs/theirs/config.json")
OWN = "module:/theirs/net.py:Net"


# The rule


@looped(
    ("network", "is_code"),
    [
        ("compact", False),
        ("dnnh", False),
        ("efficientnet-lite0", False),
        ("timm:resnet50", False),
        ("torchvision:alexnet", False),
        (OWN, True),
        ("module:package.part:Net", True),
    ],
)
def test_which_networks_are_code(network, is_code):
    assert runs_own_code(network) is is_code
    if is_code:
        with pytest.raises(ConfigError, match="not imported"):
            network_to_build(network, None, FILE)
        assert network_to_build(network, network, FILE) == network
    else:
        assert network_to_build(network, None, FILE) == network


def test_an_unforeseen_kind_of_network_counts_as_code(monkeypatch):
    """A new kind with an argument is refused until somebody says that it is harmless."""
    monkeypatch.setitem(NETWORKS, "jit", True)
    with pytest.raises(
        ConfigError, match=r"jit:/theirs/model\.pt, and code that only a file names"
    ):
        network_to_build("jit:/theirs/model.pt", None, FILE)
    with_argument = [name for name, takes in NETWORKS.items() if takes]
    harmless = {name for name in with_argument if not runs_own_code(f"{name}:a")}
    # The graph of an embedder is kept in its run: the file that it came from is not opened again.
    assert harmless == {"timm", "torchvision", "onnx"}


def test_the_message_names_the_file_the_code_and_the_remedy():
    with pytest.raises(ConfigError) as caught:
        network_to_build(OWN, None, FILE)
    assert str(caught.value) == (
        f"{FILE} names the code of the network {OWN}, and code that only a file names is "
        f'not imported: if you trust that code, name it yourself with `network="{OWN}"`'
    )
    with pytest.raises(ConfigError, match=r'with `network="..."`$'):
        network_to_build('module:a"b.py:Net', None, FILE)


def test_a_loss_follows_the_same_rule(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        loss_to_build(OWN, None, FILE)
    assert str(caught.value) == (
        f"{FILE} names the code of the loss {OWN}, and code that only a file names is "
        f'not imported: if you trust that code, name it yourself with `loss="{OWN}"`'
    )
    assert loss_to_build(OWN, "module:net.py:Net", FILE) == f"module:{tmp_path}/net.py:Net"
    for harmless in ("csq", "itq"):
        assert loss_to_build(harmless, None, FILE) == absolute_loss(harmless) == harmless
    for given in ("csq", "module:net.py:Other"):
        with pytest.raises(ConfigError, match=f"has the loss {OWN}, not {given}"):
            loss_to_build(OWN, given, FILE)
    for unknown in ("module:", "csq:x", "os:system", ""):
        with pytest.raises(ConfigError, match="unknown loss"):
            loss_to_build(unknown, None, FILE)


@looped(
    ("recorded", "given"),
    [
        (OWN, "module:/theirs/other.py:Net"),
        (OWN, "module:/theirs/net.py:Other"),
        (OWN, "module:net:Net"),
        (OWN, "compact"),
        ("compact", OWN),
        ("compact", "dnnh"),
        ("timm:resnet50", "timm:resnet18"),
        ("module:a.nets:Net", "module:b.nets:Net"),
        ("onnx:/theirs/clip.onnx", "onnx:/theirs/dino.onnx"),
        ("onnx:/theirs/clip.onnx", "compact"),
    ],
)
def test_another_network_than_the_recorded_one_is_refused(recorded, given):
    with pytest.raises(ConfigError) as caught:
        network_to_build(recorded, given, FILE)
    assert f"{FILE} has the network {recorded}, not {given}" in str(caught.value)


def test_the_file_of_a_named_network_may_lie_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert network_to_build(OWN, "module:net.py:Net", FILE) == f"module:{tmp_path}/net.py:Net"
    for embedder in ("onnx:clip.onnx", "onnx:/elsewhere/clip.onnx"):
        assert network_to_build("onnx:/theirs/clip.onnx", embedder, FILE).endswith("/clip.onnx")
    assert absolute_network("compact") == "compact"
    monkeypatch.setenv("HOME", str(tmp_path))  # a shell leaves a tilde in the middle of a word
    assert absolute_network("onnx:~/clip.onnx") == f"onnx:{tmp_path}/clip.onnx"
    assert absolute_network("module:~/net.py:Net") == f"module:{tmp_path}/net.py:Net"
    assert absolute_loss("module:~/loss.py:L") == f"module:{tmp_path}/loss.py:L"
    (tmp_path / "own.py").write_text("Net = 3\n")
    assert import_own("network", "~/own.py:Net") == 3
    assert absolute_network("module:a.b:Net") == "module:a.b:Net"


def test_an_unknown_name_is_refused():
    for name in ("onnx:", "openvino:model.xml", "hf-hub:someone/model", "os:system", "compact:os"):
        with pytest.raises(ConfigError, match="unknown network"):
            network_to_build(name, None, FILE)


# Every way from a file to code


@pytest.fixture
def theirs(tmp_path, monkeypatch):
    """A run folder from somebody else, whose network leaves a trace when it is imported."""
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text("open('imported', 'w').close()\ndef net(): return None\n")
    network = f"module:{tmp_path}/net.py:net"
    run = Run.create(
        Path("runs"), "theirs", RunConfig(data=DataSpec(), training=TrainConfig(network=network))
    )
    write_header(run.best_path, network)
    write_header(run.snapshot_path(3), network)
    return run


def write_header(path: Path, network: str, manifest_network: str = "compact") -> None:
    """Write a checkpoint without tensors, whose manifest says nothing of its network."""
    import torch
    from safetensors.torch import save

    from hashkit.training.checkpoint import weights_sha256

    config = TrainConfig().to_dict() | {"network": network}
    own = {name: torch.zeros(3, 1, 1) for name in ("mean", "std")}
    manifest = Manifest(48, 32, 32, "crop-bilinear", weights_sha256=weights_sha256(own))
    header = {
        "format_version": 2,
        "step": 3,
        "config": config,
        "manifest": manifest.to_dict() | {"network": manifest_network},
        "state": {},
    }
    tensors = {f"model.{name}": values for name, values in own.items()}
    path.write_bytes(save(tensors, metadata={"hashkit": json.dumps(header)}))


def refuse_without_a_name(call, theirs) -> None:
    with pytest.raises(ConfigError, match=r"names the code of the network module:.*/net.py:net"):
        call()
    assert not Path("imported").exists()


def test_export_imports_nothing_that_a_checkpoint_names(theirs):
    refuse_without_a_name(lambda: hashkit.export(theirs), theirs)


def test_resume_imports_nothing_that_a_config_names(theirs):
    refuse_without_a_name(lambda: hashkit.resume(theirs), theirs)


@pytest.mark.parametrize("network", ["compact", "onnx:efficientnet-lite0"])
def test_resume_imports_no_loss_that_a_config_names(tmp_path, monkeypatch, network):
    from cli_samples import fail

    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text("open('imported', 'w').close()\ndef loss(a, b): return None\n")
    config = TrainConfig(network=network, loss=f"module:{tmp_path}/own.py:loss")
    run = Run.create(Path("runs"), "theirs", RunConfig(data=DataSpec(), training=config))
    said = fail("train --resume --run runs/theirs")
    assert said.endswith(f"yourself with --loss module:{tmp_path}/own.py:loss")
    assert f"{run.config_path} names the code of the loss" in said
    assert not Path("imported").exists()


def test_bench_imports_nothing_that_a_checkpoint_names(theirs):
    from hashkit.exporters.torch_model import TorchModel

    refuse_without_a_name(lambda: TorchModel(theirs.best_path), theirs)
    model = BenchModel(Path("model.onnx"), "fp32", Manifest(48, 32, 32, "crop-bilinear"))
    wanted = Wanted(runtimes=("torch",))
    refuse_without_a_name(lambda: contenders([model], wanted, theirs.best_path), theirs)
    named = Wanted(runtimes=("torch",), network=read_checkpoint_network(theirs.best_path))
    *_, row = contenders([model], named, theirs.best_path)
    assert row.network == named.network
    with pytest.raises(ConfigError, match=r"has the network module:.*, not compact"):
        contenders([model], Wanted(runtimes=("torch",), network="compact"), theirs.best_path)
    without = Wanted(runtimes=("onnxruntime",), network=named.network)
    with pytest.raises(ConfigError, match="no checkpoint is measured here"):
        contenders([model], without, theirs.best_path)


def test_with_its_name_the_network_is_imported(theirs):
    for call in (hashkit.export, hashkit.resume):
        with pytest.raises(ConfigError, match=r"must return a torch\.nn\.Module, not NoneType"):
            call(theirs, network="module:net.py:net")
        assert Path("imported").exists()


def test_another_place_of_the_file_is_noted(theirs):
    from cli_samples import hashkit as command

    Path("elsewhere").mkdir()
    shutil.move("net.py", "elsewhere/net.py")
    for line in ("export --onnx", "train --resume"):
        said = command(f"{line} --run runs/theirs --network module:elsewhere/net.py:net").stderr
        assert f"/net.py:net; module:{Path.cwd()}/elsewhere/net.py:net is used" in said


def test_the_command_line_says_what_to_type(theirs):
    from cli_samples import fail

    for command in ("export --onnx", "train --resume"):
        said = fail(f"{command} --run runs/theirs")
        assert said.endswith(f"with --network module:{Path.cwd()}/net.py:net")
        assert "has the network" in fail(f"{command} --run runs/theirs --network module:net.py:x")
    assert not Path("imported").exists()


def test_other_commands_do_not_import_it_either(theirs):
    from cli_samples import hashkit as command

    shutil.copy(theirs.best_path, "best.safetensors")
    for line in ("info runs/theirs", "info best.safetensors", "encode", "evaluate", "bench"):
        command(line)
    assert not Path("imported").exists()


@pytest.mark.parametrize("name", [{}, 3, None, "odd:thing", "module", ""])
def test_a_header_that_names_no_network_is_refused(theirs, name):
    write_header(theirs.best_path, name)
    with pytest.raises(CheckpointError, match=r"unknown network|the network in its settings"):
        read_checkpoint_network(theirs.best_path)


def test_a_header_longer_than_its_file_is_damaged(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", 2**62) + b"{}")
    with pytest.raises(CheckpointError, match="damaged"):
        read_checkpoint_network(path)


# Other names in a run's files


@pytest.mark.parametrize("name", ["../elsewhere", "/elsewhere", "..", "", "a/b", "a\\b"])
def test_a_shared_training_lies_beside_its_parts(theirs, name):
    """A name with a path would make `train --resume` write into any other run."""
    fields = json.loads(theirs.config_path.read_text())
    fields["shared"] = {"run": name, "lengths": [48, 24]}
    theirs.config_path.write_text(json.dumps(fields))
    with pytest.raises(RunError, match=r"config\.json: shared.*one run folder"):
        theirs.read_config()


@pytest.mark.end_to_end  # timm takes seconds to import
@pytest.mark.parametrize("name", ["timm:hf-hub:someone/model", "timm:local-dir:/theirs"])
def test_only_models_that_timm_lists_are_built(name):
    pytest.importorskip("timm")
    from hashkit.training.networks import build_network

    assert split_network(name)[0] == "timm"
    with pytest.raises(ConfigError, match="timm has no model"):
        build_network(name, dropout=0.0, pretrained=True)
