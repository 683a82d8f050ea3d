"""What a bank keeps of each image's file, to notice files that have changed."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hashkit.errors import BankError

__all__ = ["FILE_DIGEST_BYTES", "ImageFiles", "encode_files"]

FILE_DIGEST_BYTES: Final = 16
"""Bytes of the digest of each image's file."""


@dataclasses.dataclass(frozen=True, eq=False)
class ImageFiles:
    """Size, time and digest of the file of each row's image.

    Attributes
    ----------
    sizes
        uint64 [n], bytes; 0 where unknown.
    mtimes_ns
        int64 [n], time of the last change, nanoseconds since 1970; 0 where unknown.
    digests
        uint8 [n, 16], BLAKE2b of the file, of 16 bytes; all 0 where unknown.
    """

    sizes: NDArray[np.uint64]
    mtimes_ns: NDArray[np.int64]
    digests: NDArray[np.uint8]

    @classmethod
    def unknown(cls, n_rows: int) -> ImageFiles:
        """The values of ``n_rows`` images that are not files, or whose files are unknown."""
        return cls(
            np.zeros(n_rows, np.uint64),
            np.zeros(n_rows, np.int64),
            np.zeros((n_rows, FILE_DIGEST_BYTES), np.uint8),
        )

    def set(self, row: int, size: int, mtime_ns: int, digest: bytes) -> None:
        """Set the values of one row; the arrays must be writable."""
        self.sizes[row] = size
        self.mtimes_ns[row] = mtime_ns
        self.digests[row] = np.frombuffer(digest, np.uint8)

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, rows: slice | NDArray[Any]) -> ImageFiles:
        return ImageFiles(self.sizes[rows], self.mtimes_ns[rows], self.digests[rows])


def encode_files(files: ImageFiles | None, n_rows: int) -> dict[str, bytes]:
    """Bytes of the datasets of files, by name; zeros for None.

    Raises
    ------
    BankError
        If ``files`` does not have ``n_rows`` rows.
    """
    files = ImageFiles.unknown(n_rows) if files is None else files
    columns: dict[str, tuple[NDArray[Any], str, tuple[int, ...]]] = {
        "file_size": (files.sizes, "<u8", (n_rows,)),
        "file_mtime_ns": (files.mtimes_ns, "<i8", (n_rows,)),
        "file_digest": (files.digests, "|u1", (n_rows, FILE_DIGEST_BYTES)),
    }
    for name, (values, dtype, shape) in columns.items():
        if values.shape != shape or not np.can_cast(values.dtype, dtype, "same_kind"):
            raise BankError(
                f"expected {name} to be {dtype} {list(shape)}, "
                f"found {values.dtype} {list(values.shape)}"
            )
    return {name: values.astype(dtype).tobytes() for name, (values, dtype, _) in columns.items()}
