"""Where codes come from: what a bank says of itself, on its way through other formats."""

from __future__ import annotations

import dataclasses

from hashkit.bank.header import BankHeader, BankSource, LabelKind
from hashkit.codesets import CodeDatabase, CodeSet, n_live_rows
from hashkit.errors import CodesError

__all__ = ["Origin", "StoredCodes", "describe", "origin_of"]


@dataclasses.dataclass(frozen=True)
class Origin:
    """What is known of codes beside themselves.

    Attributes
    ----------
    header, sources
        As in `hashkit.bank.reader.Bank`.
    n_consumed, is_complete
        Images of the last list behind the rows, and whether that is all of them.
    """

    header: BankHeader
    sources: tuple[BankSource, ...]
    n_consumed: int
    is_complete: bool


@dataclasses.dataclass(frozen=True)
class StoredCodes(CodeSet):
    """Codes of a file, with their origin if it is known."""

    origin: Origin | None = None


def origin_of(database: CodeDatabase) -> Origin | None:
    """Origin of a bank's codes, or of those that kept it; else None."""
    if isinstance(database, CodeSet):
        return database.origin if isinstance(database, StoredCodes) else None
    from hashkit.bank.reader import Bank  # here, since codes made elsewhere need no h5py

    if not isinstance(database, Bank):
        return None
    return Origin(database.header, database.sources, database.n_consumed, database.is_complete)


def describe(database: CodeDatabase) -> Origin:
    """What a bank of these codes says of itself: their origin, or that it is not known.

    Classes of multi-hot labels without names are called by their numbers, as in evaluation.

    Raises
    ------
    CodesError
        If there are not as many class names as columns of labels.
    """
    labels, class_names = database.labels, tuple(database.class_names)
    kind: LabelKind = "none" if labels is None else "single" if labels.ndim == 1 else "multi"
    if labels is not None and labels.ndim == 2:
        n_classes = labels.shape[1]
        class_names = class_names or tuple(map(str, range(n_classes)))
        if len(class_names) != n_classes:
            raise CodesError(
                f"expected a name for each of {n_classes} classes, found {len(class_names)}"
            )
    origin = origin_of(database)
    if origin is not None:
        header = dataclasses.replace(origin.header, class_names=class_names, label_kind=kind)
        return dataclasses.replace(origin, header=header)
    header = BankHeader(
        n_bits=database.n_bits,
        manifest=None,
        model_sha256="",
        runtime="",
        provider="",
        precision="",
        class_names=class_names,
        label_kind=kind,
        source=None,
    )
    return Origin(header, (), n_live_rows(database), is_complete=True)
