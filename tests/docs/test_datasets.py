from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import get_args

import pytest

from hashkit.datasets.cifar import CIFAR10, CIFAR100
from hashkit.datasets.mnist import FASHION_MNIST, MNIST
from hashkit.datasets.protocols import PROTOCOLS
from hashkit.datasets.sets import IMAGE_SETS
from hashkit.errors import ImageFault
from hashkit.preprocess import IMAGE_SUFFIXES, MAX_PIXELS
from hashkit.runs.data_spec import ProtocolOptions

PAGE = (Path(__file__).parents[2] / "docs" / "datasets.md").read_text(encoding="utf-8")


def table(first_header):
    """Rows of the table whose header starts like this, as lists of cells without backticks."""
    lines = PAGE.splitlines()
    (start,) = (at for at, line in enumerate(lines) if line.startswith(f"| {first_header} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            return rows
        rows.append([cell.strip().replace("`", "") for cell in line.strip("|").split("|")])
    return rows


def test_every_named_set_is_in_the_table():
    rows = table("name | contents")
    assert [row[0] for row in rows] == list(IMAGE_SETS)
    for name, summary, size, _ in rows:
        assert summary == IMAGE_SETS[name].summary
        assert size == "{} x {}".format(*IMAGE_SETS[name].input_size)


def test_every_download_is_in_the_table():
    files = [("cifar10", CIFAR10.python), ("cifar100", CIFAR100.python)]
    for mnist in (MNIST, FASHION_MNIST):
        files += [(mnist.name, mnist.remote_file(one.stem)) for one in mnist.files]
    expected = [[name, file.name, f"<{file.url}>"] for name, file in files]
    assert table("name | file") == expected


def test_every_protocol_is_in_the_table():
    assert [row[0] for row in table("protocol")] == list(PROTOCOLS)


def test_every_option_is_in_the_table_with_its_protocols():
    expected = []
    for option in dataclasses.fields(ProtocolOptions):
        protocols = [
            name
            for name, kind in PROTOCOLS.items()
            if not kind.is_fixed
            and option.name in {field.name for field in dataclasses.fields(kind)}
        ]
        expected.append([option.name, ", ".join(protocols)])
    assert table("option") == expected


def test_every_reason_and_every_suffix_is_named():
    assert [row[0] for row in table("reason")] == list(get_args(ImageFault))
    assert f"{MAX_PIXELS:,}" in PAGE
    (sentence,) = re.findall(r"Images are recognised.*?\. Names", PAGE, re.DOTALL)
    assert set(re.findall(r"`(\.\w+)`", sentence)) == IMAGE_SUFFIXES


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
def test_the_python_of_the_page_runs(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, label in (("test.txt", 1), ("database.txt", 0), ("train.txt", 0)):
        (tmp_path / f"{label}.png").touch()
        (tmp_path / name).write_text(f"{label}.png {label}\n")
    exec(compile(block, "docs/datasets.md", "exec"), {})  # noqa: S102
