"""The header of a checkpoint, read without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from looped import looped

from hashkit.errors import CheckpointError
from hashkit.manifest import Manifest
from hashkit.runs.checkpoint_header import (
    FORMAT_VERSION,
    parse_header,
    read_checkpoint_manifest,
    read_checkpoint_network,
    resume_state,
)
from hashkit.runs.config import TrainConfig

MANIFEST = Manifest(12, 8, 8, class_names=("cat",), versions={"torch": "2"})
STATE: dict[str, Any] = {
    "names_sha256": "ab",
    "scaler": {"scale": 2.0},
    "best_step": 3,
    "best_score": 0.5,
    "held_out": None,
}
HEADER: dict[str, Any] = {
    "format_version": FORMAT_VERSION,
    "step": 3,
    "config": TrainConfig().to_dict(),
    "manifest": MANIFEST.to_dict(),
    "state": STATE,
}


def checkpoint(folder: Path, **changes: Any) -> Path:
    """A safetensors file without tensors."""
    text = json.dumps({"__metadata__": {"hashkit": json.dumps(HEADER | changes)}}).encode()
    (folder / "a.safetensors").write_bytes(len(text).to_bytes(8, "little") + text)
    return folder / "a.safetensors"


def test_the_manifest_and_the_network_are_read(tmp_path: Path) -> None:
    assert read_checkpoint_manifest(checkpoint(tmp_path)) == MANIFEST
    assert read_checkpoint_network(checkpoint(tmp_path)) == TrainConfig().network


@looped(
    ("changes", "message"),
    [
        ({"step": "3"}, 'step: expected a whole number, found "3"'),
        ({"step": -1}, "expected a step from 0, found -1"),
        ({"manifest": []}, "manifest: expected an object, found []"),
        ({"manifest": {"n_bits": 12}}, "height is missing"),
        ({"config": 3}, "config: expected an object, found 3"),
        ({"more": 1}, "more is unknown"),
        ({"format_version": 3, "more": 1}, "expected checkpoint format version 2, found 3"),
        ({"format_version": None}, "format_version: expected a whole number, found null"),
    ],
)
def test_a_wrong_header_is_a_one_line_error(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint_manifest(checkpoint(tmp_path, **changes))
    assert message in str(caught.value)
    assert "a.safetensors" in str(caught.value)
    assert str(caught.value).isprintable()


@looped("network", [3, None, ["compact"], "vgg"])
def test_a_wrong_network_is_a_one_line_error(tmp_path: Path, network: Any) -> None:
    path = checkpoint(tmp_path, config={"network": network})
    with pytest.raises(CheckpointError, match=r"a\.safetensors"):
        read_checkpoint_network(path)


@looped(
    "content",
    [b"", b"1234567", b"\xff" * 8, b"\xff" * 7 + b"\x7f", bytes(8), b"\2" + bytes(7) + b"[]"],
)
def test_a_file_that_is_not_a_checkpoint_is_a_one_line_error(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"a\.safetensors is not a checkpoint of hashkit"):
        read_checkpoint_manifest(tmp_path / "a.safetensors")


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no such checkpoint"):
        read_checkpoint_manifest(tmp_path / "none")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_checkpoint_manifest(tmp_path)


@looped("text", ["", "[1]", "{", '{"step": NaN}', '{"step": 1, "step": 2}'])
def test_a_header_that_is_not_an_object_is_a_one_line_error(text: str) -> None:
    with pytest.raises(CheckpointError, match=r"^a: "):
        parse_header(text, "a")


def test_the_state_to_resume_from_is_checked() -> None:
    assert resume_state(STATE, Path("a")).best_step == 3
    assert resume_state({**STATE, "later": 1}, Path("a")).without_momentum == ()
    for name in STATE:
        without = {key: value for key, value in STATE.items() if key != name}
        with pytest.raises(CheckpointError, match=f"a cannot be resumed: its state: {name} is mis"):
            resume_state(without, Path("a"))
        with pytest.raises(CheckpointError, match=f"its state: {name}: expected"):
            resume_state({**STATE, name: ["x"]}, Path("a"))
