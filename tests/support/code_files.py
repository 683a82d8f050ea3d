"""One set of codes, and files that hold it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hashkit.codes import pack

BITS = np.random.default_rng(0).integers(0, 2, (7, 13)).astype(np.uint8)
CODES = pack(BITS)


def saved(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "codes.npz", **arrays)
    return folder / "codes.npz"


def text(folder: Path, name: str, content: str) -> Path:
    (folder / name).write_bytes(content.encode())
    return folder / name
