"""Files inside a Qt binary resource file (.rcc), which is how gcompris-qt-data ships photographs.

The format is that of Qt's ``qresource.cpp``: a header of offsets, a tree of nodes, names in UTF-16,
and data with their length before them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

__all__ = ["files_in"]

_COMPRESSED, _FOLDER = 0x05, 0x02
_NODE_BYTES: Final = {1: 14, 2: 22, 3: 22}


def files_in(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of each file that is stored as it is; compressed ones are left out."""
    data = path.read_bytes()
    magic, version, tree, contents, names = struct.unpack_from(">4s4I", data)
    if magic != b"qres" or version not in _NODE_BYTES:
        raise ValueError(f"{path}: expected a Qt resource file of version 1 to 3")

    def name_at(offset: int) -> str:
        (length,) = struct.unpack_from(">H", data, names + offset)
        start = names + offset + 6
        return data[start : start + 2 * length].decode("utf-16-be")

    def below(node: int, prefix: str) -> Iterator[tuple[str, bytes]]:
        at = tree + node * _NODE_BYTES[version]
        name, flags = struct.unpack_from(">IH", data, at)
        full = prefix + name_at(name) if node else ""
        if flags & _FOLDER:
            count, first = struct.unpack_from(">2I", data, at + 6)
            for child in range(first, first + count):
                yield from below(child, f"{full}/" if full else "")
        elif not flags & _COMPRESSED:
            (offset,) = struct.unpack_from(">I", data, at + 10)
            (length,) = struct.unpack_from(">I", data, contents + offset)
            start = contents + offset + 4
            yield full, data[start : start + length]

    yield from below(0, "")
