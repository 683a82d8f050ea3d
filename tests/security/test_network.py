"""No command makes a request to the network that it was not told to make."""

from __future__ import annotations

import os
import sys

import pytest
from cli_samples import COMMANDS, OWN_NETWORK, QUICK
from recorded_network import has_strace, requests_of

COMMAND_LINES = (
    f"train {QUICK} {OWN_NETWORK} --name a",
    f"train --resume --run runs/a {OWN_NETWORK}",
    f"export --onnx --run runs/a {OWN_NETWORK}",
    "encode --run runs/a",
    "search --query digits/0000 --run runs/a",
    "serve --bank missing.h5",
    "evaluate --run runs/a",
    "index runs/a/bank.h5",
    "convert runs/a/bank.h5 b.npz",
    "verify runs/a/bank.h5 runs/a",
    "delete runs/a/bank.h5 --rows 0",
    "info runs/a runs/a/model.onnx runs/a/bank.h5 b.npz",
    "encode digits --model runs/a/model.onnx --out o.h5 --runtime openvino",
    (
        "bench --model runs/a/model.onnx --random --queries 4 --database 4 --batches 1 "
        "--seconds 0.01 --starts 1 --slow-images 2"
    ),
    "sync photos --model phash",
    "dedup photos",
    "dedup photos.h5",
    "compile",
    "doctor",
    "train --list-recipes",
)
CODE = """
from pathlib import Path
from cli_samples import hashkit, write_digit
for row in range(3):
    write_digit(row, Path("photos") / f"{{row}}.png")
for line in {lines!r}:
    outcome = hashkit(line)
    assert outcome.exit_code in (0, 1), (line, outcome)
    assert outcome.exit_code == 0 or line.split()[0] in {may_fail!r}, (line, outcome.stderr)
"""


@pytest.mark.end_to_end
def test_no_command_makes_a_request_to_the_network(tmp_path):
    """Checked by Python's audit events and, where strace is installed, by all system calls."""
    code = CODE.format(lines=COMMAND_LINES, may_fail=("doctor", "search", "serve"))
    assert requests_of(code, tmp_path, traced=has_strace()) == []
    left = {path.name for path in tmp_path.rglob("*") if path.is_dir()}
    assert not left & {"intel", "Microsoft"}  # where OpenVINO and ONNX Runtime keep an identity
    tried = {line.split()[0] for line in COMMAND_LINES}
    assert set(COMMANDS) <= tried


@pytest.mark.end_to_end
def test_openvino_alone_would_be_noticed(tmp_path):
    """What this package avoids: OpenVINO looks up the host of its analytics."""
    pytest.importorskip("openvino_telemetry")
    code = "import openvino, time; time.sleep(1)"
    found = requests_of(code, tmp_path, traced=False)
    assert found
    assert (tmp_path / "intel").exists()


def test_a_request_of_python_would_be_noticed(tmp_path):
    code = "import socket\ntry: socket.create_connection(('127.0.0.1', 9), 1)\nexcept OSError: pass"
    assert any("getaddrinfo" in line for line in requests_of(code, tmp_path, traced=False))


@pytest.mark.skipif(not has_strace(), reason="strace is not installed, or may not trace")
def test_a_request_of_c_would_be_noticed(tmp_path):
    code = (
        "import ctypes, struct\n"
        "c = ctypes.CDLL(None)\n"
        "c.connect(c.socket(2, 1, 0), struct.pack('=HH4s8x', 2, 0x0900, bytes([127, 0, 0, 1])), 16)"
    )
    assert requests_of(code, tmp_path, traced=False) == []
    assert any("127.0.0.1" in line for line in requests_of(code, tmp_path, traced=True))


def test_openvino_is_imported_without_its_analytics(tmp_path):
    pytest.importorskip("openvino")
    code = (
        "import sys\n"
        "from hashkit.runtimes.backends.openvino_import import openvino\n"
        "assert not any(name.startswith('openvino_telemetry') for name in sys.modules)\n"
        "import importlib.util\n"
        "importlib.util.find_spec('openvino_telemetry')  # as before\n"
    )
    assert requests_of(code, tmp_path, traced=False) == []
    assert [path.name for path in tmp_path.iterdir()] == ["hooks"]
    assert sys.modules.get("openvino_telemetry", 0) is not None


def test_pickles_of_other_libraries_hold_only_tensors(tmp_path, monkeypatch):
    """Torchvision asks torch to run what its pickles name."""
    import pickle

    import torch

    from hashkit.training.networks.library_weights import only_tensors

    class Hostile:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    path = tmp_path / "weights.pth"
    path.write_bytes(pickle.dumps(Hostile(), protocol=2))
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    with only_tensors(), pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=False)
    assert not (tmp_path / "ran").exists()
    assert os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] == "1"
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ


@pytest.mark.end_to_end  # these take seconds to import
@pytest.mark.parametrize("library", ["timm", "torchvision"])
def test_weights_of_libraries_are_loaded_as_tensors_only(library, monkeypatch):
    pytest.importorskip(library)
    seen = []

    def load(*_, **__):
        seen.append(os.environ.get("TORCH_FORCE_WEIGHTS_ONLY_LOAD"))
        raise OSError("no weights here")

    monkeypatch.setattr("torch.load", load)
    monkeypatch.setattr("torch.hub.load_state_dict_from_url", load)
    if library == "torchvision":
        monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", load)
    else:
        monkeypatch.setattr("timm.create_model", load)
    from hashkit.errors import ModelError
    from hashkit.training.networks import build_network

    with pytest.raises(ModelError, match="could not be downloaded"):
        build_network(f"{library}:resnet18", dropout=0.0, pretrained=True)
    assert seen == ["1"]
    if library == "timm":
        assert os.environ["HF_HUB_DISABLE_TELEMETRY"] == "1"
