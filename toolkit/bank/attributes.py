"""A bank's header as attributes of its file, with a checksum."""

from __future__ import annotations

import dataclasses
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from hashkit.bank.header import BankHeader, BankSource
from hashkit.errors import BankError
from hashkit.inputs.json_text import parse_json
from hashkit.inputs.numbers import whole_number
from hashkit.inputs.schema import value_from
from hashkit.inputs.text import shown
from hashkit.manifest import Manifest

__all__ = [
    "ATTRIBUTES",
    "FORMAT",
    "bank_attributes",
    "header_attributes",
    "header_check",
    "header_of",
    "identity_of",
    "text_attribute",
    "whole_attribute",
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
    """CRC-32 of a bank's attributes, from format version 3 on.

    Raises
    ------
    BankError
        If one is missing, or is neither a text nor a whole number.
    """
    check = 0
    for name in _CHECKED:
        is_text = isinstance(_value(attributes, name), str)
        text = attributes[name] if is_text else str(whole_attribute(attributes, name))
        check = zlib.crc32(f"{name}\0{text}\0".encode(errors="surrogatepass"), check)
    return check


def identity_of(attributes: Mapping[str, Any], format_version: int) -> str:
    """Identity of a bank whose attributes match their checksum; empty before format version 3.

    Raises
    ------
    BankError
        If an attribute is missing, or they do not match.
    """
    if format_version < 3:
        return ""
    if whole_attribute(attributes, "header_check") != header_check(attributes):
        raise BankError("the attributes do not match their checksum")
    identity = text_attribute(attributes, "identity")
    if not re.fullmatch("[0-9a-f]{32}", identity):
        raise BankError(f"expected an identity of 32 hexadecimal digits, found {shown(identity)}")
    return identity


def header_of(attributes: Mapping[str, Any]) -> tuple[BankHeader, tuple[BankSource, ...]]:
    """Header and image lists from the attributes of a file; unknown attributes are ignored.

    Raises
    ------
    HashkitError
        If an attribute is missing or invalid.
    """
    columns = ("codes", "names")
    if "columns" in attributes:
        columns = _json(attributes, "columns", tuple[str, ...])
    sources: tuple[BankSource, ...] = _json(attributes, "source", tuple[BankSource, ...])
    manifest = _json(attributes, "manifest", dict[str, Any] | None)
    header = BankHeader(
        n_bits=whole_attribute(attributes, "n_bits"),
        manifest=None if manifest is None else Manifest.from_dict(manifest),
        model_sha256=text_attribute(attributes, "model_sha256"),
        runtime=text_attribute(attributes, "runtime"),
        provider=text_attribute(attributes, "provider"),
        precision=text_attribute(attributes, "precision"),
        class_names=_json(attributes, "class_names", tuple[str, ...]),
        label_kind=_value(attributes, "label_kind"),
        source=sources[-1] if sources else None,
        resampler=text_attribute(attributes, "resampler") if "resampler" in attributes else "",
        has_names="names" in columns,
        has_files="files" in columns,
    )
    return header, sources


def text_attribute(attributes: Mapping[str, Any], name: str) -> str:
    """The value of a text attribute.

    Raises
    ------
    BankError
        If it is missing, or not a text.
    """
    value = _value(attributes, name)
    if not isinstance(value, str):
        raise BankError(f"expected the attribute {name} to be a text, found {shown(repr(value))}")
    return value


def whole_attribute(attributes: Mapping[str, Any], name: str) -> int:
    """The value of a whole-number attribute; formats other than banks store it as text.

    Raises
    ------
    BankError
        If it is missing, or not a whole number.
    """
    value = _value(attributes, name)
    number = whole_number(value) if isinstance(value, str) else value
    if isinstance(number, bool | np.bool_) or not isinstance(number, int | np.integer):
        found = shown(repr(value))
        raise BankError(f"expected the attribute {name} to be a whole number, found {found}")
    return int(number)


def _json(attributes: Mapping[str, Any], name: str, kind: Any) -> Any:
    """The value of a JSON attribute, converted to an annotated type."""
    where = f"the attribute {name}"
    value = parse_json(text_attribute(attributes, name), where, BankError)
    return value_from(kind, value, name=where, error=BankError, may_have_more=True)


def _value(attributes: Mapping[str, Any], name: str) -> Any:
    if name not in attributes:
        raise BankError(f"expected an attribute {name}, found none")
    return attributes[name]
