"""A folder that looks like the npm package onnxruntime-web, with made-up files."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Final

from hashkit.exporters.web import runtime as web_runtime
from hashkit.exporters.web.runtime import RUNTIME_FILES, RUNTIME_VERSION, WEBGPU_RUNTIME_FILES

__all__ = ["PUBLISHED", "take_as_published", "write_runtime"]


def _content(name: str) -> str:
    return f"stands for {name}"


PUBLISHED: Final = {
    attribute: {
        name: (target, hashlib.sha256(_content(name).encode()).hexdigest())
        for name, (target, _) in files.items()
    }
    for attribute, files in (
        ("RUNTIME_FILES", RUNTIME_FILES),
        ("WEBGPU_RUNTIME_FILES", WEBGPU_RUNTIME_FILES),
    )
}
"""Values of `hashkit.exporters.web.runtime` with which the made-up files count as published."""


def write_runtime(package: Path, version: str = RUNTIME_VERSION) -> Path:
    """Write the package's folder."""
    (package / "dist").mkdir(parents=True)
    fields = {"name": "onnxruntime-web", "version": version}
    (package / "package.json").write_text(json.dumps(fields))
    for name in RUNTIME_FILES | WEBGPU_RUNTIME_FILES:
        (package / "dist" / name).write_text(_content(name))
    return package


def take_as_published() -> None:
    """Let the made-up files count as the published ones, for the rest of the process."""
    for attribute, files in PUBLISHED.items():
        setattr(web_runtime, attribute, files)
