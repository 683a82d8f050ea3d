"""Write the search page: a folder that any web server can serve."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from hashkit._version import __version__
from hashkit.bank_set.joined import AnyBank
from hashkit.errors import BankMismatchError
from hashkit.exporters.web.images import PICTURE_SIDE, ImageFinder, live_rows, write_images
from hashkit.exporters.web.page_files import SETTINGS, page_files
from hashkit.exporters.web.page_folder import (
    FILES,
    FORMAT,
    MANIFEST,
    check_target,
    is_picture,
    replaced_page,
)
from hashkit.exporters.web.pixels import input_rule
from hashkit.exporters.web.runtime import RUNTIME_VERSION, copy_runtime
from hashkit.files.writing import file_digest
from hashkit.runtimes.onnx_file import read_onnx_file

__all__ = ["DEFAULT_IMAGES", "DEFAULT_TITLE", "FORMAT_VERSION", "WebReport", "export_web"]

FORMAT_VERSION: Final = 2
"""Format version of the folder; the page refuses other versions."""

DEFAULT_IMAGES: Final = 2000
"""Largest number of images of the bank in a page."""

DEFAULT_TITLE: Final = "Find similar images"
"""Title of a page."""


@dataclasses.dataclass(frozen=True)
class WebReport:
    """The result of an export.

    Attributes
    ----------
    path
        The folder.
    n_images, n_thumbnails
        Number of images that the page searches, and how many of them have a thumbnail.
    n_database
        Number of images in the bank, without deleted rows.
    n_files, n_bytes
        Number of files in the folder, and their total size.
    n_bits
        Code length.
    webgpu
        Whether users can choose to run the model on their GPU.
    model_sha256
        SHA-256 of the model file, hexadecimal.
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
    bank: AnyBank,
    image_of: ImageFinder,
    runtime: Path,
    webgpu: bool = False,
    n_images: int = DEFAULT_IMAGES,
    title: str = DEFAULT_TITLE,
    picture_side: int = PICTURE_SIDE,
    progress: Callable[[int, int], None] | None = None,
) -> WebReport:
    """Write a self-contained search page, which fetches nothing from other servers.

    The folder gets its name when it is complete. An earlier page is replaced then; files of the
    user in its folder stay. `hashkit.exporters.web.page_folder` has the details.

    Parameters
    ----------
    folder
        Folder to write.
    model
        The ONNX model.
    bank
        Codes of that model.
    image_of
        Returns the image of a row of the bank.
    runtime
        Folder of the npm package onnxruntime-web, as returned by `find_runtime`.
    webgpu
        Let users choose to run the model on their GPU; this needs a larger runtime.
    n_images
        Largest number of images to take from the bank, evenly spaced.
    title
        Title of the page.
    picture_side
        Length of the longer side of the pictures in the larger view, pixels; 0 for none, so that
        the larger view shows thumbnails.
    progress
        Called as ``progress(done, total)``, counted in images.

    Raises
    ------
    ConfigError
        If ``folder`` has other content, the runtime's files are not the published ones, or a
        browser cannot reproduce the model's pixels.
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
    with replaced_page(folder) as part:
        _write_page(part, title)
        copy_runtime(runtime, part / "runtime", webgpu=webgpu)
        shutil.copyfile(model, part / "model.onnx")
        n_thumbnails = write_images(
            part / "bank", bank, rows, image_of, progress, picture_side=picture_side
        )
        document = {
            FORMAT: FORMAT_VERSION,
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
        files = [path for path in part.rglob("*") if path.is_file()]
        names = (path.relative_to(part) for path in files)
        document[FILES] = sorted(name.as_posix() for name in names if not is_picture(name))
        manifest = part / MANIFEST
        manifest.write_text(json.dumps(document, indent=2) + "\n", encoding="ascii")
        sizes = [path.stat().st_size for path in [*files, manifest]]
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


def _write_page(folder: Path, title: str) -> None:
    """Write the page's own files, with settings for a search in the browser."""
    settings = json.dumps({"backend": "browser", "title": title}) + "\n"
    for name, data in (page_files() | {SETTINGS: settings.encode("ascii")}).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)


def _dataset(bank: AnyBank) -> str:
    """Name of the bank's images: an image set's name, or a folder's name without its path."""
    source = bank.header.source
    return "" if source is None else Path(source.dataset).name
