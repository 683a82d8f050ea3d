"""Assembles the search page: a folder that any web server can serve."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any, Final

from hashkit._version import __version__
from hashkit.bank.reader import Bank
from hashkit.errors import BankMismatchError, ConfigError
from hashkit.exporters.web.images import ImageFinder, live_rows, write_images
from hashkit.exporters.web.pixels import input_rule
from hashkit.exporters.web.runtime import RUNTIME_VERSION, copy_runtime
from hashkit.files import file_digest, part_path
from hashkit.runtimes.onnx_file import read_onnx_file

__all__ = ["DEFAULT_IMAGES", "FORMAT_VERSION", "WebReport", "check_target", "export_web"]

FORMAT_VERSION: Final = 1
"""Version of the folder's files; the page refuses any other."""

DEFAULT_IMAGES: Final = 2000
"""Images of the bank that a page holds, at most."""

_MANIFEST: Final = "manifest.json"


@dataclasses.dataclass(frozen=True)
class WebReport:
    """What was written.

    Attributes
    ----------
    path
        The folder.
    n_images, n_thumbnails
        Images that the page searches, and how many of them it can show.
    n_database
        Images of the bank, deleted ones left out.
    n_files, n_bytes
        Files of the folder, and their bytes together.
    n_bits
        Bits of a code.
    webgpu
        Whether readers can choose to run the model on their GPU.
    model_sha256
        SHA-256 of the model's file, hexadecimal.
    """

    path: Path
    n_images: int
    n_thumbnails: int
    n_database: int
    n_files: int
    n_bytes: int
    n_bits: int
    webgpu: bool
    model_sha256: str

    def to_dict(self) -> dict[str, Any]:
        """Fields as JSON-ready values."""
        return dataclasses.asdict(self) | {"path": str(self.path)}


def export_web(
    folder: Path,
    *,
    model: Path,
    bank: Bank,
    image_of: ImageFinder,
    runtime: Path,
    webgpu: bool = False,
    n_images: int = DEFAULT_IMAGES,
    progress: Callable[[int, int], None] | None = None,
) -> WebReport:
    """Write a search page: what it needs, and nothing that is fetched from elsewhere.

    The folder appears when it is whole; an earlier page in its place is replaced.

    Parameters
    ----------
    folder
        Folder to write.
    model
        The ONNX model.
    bank
        Codes of that model.
    image_of
        Finds the image of a row of the bank.
    runtime
        Folder of the npm package onnxruntime-web, as `find_runtime` gives it.
    webgpu
        Let readers choose to run the model on their GPU; the runtime is larger then.
    n_images
        Images of the bank to take, at most, spread over it.
    progress
        Told how many images are done, and of how many.

    Raises
    ------
    ConfigError
        If ``folder`` holds something else, the runtime's files are not the published ones, or a
        browser cannot make the model's pixels.
    BankMismatchError
        If the bank was made by another model.
    BankError, ModelError
        If bank or model cannot be used.
    """
    check_target(folder)
    description = read_onnx_file(model)
    model_sha256 = file_digest(model, "sha256")
    if bank.header.model_sha256 != model_sha256:
        raise BankMismatchError(
            f"{bank.path} was made by another model than {model}: encode the images again"
        )
    rule = input_rule(description.manifest)
    rows = live_rows(bank, n_images)
    n_database = len(bank) - bank.n_deleted
    with _appearing_whole(folder) as part:
        _copy_page(part)
        copy_runtime(runtime, part / "runtime", webgpu=webgpu)
        shutil.copyfile(model, part / "model.onnx")
        n_thumbnails = write_images(part / "bank", bank, rows, image_of, progress)
        document = {
            "hashkit_web": FORMAT_VERSION,
            "hashkit": __version__,
            "onnxruntime_web": RUNTIME_VERSION,
            "webgpu": webgpu,
            "model": description.manifest.to_dict(),
            "input": rule,
            "precision": description.precision,
            "model_bytes": model.stat().st_size,
            "model_sha256": model_sha256,
            "dataset": _dataset(bank),
            "n_images": len(rows),
            "n_database": n_database,
        }
        (part / _MANIFEST).write_text(json.dumps(document, indent=2) + "\n", encoding="ascii")
        sizes = [path.stat().st_size for path in part.rglob("*") if path.is_file()]
    return WebReport(
        path=folder,
        n_images=len(rows),
        n_thumbnails=n_thumbnails,
        n_database=n_database,
        n_files=len(sizes),
        n_bytes=sum(sizes),
        n_bits=bank.n_bits,
        webgpu=webgpu,
        model_sha256=model_sha256,
    )


def check_target(folder: Path) -> None:
    """Check that a page may be written there.

    Raises
    ------
    ConfigError
        If it is a file, or a folder that holds something else than an earlier page.
    """
    if folder.is_dir():
        if not any(folder.iterdir()) or _is_page(folder):
            return
    elif not folder.exists() and not folder.is_symlink():
        return
    raise ConfigError(
        f"{folder}: is there already, and is no page that hashkit wrote: name another folder"
    )


def _is_page(folder: Path) -> bool:
    try:
        fields = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(fields, dict) and "hashkit_web" in fields


@contextlib.contextmanager
def _appearing_whole(folder: Path) -> Iterator[Path]:
    """Give an empty folder to fill, which then takes the place of ``folder``."""
    folder = folder.absolute()
    part = part_path(folder)
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
        if folder.is_dir():
            shutil.rmtree(folder)
        part.replace(folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _copy_page(folder: Path) -> None:
    """Copy the page's own files, which come with the package."""
    for file in (resources.files("hashkit.exporters.web") / "page").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())


def _dataset(bank: Bank) -> str:
    """What the bank's images are called: a set's name, or a folder's without the way to it."""
    source = bank.header.source
    return "" if source is None else Path(source.dataset).name
