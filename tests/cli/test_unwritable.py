"""Every command that writes, where it cannot: one line, and everything is as before."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_samples import fail, hashkit, succeed, write_class_folders
from small_models import linear_model

posix = pytest.mark.skipif(os.name == "nt", reason="names are limited otherwise")

COMMANDS = {
    "encode": "encode photos --model m.onnx --out {}.h5",
    "search": "search --query photos/one/0001.jpg --bank b.h5 --model m.onnx --save-picture {}.png",
    "bank": "convert b.h5 {}.h5",
    "npz": "convert b.h5 {}.npz",
    "text": "convert b.h5 {}.txt",
    "parquet": "convert b.h5 {}.parquet",
    "faiss": "convert b.h5 {}.faiss",
    "report": "evaluate b.h5 b.h5 --report {}.html",
}
IN_PLACE = {
    "append": "encode more --model m.onnx --out b.h5 --append",
    "index": "index b.h5 --overwrite",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("made")
    write_class_folders(place / "photos", per_class=2)
    write_class_folders(place / "more", per_class=3)
    linear_model(place / "m.onnx", n_bits=16, height=8, width=8)
    succeed(f"encode {place}/photos --model {place}/m.onnx --labels folders --out {place}/b.h5")
    succeed(f"index {place}/b.h5")
    return place


@pytest.fixture
def place(made, tmp_path, monkeypatch) -> Path:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def full_disk() -> Iterator[None]:
    """A disk on which no file can get longer than 256 bytes."""
    resource = pytest.importorskip("resource")
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (256, most))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


def content(place: Path) -> dict[str, bytes]:
    """All files but the locks of banks, which stay by design."""
    return {
        str(path.relative_to(place)): path.read_bytes()
        for path in place.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    }


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("taken", "folder"),
        ("m.onnx/new", "m.onnx: Not a directory"),
        pytest.param("n" * 252, "File name too long", marks=posix),
    ],
)
def test_a_path_that_cannot_be_a_file(place, command, target, reason):
    suffix = command.rpartition("{}")[2]
    (place / f"taken{suffix}").mkdir()
    before = content(place)
    outcome = hashkit(command.format(target))
    assert outcome.exit_code == 1
    line = outcome.stderr.splitlines()[-1]
    assert line.startswith(f"error: {target}{suffix}: cannot be written (")
    assert reason in line
    assert "; " in line
    assert content(place) == before


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_disk_that_is_full(place, command, full_disk):
    before = content(place)
    outcome = hashkit(command.format("new"))
    if outcome.exit_code == 0:  # a few codes take less
        return
    line = outcome.stderr.splitlines()[-1]
    assert line.startswith("error: new.")
    assert "File too large" in line
    assert content(place) == before


@pytest.mark.parametrize("command", IN_PLACE.values(), ids=IN_PLACE)
def test_a_disk_that_is_full_keeps_what_is_there(place, command, full_disk):
    before = content(place)
    assert "File too large" in fail(command)
    assert content(place) == before


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_folders_that_are_missing_are_made(place, command):
    succeed(command.format("a/b/new"))
    (written,) = (path for path in (place / "a" / "b").iterdir() if path.suffix != ".lock")
    assert written.stat().st_size > 0
