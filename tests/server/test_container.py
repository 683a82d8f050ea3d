"""The distribution for machines without a GPU, and the lines that make the container."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from email import message_from_string
from importlib.metadata import version
from pathlib import Path

import pytest
from house import ROOT

METADATA = """
import setuptools.build_meta as backend, sys
print("FOLDER", backend.prepare_metadata_for_build_wheel(sys.argv[1]))
"""


def metadata_of(project: Path, folder: Path) -> dict[str, list[str]]:
    """Name and requirements of a project, as a wheel of it states them."""
    folder.mkdir()
    made = subprocess.run(
        [sys.executable, "-c", METADATA, folder], cwd=project, capture_output=True, text=True
    )
    assert made.returncode == 0, made.stderr
    name = made.stdout.rpartition("FOLDER ")[2].strip()
    headers = message_from_string((folder / name / "METADATA").read_text(encoding="utf-8"))
    return {key: headers.get_all(key) for key in ("Name", "Version", "Requires-Dist")}


@pytest.mark.end_to_end
@pytest.mark.skipif(
    int(version("setuptools").split(".")[0]) < 77,
    reason="builds need setuptools 77, which pip gets",
)
def test_the_distribution_for_cpus_differs_in_one_package_alone(tmp_path):
    tree = tmp_path / "tree"  # a build writes beside what it builds
    shutil.copytree(
        ROOT, tree, ignore=shutil.ignore_patterns(".*", "build", "tests", "docs", "site")
    )
    both = metadata_of(tree, tmp_path / "gpu")
    cpu = metadata_of(tree / "packaging" / "cpu", tmp_path / "cpu")
    assert (both["Name"], cpu["Name"]) == (["hashkit-retrieval"], ["hashkit-retrieval-cpu"])
    assert cpu["Version"] == both["Version"]
    others = [one for one in both["Requires-Dist"] if not one.startswith("onnxruntime")]
    (runtime,) = [one for one in cpu["Requires-Dist"] if one not in others]
    assert re.fullmatch(r"onnxruntime>=[\d.]+", runtime)
    assert [one for one in cpu["Requires-Dist"] if one != runtime] == others


def lines_of_the_container(instruction: str) -> list[str]:
    """Lines of one instruction, such as RUN, in the first stage of the Containerfile."""
    text = (ROOT / "packaging" / "Containerfile").read_text(encoding="utf-8")
    stage = text.replace("\\\n", "").split("\nFROM ")[1]
    return re.findall(rf"^{instruction} (.*)$", stage, re.MULTILINE)


def copied_names() -> set[str]:
    """Files and folders that the Containerfile copies; the last word of a line is the target."""
    return {name for line in lines_of_the_container("COPY") for name in line.split()[:-1]}


def test_the_container_gets_all_that_its_build_reads():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    folders = project["tool"]["setuptools"]["package-dir"].values()
    needed = {folder.partition("/")[0] for folder in folders}
    needed |= {project["project"]["readme"], *project["project"]["license-files"]}
    assert copied_names() == needed | {"pyproject.toml", "constraints.txt", "packaging"}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_lines_of_the_container_make_a_server(tmp_path):
    """They run unchanged except for the folder; this takes minutes, and needs the package index."""
    tree, place = tmp_path / "src", tmp_path / "hashkit"
    tree.mkdir()
    for name in copied_names():
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tree / name)
    for line in lines_of_the_container("RUN"):
        command = line.replace("/opt/hashkit", str(place))
        subprocess.run(
            ["sh", "-c", command],
            cwd=tree,
            env=os.environ | {"DEVICE": "cpu"},
            check=True,
        )
    shown = subprocess.run(
        [place / "bin" / "hashkit", "serve", "--help"], capture_output=True, text=True
    )
    assert "--writable" in shown.stdout
    size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
    print(f"{size / 1e6:.0f} MB are installed")
    assert size < 500e6
