"""Pipes, devices and folders in place of files are errors or listed faults; nothing waits."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
from cli_samples import break_image, fail, start, succeed, write_digit
from linear_models import linear_model
from looped import looped

import hashkit as package
from hashkit.runs.data_spec import DataSpec
from hashkit.runs.run import Run
from hashkit.runs.run_config import RunConfig

pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="there are no such files"),
    pytest.mark.timeout(120),
]

SPARSE = 40_000_000_000


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a model, a bank, and a pipe."""
    monkeypatch.chdir(tmp_path)
    linear_model(Path("m.onnx"), n_bits=16, height=4, width=4)
    codes = np.arange(20, dtype=np.uint8).reshape(-1, 2)
    package.save_codes(Path("a.h5"), package.CodeSet(codes, 16, labels=np.arange(10)))
    os.mkfifo("pipe")
    return tmp_path


def odd_folder(folder: Path) -> set[str]:
    """Fill a folder with two images, and with pipes, links and the like named as images."""
    write_digit(3, folder / "good.png")
    write_digit(4, folder / "other.png")
    break_image(folder / "broken.png") if (folder / "broken.png").exists() else None
    os.mkfifo(folder / "pipe.jpg")
    (folder / "device.jpg").symlink_to("/dev/zero")
    (folder / "loop.jpg").symlink_to("loop.jpg")
    (folder / "gone.jpg").symlink_to("nowhere.jpg")
    (folder / "circle").symlink_to(folder)
    with (folder / "sparse.png").open("wb") as file:
        file.truncate(SPARSE)
    return {"pipe.jpg", "device.jpg", "loop.jpg", "gone.jpg", "sparse.png"}


def test_a_folder_of_odd_names_is_encoded_with_listed_faults(place):
    odd = odd_folder(place / "photos")
    (made,) = succeed("encode photos --model m.onnx --out o.h5 --json").json["banks"]
    assert made["n_rows"] == 2
    lines = Path(made["faults_path"]).read_text().splitlines()
    faults = {fault["name"]: fault for fault in map(json.loads, lines)}
    assert set(faults) == odd
    assert faults["pipe.jpg"]["message"].endswith("expected a file, found a pipe)")
    assert faults["device.jpg"]["message"].endswith("expected a file, found a device)")
    assert faults["sparse.png"]["reason"] == "too-large"
    assert "--limit image-bytes=40000000000" not in faults["sparse.png"]["message"]
    assert "image_bytes=40000000000" in faults["sparse.png"]["message"]
    assert all(fault["reason"] in ("missing", "too-large") for fault in faults.values())


LINES = (
    "search --query pipe --model m.onnx --bank a.h5",
    "search --query a.png --model m.onnx --bank pipe",
    "search --query a.png --model pipe --bank a.h5",
    "search --query a.png --bank a.h5 --run pipe",
    "encode pipe --model m.onnx --out o.h5",
    "encode photos --model pipe --out o.h5",
    "encode photos --model m.onnx --out pipe",
    "evaluate pipe a.h5",
    "evaluate a.h5 pipe",
    "evaluate a.h5 a.h5 --query-labels pipe",
    "info pipe",
    "info linked.npz",
    "info linked.parquet",
    "info linked.faiss",
    "info linked.txt",
    "info linked.npy",
    "info linked.h5",
    "info linked.onnx",
    "info linked.safetensors",
    "convert pipe o.npz",
    "convert a.h5 pipe.npz --overwrite",
    "index pipe",
    "delete pipe --rows 0",
    "train --data pipe",
    "train --data digits --query-list pipe",
    "train --triplets pipe",
    "train --resume --run pipe",
    "export --onnx --run runs/a",
    "export --onnx --run runs/a --checkpoint pipe",
    "train --resume --run runs/b",
    "evaluate --run runs/b",
    "bench --model pipe --random",
)


@pytest.fixture
def pipes(place):
    """The same folder, with a pipe in place of each kind of file."""
    write_digit(3, place / "a.png")
    write_digit(3, place / "photos" / "b.png")
    for suffix in ("npz", "parquet", "faiss", "txt", "npy", "h5", "onnx", "safetensors"):
        Path(f"linked.{suffix}").symlink_to("pipe")
    Path("pipe.npz").symlink_to("pipe")
    run = Run.create(Path("runs"), "a", RunConfig(data=DataSpec()))
    run.best_path.symlink_to(place / "pipe")
    other = Run.create(Path("runs"), "b", RunConfig(data=DataSpec()))
    other.config_path.unlink()
    os.mkfifo(other.config_path)


@looped("line", LINES)
def test_a_pipe_is_never_waited_for(pipes, line):
    outcome = in_time(lambda: fail(line))
    assert outcome.startswith("error: ")


def in_time(call, seconds: float = 60.0):
    """The result of a call, which must not hang."""
    result: list[object] = []

    def work() -> None:
        try:
            result.append(call())
        except BaseException as error:
            result.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    assert result, "it hangs"
    if isinstance(result[0], BaseException):
        raise result[0]
    return result[0]


@pytest.mark.end_to_end
def test_ctrl_c_ends_an_encoding_of_odd_names(place):
    odd_folder(place / "photos")
    for number in range(3000):
        (place / "photos" / f"{number}.png").symlink_to("good.png")
    process = start("encode photos --model m.onnx --out o.h5", place)
    try:
        while not (place / "o.h5").exists() and process.poll() is None:
            pass
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode in (0, 130), said
    assert "Traceback" not in said
