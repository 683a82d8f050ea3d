"""A bank's metadata: fixed when the bank is created, stored as attributes of the file."""

from __future__ import annotations

import dataclasses
import os
from typing import Literal, TypeAlias, get_args

from hashkit.codes import code_size
from hashkit.codesets import check_names
from hashkit.errors import BankError
from hashkit.manifest import Manifest

__all__ = ["BankHeader", "BankSource", "LabelKind"]

LabelKind: TypeAlias = Literal["none", "single", "multi"]


@dataclasses.dataclass(frozen=True)
class BankSource:
    """Where a list of images came from: enough to open the images and to recognise the list.

    Attributes
    ----------
    dataset
        The dataset as the user gave it: ``digits``, ``cifar10``, or a path.
    root
        Absolute path of the folder that the names are relative to; None for datasets in memory.
    protocol, part, seed
        The split and its part; ``""``, ``"all"`` and None for the whole dataset.
    n_images
        Images in the list; None for a list that grows, such as a folder that the bank is kept in
        step with.
    names_sha256
        `hashkit.bank.names.hash_names` of the whole list; empty for a list that grows.
    """

    dataset: str
    root: str | None
    protocol: str
    part: str
    seed: int | None
    n_images: int | None
    names_sha256: str

    def is_same_list(self, other: BankSource | None) -> bool:
        """Whether ``other`` lists the same images, even if the dataset was named differently."""
        return other is not None and self._identity == other._identity

    @property
    def _identity(self) -> tuple[str | None, ...]:
        place = self.dataset if self.root is None else None
        # The same folder by another path, for example through a link.
        root = None if self.root is None else os.path.realpath(self.root)
        return place, root, self.names_sha256


@dataclasses.dataclass(frozen=True)
class BankHeader:
    """Everything about a bank that is fixed when it is created.

    ``BankHeader(64)`` is enough for codes of 64 bits from elsewhere.

    Attributes
    ----------
    n_bits
        Number of bits of a code; equal to the manifest's.
    manifest
        Metadata of the model; None if the model is unknown.
    model_sha256
        SHA-256 of the model's file, hexadecimal; empty if unknown.
    runtime, provider, precision
        What computed the codes, for example ``onnxruntime 1.24``, ``CPUExecutionProvider`` and
        ``fp32``; empty if unknown.
    class_names
        Names of the images' classes, by label; empty if unknown.
    label_kind
        ``none``, ``single`` (one label per image) or ``multi`` (multi-hot over `class_names`).
    source
        The image list; the last one if there are several; None if unknown.
    resampler
        Library and version that resized the images, for example ``Pillow 12.1.0``; empty if
        unknown.
    has_names, has_files
        Whether the bank stores a name for each row, and the size, time and digest of its file.

    Raises
    ------
    BankError
        If the values contradict each other.
    """

    n_bits: int
    _: dataclasses.KW_ONLY
    manifest: Manifest | None = None
    model_sha256: str = ""
    runtime: str = ""
    provider: str = ""
    precision: str = ""
    class_names: tuple[str, ...] = ()
    label_kind: LabelKind = "none"
    source: BankSource | None = None
    resampler: str = ""
    has_names: bool = True
    has_files: bool = False

    def __post_init__(self) -> None:
        code_size(self.n_bits)
        check_names(self.class_names, "class_names", BankError)
        if self.manifest is not None and self.manifest.n_bits != self.n_bits:
            raise BankError(
                f"bank header: expected the manifest's {self.manifest.n_bits} bits, "
                f"found {self.n_bits}"
            )
        if self.label_kind not in get_args(LabelKind):
            raise BankError(
                f"bank header: unknown label kind {self.label_kind!r}; "
                f"known: {', '.join(get_args(LabelKind))}"
            )
        if self.label_kind == "multi" and not self.class_names:
            raise BankError("bank header: multi-hot labels need class names, found none")

    @property
    def columns(self) -> tuple[str, ...]:
        """What the bank holds: ``codes``, and any of ``names``, ``labels`` and ``files``."""
        has = {
            "names": self.has_names,
            "labels": self.label_kind != "none",
            "files": self.has_files,
        }
        return ("codes", *(name for name, is_there in has.items() if is_there))
