"""Reads and writes codes in all supported formats: code banks and formats of other programs.

docs/formats.md describes them. `FORMATS` has an entry for each suffix. The content of a file
determines its format if possible, so a bank may have any name.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from hashkit.bank_set.joined import as_one
from hashkit.codesets import CodeDatabase, check_database
from hashkit.errors import CodesError
from hashkit.files.addresses import url_of
from hashkit.formats.bank import BANK
from hashkit.formats.bank_set import BANK_SET, write_bank_set
from hashkit.formats.faiss_index import FAISS
from hashkit.formats.faiss_reading import IDENTIFIERS
from hashkit.formats.format import Format, WriteProgress
from hashkit.formats.labels import load_labels
from hashkit.formats.lance import LANCE
from hashkit.formats.npy import NPY
from hashkit.formats.npz import NPZ
from hashkit.formats.origin import StoredCodes, origin_of
from hashkit.formats.parquet import PARQUET
from hashkit.formats.text import TEXT
from hashkit.inputs.arguments import checked_arguments
from hashkit.inputs.arrays import NPY_SIGNATURE
from hashkit.inputs.opening import open_file

__all__ = ["EXPORTS", "FORMATS", "format_named", "format_of", "open_codes", "save_codes"]

FORMATS: Final[Mapping[str, Format]] = {
    ".h5": BANK,
    ".hdf5": BANK,
    ".npz": NPZ,
    ".npy": NPY,
    ".parquet": PARQUET,
    ".faiss": FAISS,
    ".index": FAISS,
    ".txt": TEXT,
}
"""The formats by the suffix of a file's name."""

EXPORTS: Final[Mapping[str, Format]] = {".lance": LANCE}
"""Formats that are written and never read, by suffix."""

_BY_SUFFIX: Final = {**FORMATS, **EXPORTS}

_SIGNATURES: Final = {
    b"\x89HDF\r\n\x1a\n": BANK,
    b"PAR1": PARQUET,
    b"PK\x03\x04": NPZ,
    NPY_SIGNATURE: NPY,
    **dict.fromkeys(IDENTIFIERS, FAISS),
}
_DIGITS: Final = b"01\xef"
"""First byte of a text file of codes: a bit or a byte order mark."""


def format_named(path: str | os.PathLike[str]) -> Format:
    """Format of a file to write, by its suffix.

    Raises
    ------
    CodesError
        If the suffix is unknown.
    """
    suffix = Path(path).suffix
    if suffix not in _BY_SUFFIX:
        raise CodesError(
            f"{path}: unknown suffix {suffix!r} for codes; known: {', '.join(_BY_SUFFIX)}"
        )
    return _BY_SUFFIX[suffix]


def format_of(path: str | os.PathLike[str]) -> Format:
    """Format of an existing file, by its content, otherwise by its suffix; a folder is a bank set.

    Raises
    ------
    CodesError
        If neither determines the format.
    """
    path = Path(path)
    if url_of(path) is not None:
        return BANK_SET
    if path.is_dir():
        return EXPORTS.get(path.suffix, BANK_SET)
    start = _start(path)
    for signature, kind in _SIGNATURES.items():
        if start.startswith(signature):
            return kind
    if path.suffix in _BY_SUFFIX:
        return _BY_SUFFIX[path.suffix]
    if not path.exists():
        raise CodesError(f"{path}: there is no such file")
    if start and start[0] in _DIGITS:
        return TEXT
    return format_named(path)


@checked_arguments
def open_codes(
    path: str | os.PathLike[str],
    labels_path: str | os.PathLike[str] | None = None,
    *,
    n_bits: int | None = None,
) -> CodeDatabase:
    """Open codes in any format: a bank, or a file from another program.

    Parameters
    ----------
    path
        A file in one of `FORMATS`, or the folder of a bank set.
    labels_path
        A file of labels, one per line, for codes without labels.
    n_bits
        Number of bits of a code, for files that do not contain it: Faiss indexes, and archives
        without ``bits``.

    Returns
    -------
    CodeDatabase
        A `Bank` of a bank's file, otherwise an object with the attributes of a `CodeSet`.

    Raises
    ------
    BankError
        If a bank cannot be opened.
    CodesError
        If the files cannot be read, are ambiguous, contradict ``n_bits``, or a labels file is
        given for codes that have labels.
    MissingExtraError
        If the package that reads the format is not installed.
    """
    path = Path(path)
    database = format_of(path).read(path, n_bits)
    return database if labels_path is None else _labelled(database, path, Path(labels_path))


@checked_arguments
def save_codes(
    path: str | os.PathLike[str],
    database: CodeDatabase,
    *,
    overwrite: bool = False,
    shards: int | None = None,
    progress: WriteProgress | None = None,
) -> None:
    """Write codes atomically, in the format of the file's suffix, without deleted rows.

    Parameters
    ----------
    path
        A file with a suffix of `FORMATS` or `EXPORTS`, or a folder with ``shards``; may be what
        ``database`` was opened from.
    overwrite
        Whether an existing file, or bank set, may be replaced.
    shards
        Write a bank set of this many shards, 1 to 99,999; None to write a file.
    progress
        See `WriteProgress`.

    Raises
    ------
    BankError, CodesError
        If the suffix is unknown, the file exists, or the format cannot store the codes.
    MissingExtraError
        If the package that writes the format is not installed.
    """
    database = as_one(database)
    check_database(database, "`database`")
    if shards is not None:
        write_bank_set(Path(path), database, shards, overwrite=overwrite, progress=progress)
        return
    format_named(path).write(Path(path), database, overwrite=overwrite, progress=progress)


def _labelled(database: CodeDatabase, path: Path, labels_path: Path) -> StoredCodes:
    if database.labels is not None:
        raise CodesError(f"{path} already contains labels: leave out {labels_path}")
    labels, class_names = load_labels(labels_path)
    if len(labels) != len(database):
        raise CodesError(
            f"expected {len(database)} labels in {labels_path}, one per code of {path}, "
            f"found {len(labels)}"
        )
    return StoredCodes(
        codes=database.codes,
        n_bits=database.n_bits,
        labels=labels,
        names=database.names,
        class_names=class_names,
        deleted=database.deleted,
        origin=origin_of(database),
    )


def _start(path: Path) -> bytes:
    try:
        with open_file(path) as file:
            return file.read(8)
    except OSError:
        return b""  # opening the file later reports what is wrong
