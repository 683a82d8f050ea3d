"""The package ``hashkit`` in the layout of an installation, made of links to this repository."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

__all__ = ["lay_out"]


def lay_out(root: Path, target: Path) -> Path:
    """Make ``target`` a folder that provides ``import hashkit`` when it is on the path.

    Each entry of the packages' folders is a link (a copy if links are not possible). The metadata
    of an installed distribution, which contains the version, is written as well.
    """
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    folders = project["tool"]["setuptools"]["package-dir"]
    shutil.rmtree(target, ignore_errors=True)
    for package, folder in sorted(folders.items()):
        place = target.joinpath(*package.split("."))
        place.mkdir(parents=True, exist_ok=True)
        for entry in sorted((root / folder).iterdir()):
            if entry.name != "__pycache__":
                _link(entry, place / entry.name)
    _write_metadata(project["project"], target)
    return target


def _link(source: Path, place: Path) -> None:
    try:
        place.symlink_to(source)
    except OSError:
        copy = shutil.copytree if source.is_dir() else shutil.copy2
        copy(source, place)


def _write_metadata(project: dict[str, object], target: Path) -> None:
    name, version = str(project["name"]), str(project["version"])
    folder = target / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir()
    text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    (folder / "METADATA").write_text(text, encoding="utf-8")
