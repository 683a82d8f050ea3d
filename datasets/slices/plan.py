"""How an image list is cut into slices: the file ``plan.json`` of a bank set's folder."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Final, Literal, TypeAlias

from hashkit._version import __version__
from hashkit.bank.header import LabelKind
from hashkit.bank_set.plan_files import PLAN_NAME
from hashkit.errors import DatasetError
from hashkit.files.writing import write_whole
from hashkit.inputs.json_text import read_json
from hashkit.inputs.opening import check_file
from hashkit.inputs.schema import dataclass_from
from hashkit.inputs.text import shown

__all__ = [
    "ListKind",
    "Plan",
    "PlannedSlice",
    "SourceFile",
    "read_plan",
    "slice_start",
    "write_plan",
]

_FORMAT: Final = "hashkit-plan"
_FORMAT_VERSION: Final = 1

ListKind: TypeAlias = Literal["list", "folder", "parquet", "tar"]


@dataclasses.dataclass(frozen=True)
class SourceFile:
    """A file that a list was read from, identified by its size (bytes) and time (nanoseconds)."""

    path: str
    n_bytes: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> SourceFile:
        """The file as it is.

        Raises
        ------
        DatasetError
            If there is no such file.
        """
        try:
            status = check_file(path)
        except OSError as error:
            raise DatasetError(f"{path}: cannot be read ({error.strerror})") from None
        return cls(str(path), status.st_size, status.st_mtime_ns)


@dataclasses.dataclass(frozen=True)
class PlannedSlice:
    """The images ``start`` to ``stop`` of a list, and the SHA-256 of the file that names them."""

    file: str
    start: int
    stop: int
    sha256: str

    def __len__(self) -> int:
        return self.stop - self.start


@dataclasses.dataclass(frozen=True)
class Plan:
    """A list cut into slices; every shard of a bank set is made of one.

    Attributes
    ----------
    images
        Absolute path of the list: a list file, a folder, Parquet files or tars.
    kind
        What ``images`` is.
    root
        Absolute path of the folder that names are relative to; None for images in containers.
    settings
        How the list was read: what must be the same when it is read again.
    files
        The files that it was read from; none for a folder.
    n_images, list
        Images of the whole list, and its `hashkit.bank.names.hash_names`.
    label_kind, class_names
        Labels of all images.
    n_bits, model_sha256, precision, runtime, provider, resampler
        What computes the codes of all shards.
    slices
        One for each shard.
    created_by
        The program that planned; informative only.
    """

    images: str
    kind: ListKind
    root: str | None
    settings: dict[str, str]
    files: tuple[SourceFile, ...]
    n_images: int
    list: str
    label_kind: LabelKind
    class_names: tuple[str, ...]
    n_bits: int
    model_sha256: str
    precision: str
    runtime: str
    provider: str
    resampler: str
    slices: tuple[PlannedSlice, ...]
    created_by: str = f"hashkit {__version__}"
    format: str = _FORMAT
    format_version: int = _FORMAT_VERSION

    def __post_init__(self) -> None:
        n_shards = len(self.slices)
        if not n_shards:
            raise DatasetError("expected at least one slice, found none")
        if "\0" in (self.root or ""):
            raise DatasetError(f"root: expected a path, found {shown(self.root or '')} with a NUL")
        for number, one in enumerate(self.slices):
            expected = [slice_start(self.n_images, n_shards, at) for at in (number, number + 1)]
            if [one.start, one.stop] != expected:
                raise DatasetError(
                    f"slices[{number}]: expected the images {expected[0]} to {expected[1]}, found "
                    f"{one.start} to {one.stop}"
                )
            if Path(one.file).is_absolute() or ".." in Path(one.file).parts:
                raise DatasetError(f"slices[{number}]: expected a file in the folder of the plan")


def slice_start(n_images: int, n_shards: int, number: int) -> int:
    """First image of a slice; sizes differ by one at most."""
    return n_images * number // n_shards


def read_plan(folder: Path) -> Plan | None:
    """The plan of a folder; None if it has none.

    Raises
    ------
    DatasetError
        If it is damaged, or of a later version.
    """
    path = folder / PLAN_NAME
    remedy = "remove it, and run the same command again"
    if any(folder.glob("shard-*.h5")):  # without their plan, their images are not known
        remedy = "encode all shards again with `overwrite=True`, or elsewhere with `out=...`"
    try:
        fields = read_json(path, DatasetError, remedy)
    except FileNotFoundError:
        return None
    version = fields.get("format_version") if isinstance(fields, dict) else None
    if isinstance(version, int) and version > _FORMAT_VERSION:
        raise DatasetError(
            f"{path}: expected a plan of format version {_FORMAT_VERSION}, found {version}: use a "
            "later version of hashkit"
        )
    return dataclass_from(
        Plan, fields, name=str(path), error=DatasetError, remedy=remedy, may_have_more=True
    )


def write_plan(folder: Path, plan: Plan) -> None:
    """Write the plan of a folder, whole or not at all; its slices are there already.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    text = json.dumps(dataclasses.asdict(plan), indent=1)
    write_whole(folder / PLAN_NAME, f"{text}\n".encode())
