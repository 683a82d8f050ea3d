"""The folder of a search page: which of its files are hashkit's, and how a page replaces another.

A folder may hold files of the user beside the page, such as ``.git`` and ``CNAME``; these stay. The
new page is written to a private folder first. If the target does not exist, that folder gets its
name. Otherwise its files are moved one by one, between two writes of manifest.json: the first marks
the page as incomplete, the last completes it. A killed process therefore leaves the earlier page,
the new one, or a page that says that it is incomplete, which the same command completes.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from hashkit.errors import ConfigError
from hashkit.files.private import held, is_private_name, private_folder
from hashkit.files.writing import make_parents, publish, sync_folder, write_whole
from hashkit.inputs.json_text import read_json

__all__ = [
    "FILES",
    "FORMAT",
    "MANIFEST",
    "check_target",
    "is_picture",
    "picture_name",
    "replaced_page",
    "thumbnail_name",
]

MANIFEST: Final = "manifest.json"
"""Describes the page; the last file to be written."""

FORMAT: Final = "hashkit_web"
"""Field of the manifest with the format version; 0 in a page that is incomplete."""

FILES: Final = "files"
"""Field of the manifest with the page's files, without manifest and pictures."""

_THUMBNAILS: Final = Path("bank", "thumbnails")
_PICTURES: Final = Path("bank", "pictures")
_PICTURE: Final = re.compile(r"\d+\.jpg")
_UNLISTED_FILES: Final = ("model.onnx", "bank/codes.bin", "bank/images.json")
"""Files of pages whose manifest does not list them, besides those that every page has."""


def thumbnail_name(row: int) -> str:
    """Path of a row's thumbnail below ``bank/``."""
    return f"{_THUMBNAILS.name}/{row}.jpg"


def picture_name(row: int) -> str:
    """Path of a row's larger picture below ``bank/``."""
    return f"{_PICTURES.name}/{row}.jpg"


def is_picture(name: Path) -> bool:
    """Whether a path relative to the page is that of a row's thumbnail or larger picture."""
    return name.parent in (_THUMBNAILS, _PICTURES) and bool(_PICTURE.fullmatch(name.name))


def check_target(folder: Path) -> None:
    """Check that a page may be written to a folder.

    Raises
    ------
    ConfigError
        If it is a file, or a folder with content other than an earlier page.
    """
    if folder.is_dir():
        if all(is_private_name(path.name) for path in folder.iterdir()) or _is_page(folder):
            return
    elif not folder.exists() and not folder.is_symlink():
        return
    raise ConfigError(
        f"{folder}: exists and is not a page written by hashkit: choose another folder"
    )


@contextlib.contextmanager
def replaced_page(folder: Path) -> Iterator[Path]:
    """Yield an empty folder to write a page to, which replaces the one in ``folder`` at the end.

    Raises
    ------
    ConfigError
        If ``folder`` has other content, or another process is writing it.
    OSError
        If it cannot be written; the earlier page is then unchanged.
    """
    check_target(folder)
    target = Path(os.path.realpath(folder))
    make_parents(target)
    place = target if target.is_dir() else target.parent
    with private_folder(target, place) as part:
        try:
            yield part
            _publish(part, target, folder)
        except OSError as error:
            _name_target(error, part, folder)
            raise


def _publish(part: Path, target: Path, folder: Path) -> None:
    if os.name != "nt":
        os.sync()  # one call takes less time than a flush of each of thousands of thumbnails
    if not target.exists():
        try:
            part.rename(target)
        except OSError as error:  # another process has made it meanwhile
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
        else:
            sync_folder(target.parent)
            return
    try:
        with held(target):
            check_target(folder)
            with ThreadPoolExecutor(1) as pool:  # Ctrl-C would otherwise leave half a page
                moved = pool.submit(_move_in, part, target)
                with contextlib.suppress(KeyboardInterrupt):
                    moved.result()
            moved.result()
    except BlockingIOError:
        raise ConfigError(
            f"{folder}: another process is writing this page; wait for it to end, and run the same "
            "command again"
        ) from None


def _move_in(part: Path, target: Path) -> None:
    """Move the files of a complete page into a folder, and remove those of the earlier page."""
    new = {path.relative_to(part) for path in part.rglob("*") if path.is_file()}
    earlier = _own_files(target)
    for name in new:  # obstacles are found before the earlier page is changed
        if (target / name).is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target / name))
        make_parents(target / name)
    listed = sorted(name.as_posix() for name in earlier | new if not is_picture(name))
    marked = json.dumps({FORMAT: 0, FILES: listed}) + "\n"
    write_whole(target / MANIFEST, marked.encode("ascii"))
    for name in sorted(new - {Path(MANIFEST)}):
        (part / name).replace(target / name)
    for name in earlier - new:
        (target / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # files of the user are in it
            if name.parent != Path():
                (target / name).parent.rmdir()
    if os.name != "nt":
        os.sync()
    publish(part / MANIFEST, target / MANIFEST)  # takes no space, even on a full disk


def _own_files(target: Path) -> set[Path]:
    """Files of an earlier page, relative to its folder, without the manifest."""
    listed = _manifest(target).get(FILES, _UNLISTED_FILES)
    names = listed if isinstance(listed, list | tuple) else ()
    own = {Path(name) for name in names if isinstance(name, str)}
    pictures = (
        folder / path.name
        for folder in (_THUMBNAILS, _PICTURES)
        for path in (target / folder).glob("*.jpg")
    )
    own |= {name for name in pictures if is_picture(name)}
    return {name for name in own if name != Path(MANIFEST) and _is_in(target, name)}


def _is_in(target: Path, name: Path) -> bool:
    """Whether a listed name is a file that a page can have: below the folder, and not hidden."""
    path = target / name
    try:
        is_below = path.parent.resolve().is_relative_to(target)
        return is_below and path.is_file() and not any(part.startswith(".") for part in name.parts)
    except (OSError, ValueError, RuntimeError):  # a name that no file can have, or a loop of links
        return False


def _is_page(folder: Path) -> bool:
    return FORMAT in _manifest(folder)


def _manifest(folder: Path) -> dict[str, object]:
    try:
        fields = read_json(folder / MANIFEST, ConfigError)
    except (OSError, ConfigError):
        return {}
    return fields if isinstance(fields, dict) else {}


def _name_target(error: OSError, part: Path, folder: Path) -> None:
    """Let an error about a private file name the file that it was to become."""
    if isinstance(error.filename, str) and Path(error.filename).is_relative_to(part):
        error.filename = str(folder / Path(error.filename).relative_to(part))
        error.filename2 = None
    elif error.filename is None and error.errno is not None:
        error.filename = str(folder)
