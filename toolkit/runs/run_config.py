"""The settings of a run, which its config.json holds: images, training, device.

``format_version`` 1 is described by `RunConfig`. Files without a version are older; they have the
same fields, of which all but ``training`` may be missing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from hashkit.errors import ConfigError, RunError
from hashkit.inputs.json_text import json_shown, read_json
from hashkit.inputs.schema import dataclass_from
from hashkit.runs.config import TrainConfig
from hashkit.runs.data_spec import DataSpec

__all__ = ["FORMAT_VERSION", "RunConfig", "SharedTraining", "read_json_object", "read_run_config"]

FORMAT_VERSION: Final = 1

_ADDED_LATER: Final = frozenset({"unlabelled"})
"""Fields of the data that older files of this version do not have."""

_REMEDY: Final = "correct the file, or train a new run"


@dataclasses.dataclass(frozen=True)
class SharedTraining:
    """The training of several code lengths that a run of one of them comes from.

    Attributes
    ----------
    run
        Name of the run folder that was trained, beside this one.
    lengths
        All its code lengths, in the order of its settings.
    """

    run: str
    lengths: tuple[int, ...]

    def __post_init__(self) -> None:
        # A path would let `train --resume` write into any other run.
        if self.run in ("", ".", "..") or set(self.run) & {"/", "\\", "\0"}:
            raise ConfigError(f"`run` must name one run folder beside this one, not {self.run!r}")


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """What made a run, as its config.json holds it.

    Attributes
    ----------
    data
        The image set and its split; None if the images came from somewhere else. Commands that
        need the run's images then refuse it.
    training
        Settings of the training.
    triplets
        Path of the triplet list that was learned from, in place of the labels of ``data``.
    device
        Where it was trained, such as ``cpu`` or ``cuda``; a resumed run continues there.
    threads
        Threads of the sums on the CPU; weights depend on it in their last bits. None if unknown.
    shared
        The training of several code lengths that the run is a part of; None for a whole training.
    created
        Date and time in ISO 8601, UTC; `hashkit.runs.run.Run.create` sets it.
    """

    data: DataSpec | None = None
    training: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    triplets: str | None = None
    device: str = "auto"
    threads: int | None = None
    shared: SharedTraining | None = None
    created: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Fields and the format version, as JSON-ready values."""
        return {
            "format_version": FORMAT_VERSION,
            "created": self.created,
            "data": None if self.data is None else self.data.to_dict(),
            "triplets": self.triplets,
            "training": self.training.to_dict(),
            "device": self.device,
            "threads": self.threads,
            "shared": None
            if self.shared is None
            else {"run": self.shared.run, "lengths": list(self.shared.lengths)},
        }


def read_json_object(path: Path) -> dict[str, Any]:
    """The JSON object that a config.json holds, unchecked.

    Raises
    ------
    RunError
        If the file cannot be read or holds something else.
    """
    try:
        fields = read_json(path, RunError, _REMEDY)
    except FileNotFoundError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}") from None
    if not isinstance(fields, dict):
        raise RunError(f"{path}: expected a JSON object, found {json_shown(fields)}: {_REMEDY}")
    return fields


def read_run_config(path: Path) -> RunConfig:
    """Read and check a config.json.

    Raises
    ------
    RunError
        If the file is damaged, is of a newer format version, lacks a field, or has one that is
        unknown, of the wrong type, or out of range.
    """
    fields = read_json_object(path)
    version = fields.pop("format_version", None)
    _check_version(path, version)
    missing = [f"{name} is missing" for name in _missing(fields, is_old=version is None)]
    if missing:
        raise RunError(f"{path}: {'; '.join(missing)}: {_REMEDY}")
    return dataclass_from(RunConfig, fields, name=str(path), error=RunError, remedy=_REMEDY)


def _check_version(path: Path, version: object) -> None:
    if version is None:
        return
    if type(version) is not int or version < 1:
        raise RunError(
            f"{path}: format_version: expected a whole number from 1, found {json_shown(version)}: "
            f"{_REMEDY}"
        )
    if version > FORMAT_VERSION:
        raise RunError(
            f"{path}: expected format version {FORMAT_VERSION} or older, found {version}: "
            "use the hashkit release that wrote it, or a newer one"
        )


def _missing(fields: Mapping[str, Any], *, is_old: bool) -> list[str]:
    """Names that the file lacks; settings of training may be newer than the file."""
    if is_old:
        return sorted({"training"} - fields.keys())
    missing = sorted(_names(RunConfig) - fields.keys())
    data = fields.get("data")
    if isinstance(data, dict):
        missing += [
            f"data.{name}" for name in sorted(_names(DataSpec) - data.keys() - _ADDED_LATER)
        ]
    return missing


def _names(cls: type[Any]) -> set[str]:
    return {field.name for field in dataclasses.fields(cls)}
