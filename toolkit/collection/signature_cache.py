"""Keeps the signatures of a folder's pictures, so that they are computed once.

One file per folder and model lies in the cache folder, with one line of JSON per picture. Lines are
appended as pictures are read, so the next process can use what a killed one has computed.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hashkit.collection.facts import ImageFacts
from hashkit.collection.position_codes import N_BITS, N_POSITIONS
from hashkit.collection.signatures import Signatures
from hashkit.collection.verification import SIDE
from hashkit.errors import DatasetError, HashkitError
from hashkit.files.cache import cache_folder
from hashkit.files.writing import append_whole, write_whole
from hashkit.inputs.json_lines import read_json_lines
from hashkit.inputs.opening import open_file

__all__ = ["KnownPicture", "SignatureCache"]

_VERSION: Final = 2
"""Increased when signatures are computed in another way."""

_MOST_BYTES: Final = 1_000_000_000
"""Size at which a file stops growing, about 160,000 pictures, so that it can be read again."""

_SHAPES: Final = {
    "hashes": (N_POSITIONS, N_BITS // 8),
    "thumbnail": (SIDE, SIDE),
    "learned": (N_BITS // 8,),
}


@dataclasses.dataclass(frozen=True)
class _Line:
    """A picture; digests are hexadecimal, arrays base64, and ``learned`` is empty without codes."""

    name: str
    n_bytes: int
    mtime_ns: int
    width: int
    height: int
    file_digest: str
    pixel_digest: str
    is_dated: bool
    hashes: str
    thumbnail: str
    learned: str


@dataclasses.dataclass(frozen=True, eq=False)
class KnownPicture:
    """What is kept of a picture.

    Attributes
    ----------
    facts
        Facts about its file, as it is now.
    signatures
        The signatures of this one picture.
    """

    facts: ImageFacts
    signatures: Signatures


class SignatureCache:
    """The signatures of the pictures of a folder.

    A file that cannot be read or written is ignored, without an error.

    Parameters
    ----------
    folder
        A real path.
    model
        SHA-256 of the model of the learned codes; empty for none.
    """

    def __init__(self, folder: Path, model: str) -> None:
        digest = hashlib.blake2b(os.fsencode(folder), digest_size=16).hexdigest()
        name = f"{digest}-{model[:12] or 'phash'}-v{_VERSION}.jsonl"
        self.path = cache_folder() / "signatures" / name
        self._has_learned = bool(model)
        self._lines = self._read()

    def find(self, name: str, path: Path) -> KnownPicture | None:
        """What is kept of a file; None if it is unknown, or its size or time has changed."""
        facts = self.find_facts(name, path)
        arrays = None if facts is None else _arrays(self._lines[name])
        if facts is None or arrays is None or (arrays[2] is None) is self._has_learned:
            return None
        return KnownPicture(facts, Signatures(*arrays))

    def find_facts(self, name: str, path: Path) -> ImageFacts | None:
        """The facts that are kept of a file; None in the same cases as `find`."""
        line = self._lines.get(name)
        if line is None:
            return None
        try:
            status = path.stat()
            digests = bytes.fromhex(line.file_digest), bytes.fromhex(line.pixel_digest)
        except (OSError, ValueError):
            return None
        if (status.st_size, status.st_mtime_ns) != (line.n_bytes, line.mtime_ns):
            return None
        return ImageFacts(
            name,
            path,
            line.n_bytes,
            line.mtime_ns,
            line.width,
            line.height,
            *digests,
            line.is_dated,
            path.is_symlink(),
            (status.st_dev, status.st_ino),
        )

    def add(self, facts: Sequence[ImageFacts], signatures: Signatures) -> None:
        """Add pictures; they are in the file when this returns."""
        lines = [_line(image, signatures[at : at + 1]) for at, image in enumerate(facts)]
        try:
            if self.path.exists() and self.path.stat().st_size > _MOST_BYTES:
                return
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            append_whole(self.path, _text(lines))
        except OSError:  # a full disk, or a home folder that is not writable
            return

    def _read(self) -> dict[str, _Line]:
        try:
            listed = read_json_lines(
                self.path, _Line, DatasetError, what="signatures", remedy="delete the file"
            )
        except HashkitError:
            listed = []
        lines = {line.name: line for line in listed}
        self._tidy(lines, len(listed))
        return lines

    def _tidy(self, lines: dict[str, _Line], n_listed: int) -> None:
        """Rewrite the file if it ends in half a line, or half of it is out of date."""
        try:
            with open_file(self.path) as file:
                file.seek(-1, os.SEEK_END)
                is_whole = file.read() == b"\n"
            if not is_whole or n_listed > 2 * len(lines) or not lines:
                write_whole(self.path, _text(lines.values()))
        except OSError:
            return


def _line(facts: ImageFacts, signature: Signatures) -> _Line:
    return _Line(
        facts.name,
        facts.n_bytes,
        facts.mtime_ns,
        facts.width,
        facts.height,
        facts.file_digest.hex(),
        facts.pixel_digest.hex(),
        facts.is_dated,
        _encoded(signature.hashes),
        _encoded(signature.thumbnails),
        "" if signature.learned is None else _encoded(signature.learned),
    )


def _text(lines: Iterable[_Line]) -> bytes:
    return "".join(json.dumps(dataclasses.asdict(line)) + "\n" for line in lines).encode("ascii")


def _encoded(array: NDArray[np.uint8]) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")


def _arrays(
    line: _Line,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8] | None] | None:
    """Hashes, thumbnail and learned code of a line, each of one picture; None if damaged."""
    try:
        hashes, thumbnail = (_decoded(line, name) for name in ("hashes", "thumbnail"))
        learned = _decoded(line, "learned") if line.learned else None
    except ValueError:
        return None
    return hashes, thumbnail, learned


def _decoded(line: _Line, name: str) -> NDArray[np.uint8]:
    data = base64.b64decode(getattr(line, name), validate=True)
    return np.frombuffer(data, np.uint8).reshape(1, *_SHAPES[name])
