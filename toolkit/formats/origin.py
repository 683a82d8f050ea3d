"""Where codes come from: a bank's metadata, kept when codes pass through other formats."""

from __future__ import annotations

import dataclasses

from hashkit.bank.header import BankHeader, BankSource, LabelKind
from hashkit.bank_set.joined import JoinedBanks
from hashkit.codesets import CodeDatabase, CodeSet, n_kept_rows
from hashkit.errors import CodesError
from hashkit.formats.rows import first_labels, has_files, has_names

__all__ = ["Origin", "StoredCodes", "describe", "origin_of"]


@dataclasses.dataclass(frozen=True)
class Origin:
    """Metadata of codes.

    Attributes
    ----------
    header, sources
        As in `hashkit.bank.reader.Bank`.
    n_consumed, is_complete
        Images of the last list that were processed, and whether that is all of them.
    """

    header: BankHeader
    sources: tuple[BankSource, ...]
    n_consumed: int
    is_complete: bool


@dataclasses.dataclass(frozen=True, repr=False)
class StoredCodes(CodeSet):
    """Codes of a file, with their origin if known."""

    origin: Origin | None = None


def origin_of(database: CodeDatabase) -> Origin | None:
    """Origin of the codes of a bank, or of a `StoredCodes` that has one; otherwise None."""
    if isinstance(database, CodeSet):
        return database.origin if isinstance(database, StoredCodes) else None
    if isinstance(database, JoinedBanks):  # its shards are complete
        n_consumed = database.banks[-1].n_consumed
        return Origin(database.header, database.sources, n_consumed, is_complete=True)
    from hashkit.bank.reader import Bank  # here, because other formats do not need h5py

    if not isinstance(database, Bank):
        return None
    return Origin(database.header, database.sources, database.n_consumed, database.is_complete)


def describe(database: CodeDatabase) -> Origin:
    """Origin to write with these codes; its fields are empty if the origin is unknown.

    Classes of multi-hot labels without names are named by their numbers, as in evaluation.

    Raises
    ------
    CodesError
        If the number of class names is not the number of label columns.
    """
    labels, class_names = first_labels(database), tuple(database.class_names)
    kind: LabelKind = "none" if labels is None else "single" if labels.ndim == 1 else "multi"
    if labels is not None and labels.ndim == 2:
        n_classes = labels.shape[1]
        class_names = class_names or tuple(map(str, range(n_classes)))
        if len(class_names) != n_classes:
            raise CodesError(
                f"expected {n_classes} class names, one per column, found {len(class_names)}"
            )
    origin = origin_of(database)
    if origin is not None:
        header = dataclasses.replace(
            origin.header,
            class_names=class_names,
            label_kind=kind,
            has_names=has_names(database),
            has_files=has_files(database),
        )
        return dataclasses.replace(origin, header=header)
    header = BankHeader(
        database.n_bits,
        class_names=class_names,
        label_kind=kind,
        has_names=has_names(database),
    )
    return Origin(header, (), n_kept_rows(database), is_complete=True)
