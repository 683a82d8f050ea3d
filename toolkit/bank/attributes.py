"""A bank's header as attributes of its file, with a checksum."""

from __future__ import annotations

import dataclasses
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from hashkit.bank.header import BankHeader, BankSource
from hashkit.manifest import Manifest

__all__ = [
    "ATTRIBUTES",
    "FORMAT",
    "bank_attributes",
    "header_attributes",
    "header_check",
    "header_of",
    "identity_of",
]

FORMAT: Final = "hashkit-bank"

_CHECKED: Final = (
    "checksum_columns",
    "class_names",
    "columns",
    "format",
    "format_version",
    "identity",
    "label_kind",
    "manifest",
    "model_sha256",
    "n_bits",
    "precision",
    "provider",
    "resampler",
    "runtime",
    "source",
)
"""What `header_check` covers, in this order."""

ATTRIBUTES: Final = frozenset((*_CHECKED, "header_check"))
"""The attributes that a reader needs."""

_SOURCE_TYPES: Final = {
    "dataset": (str,),
    "root": (str, type(None)),
    "protocol": (str,),
    "part": (str,),
    "seed": (int, type(None)),
    "n_images": (int, type(None)),
    "names_sha256": (str,),
}


def bank_attributes(
    header: BankHeader,
    sources: tuple[BankSource, ...],
    format_version: int,
    identity: str,
    checksum_columns: Sequence[str],
) -> dict[str, Any]:
    """Attributes of a bank file, except for the program that created it.

    Parameters
    ----------
    identity, checksum_columns
        Stored from format version 3 on.
    """
    attributes = header_attributes(header, sources)
    attributes |= {"format": FORMAT, "format_version": format_version}
    if format_version < 3:
        del attributes["resampler"]
        return attributes
    attributes["identity"] = identity
    attributes["columns"] = json.dumps(header.columns)
    attributes["checksum_columns"] = json.dumps(checksum_columns)
    return attributes | {"header_check": header_check(attributes)}


def header_attributes(header: BankHeader, sources: tuple[BankSource, ...]) -> dict[str, Any]:
    """Attributes that describe the origin of codes, in a bank or in a file of another format."""
    return {
        "n_bits": header.n_bits,
        "manifest": json.dumps(None if header.manifest is None else header.manifest.to_dict()),
        "model_sha256": header.model_sha256,
        "runtime": header.runtime,
        "provider": header.provider,
        "precision": header.precision,
        "resampler": header.resampler,
        "label_kind": header.label_kind,
        "class_names": json.dumps(header.class_names),
        "source": json.dumps([dataclasses.asdict(source) for source in sources]),
    }


def header_check(attributes: Mapping[str, Any]) -> int:
    """CRC-32 of a bank's attributes, from format version 3 on."""
    check = 0
    for name in _CHECKED:
        value = attributes[name]
        text = value if isinstance(value, str) else str(int(value))
        check = zlib.crc32(f"{name}\0{text}\0".encode(errors="surrogateescape"), check)
    return check


def identity_of(attributes: Mapping[str, Any], format_version: int) -> str:
    """Identity of a bank whose attributes match their checksum; empty before format version 3.

    Raises
    ------
    KeyError, TypeError, ValueError
        If an attribute is missing, or they do not match.
    """
    if format_version < 3:
        return ""
    if int(attributes["header_check"]) != header_check(attributes):
        raise ValueError("the attributes do not match their checksum")
    identity = _text(attributes, "identity")
    if not re.fullmatch("[0-9a-f]{32}", identity):
        raise ValueError(f"expected an identity of 32 hexadecimal digits, found {identity!r}")
    return identity


def header_of(attributes: Mapping[str, Any]) -> tuple[BankHeader, tuple[BankSource, ...]]:
    """Header and image lists from the attributes of a file; unknown attributes are ignored.

    Raises
    ------
    KeyError, TypeError, ValueError, OverflowError, HashkitError
        If an attribute is missing or invalid.
    """
    columns = _texts(attributes, "columns") if "columns" in attributes else ("codes", "names")
    sources = tuple(map(_source, _parsed(attributes, "source", list)))
    manifest = _parsed(attributes, "manifest", (dict, type(None)))
    header = BankHeader(
        n_bits=int(attributes["n_bits"]),
        manifest=None if manifest is None else Manifest.from_dict(manifest),
        model_sha256=_text(attributes, "model_sha256"),
        runtime=_text(attributes, "runtime"),
        provider=_text(attributes, "provider"),
        precision=_text(attributes, "precision"),
        class_names=_texts(attributes, "class_names"),
        label_kind=attributes["label_kind"],
        source=sources[-1] if sources else None,
        resampler=_text(attributes, "resampler") if "resampler" in attributes else "",
        has_names="names" in columns,
        has_files="files" in columns,
    )
    return header, sources


def _source(fields: Any) -> BankSource:
    if not isinstance(fields, dict):
        raise ValueError(f"expected image lists as JSON objects, found {fields!r}")
    for name, types in _SOURCE_TYPES.items():
        if not isinstance(fields[name], types) or isinstance(fields[name], bool):
            raise ValueError(f"an image list has an invalid {name}: {fields[name]!r}")
    return BankSource(**{name: fields[name] for name in _SOURCE_TYPES})


def _parsed(attributes: Mapping[str, Any], name: str, types: Any) -> Any:
    value = json.loads(_text(attributes, name))
    if not isinstance(value, types):
        raise ValueError(f"the attribute {name} has another type than expected: {value!r}")
    return value


def _texts(attributes: Mapping[str, Any], name: str) -> tuple[str, ...]:
    values = _parsed(attributes, name, list)
    if not all(isinstance(value, str) for value in values):
        raise ValueError(f"the attribute {name} must be a list of texts")
    return tuple(values)


def _text(attributes: Mapping[str, Any], name: str) -> str:
    value = attributes[name]
    if not isinstance(value, str):
        raise ValueError(f"the attribute {name} must be text, not {type(value).__name__}")
    return value
