"""The files of the page itself: HTML, scripts and style, the same for a folder and a server."""

from __future__ import annotations

from importlib import resources
from typing import Final

__all__ = ["INDEX", "SETTINGS", "page_files"]

INDEX: Final = "index.html"
"""Path of the document, below the page's address."""

SETTINGS: Final = "page/settings.json"
"""Path of the settings, which name the backend; in the package they name a server."""


def page_files() -> dict[str, bytes]:
    """Files of the page by their paths below its address.

    ``index.html`` belongs to the address itself; it names the others, ``page/...``, relative to
    it. The settings name a server as the backend; `hashkit.exporters.web.folder` replaces them, so
    that the page searches in the browser.
    """
    folder = resources.files("hashkit.exporters.web") / "page"
    files = {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}
    return {INDEX: files.pop(INDEX)} | {f"page/{name}": files[name] for name in sorted(files)}
