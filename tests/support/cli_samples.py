"""The command line as tests call it, and small image sets for it to work on."""

from __future__ import annotations

import dataclasses
import functools
import io
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import own_network
import pytest
from PIL import Image
from typer import testing
from typer.main import get_command

from hashkit.cli.app import app
from hashkit.datasets.digits import open_digits

ROOT = get_command(app)
COMMANDS = ROOT.commands
"""The commands by name, as the command line's own parser knows them."""

QUICK = "--bits 12 --steps 3 --batch-size 12 --size 8"
"""Settings of a training that takes a second."""

OWN_NETWORK = f"--network {shlex.quote(f'module:{own_network.__file__}:OwnNetwork')}"
"""A network of one layer, for trainings and exports in which the network does not matter."""


_digits = functools.cache(open_digits)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Exit code and output of a command."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """The JSON document on standard output, which must hold nothing else."""
        return json.loads(self.stdout)


def hashkit(command: str) -> Outcome:
    """Run ``hashkit <command>`` in this process and folder, whether it succeeds or fails."""
    with pytest.MonkeyPatch.context() as patch:
        # The runner builds all commands again for each call, which takes longer than most calls.
        patch.setattr(testing, "_get_command", lambda _: ROOT)
        result = testing.CliRunner().invoke(app, shlex.split(command))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Outcome(result.exit_code, result.stdout, result.stderr)


def succeed(command: str) -> Outcome:
    """Run a command that must succeed."""
    outcome = hashkit(command)
    assert outcome.exit_code == 0, f"hashkit {command}\n{outcome.stderr}"
    return outcome


def fail(command: str) -> str:
    """Run a command that must fail with one error line; returns that line."""
    outcome = hashkit(command)
    assert outcome.exit_code == 1, f"hashkit {command}: exit {outcome.exit_code}\n{outcome.stderr}"
    *notes, last = outcome.stderr.splitlines()
    assert last.startswith("error: "), outcome.stderr
    assert not any(line.startswith("error: ") for line in notes), outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert outcome.stdout == ""
    return last


def start(command: str, folder: Path, before: str = "") -> subprocess.Popen[str]:
    """Start ``hashkit <command>`` in a process of its own, on one thread.

    ``before`` is Python code that it runs first.
    """
    # A shell starts background commands with SIGINT ignored, and their children inherit this.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"{before}\nfrom hashkit.cli import main; main()"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, *shlex.split(command)],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def check_parses(line: str) -> None:
    """Parse a line as a shell would, without running it: its command and options exist."""
    words = shlex.split(line, comments=True)
    assert words[0] == "hashkit"
    name, *arguments = words[1:]
    if name.startswith("--"):
        assert name in ("--help", "--version")
        return
    assert name in COMMANDS, line
    if "--help" in arguments:
        assert arguments == ["--help"]
        return
    command = COMMANDS[name]
    try:
        command.make_context(name, arguments, parent=ROOT.context_class(ROOT)).close()
    except Exception as error:
        raise AssertionError(f"{line}: {error}") from None


def shell_lines(text: str) -> list[str]:
    """Lines of a page's shell blocks, fenced or indented, that call hashkit, joined."""
    fenced = re.findall(r"^```(?:sh|bash|console)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    rest = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    indented = [line for line in rest.splitlines() if line.startswith("    ")]
    lines = "\n".join([*fenced, *indented]).replace("\\\n", " ").splitlines()
    stripped = [line.strip().removeprefix("$ ") for line in lines]
    return [line for line in stripped if line.startswith("hashkit ")]


def write_digit(row: int, path: Path) -> Path:
    """Write one of the digits as an image file of its own size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(_digits().pixels[row]).save(path)
    return path


def write_class_folders(folder: Path, per_class: int = 6, suffix: str = ".jpg") -> list[str]:
    """Write digits 0, 1 and 2 into one folder per class; returns their names, in order."""
    digits = _digits()
    names = []
    for label, name in enumerate(("nought", "one", "two")):
        for row in np.flatnonzero(digits.labels == label)[:per_class]:
            names.append(f"{name}/{row:04d}{suffix}")
            write_digit(row, folder / names[-1])
    return names


def break_image(path: Path) -> None:
    """Replace an image by bytes that are not an image."""
    path.write_bytes(b"this is no image" * 20)


def cut_image(path: Path) -> None:
    """Truncate an image's file."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])


def jpeg_bytes(pixels: np.ndarray) -> bytes:
    """A JPEG file of pixels, uint8 [H, W, 3]."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()
