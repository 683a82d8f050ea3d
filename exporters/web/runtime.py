"""Find, verify and copy the files of onnxruntime-web that the page needs."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from hashkit.errors import ConfigError
from hashkit.files.writing import file_digest
from hashkit.inputs.json_text import read_json

__all__ = [
    "RUNTIME_FILES",
    "RUNTIME_VERSION",
    "WEBGPU_RUNTIME_FILES",
    "copy_runtime",
    "find_runtime",
]

RUNTIME_VERSION: Final = "1.30.0"
"""The supported version of onnxruntime-web."""

RUNTIME_FILES: Final = {
    "ort.wasm.bundle.min.mjs": (
        "ort.js",
        "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    ),
    "ort-wasm-simd-threaded.wasm": (
        "ort.wasm",
        "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
    ),
}
"""Files of the package's ``dist/``, with their names in the page's folder and their SHA-256.

They are renamed because some web servers do not know ``.mjs``, and browsers refuse scripts without
a JavaScript type.
"""

WEBGPU_RUNTIME_FILES: Final = {
    "ort.webgpu.bundle.min.mjs": (
        "ort.js",
        "0730816731ce2cdfb06f273da065d4a1c7091eb9d1756a83b2916c8a89d015e2",
    ),
    "ort-wasm-simd-threaded.asyncify.wasm": (
        "ort.wasm",
        "39f9f0894d478800487ed9f7dbe92618498db320cf55c8e3d89adff8dce658da",
    ),
}
"""The same for the build that runs models on the CPU and with WebGPU.

The smaller build, ``jspi``, needs an extension of WebAssembly: a browser without it could not even
run the model on the CPU.
"""

_INSTALL: Final = f"npm install onnxruntime-web@{RUNTIME_VERSION}"


def find_runtime(path: Path | None = None) -> Path:
    """Find the folder of the npm package onnxruntime-web, and check its version.

    Parameters
    ----------
    path
        The package's folder, or a folder with the package in ``node_modules/``; None for the
        current folder.

    Raises
    ------
    ConfigError
        If it is not found, or has another version.
    """
    places = [path or Path(), (path or Path()) / "node_modules" / "onnxruntime-web"]
    for place in places:
        version = _version(place)
        if version == RUNTIME_VERSION:
            return place
        if version is not None:
            raise ConfigError(
                f"{place}: expected onnxruntime-web {RUNTIME_VERSION}, found {version}: {_INSTALL}"
            )
    where = f"in {path}" if path is not None else "in node_modules/"
    raise ConfigError(
        f"a search page needs the npm package onnxruntime-web {RUNTIME_VERSION}, which is not "
        f"{where}: `{_INSTALL}` puts it there, or name its folder with `web_runtime=...`"
    )


def copy_runtime(runtime: Path, folder: Path, *, webgpu: bool = False) -> None:
    """Copy the files that the page needs from the package's folder.

    Parameters
    ----------
    runtime
        The package's folder.
    folder
        Folder to write.
    webgpu
        Copy the build that can also run models with WebGPU.

    Raises
    ------
    ConfigError
        If a file is missing, or is not the published one.
    """
    folder.mkdir(parents=True)
    files = WEBGPU_RUNTIME_FILES if webgpu else RUNTIME_FILES
    for name, (target, expected) in files.items():
        source = runtime / "dist" / name
        try:
            found = file_digest(source, "sha256")
        except FileNotFoundError:
            raise ConfigError(f"{source}: there is no such file: {_INSTALL}") from None
        if found != expected:
            raise ConfigError(
                f"{source}: expected SHA-256 {expected[:12]}, found {found[:12]}; it is not the "
                f"published file: {_INSTALL}"
            )
        shutil.copyfile(source, folder / target)


def _version(package: Path) -> str | None:
    """Version of onnxruntime-web in a folder; None if the package is not there."""
    try:
        fields = read_json(package / "package.json", ConfigError)
    except (OSError, ConfigError):
        return None
    if not isinstance(fields, dict) or fields.get("name") != "onnxruntime-web":
        return None
    return str(fields.get("version"))
