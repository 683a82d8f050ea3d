"""The settings of a run, which its config.json holds: images, training, device.

``format_version`` 1 is described by `RunConfig`. Files without a version are of before that; they
have the same fields, of which all but ``training`` may be missing.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from hashkit.errors import ConfigError, ProtocolError, RunError
from hashkit.opening import read_text
from hashkit.os_errors import reason_and_remedy
from hashkit.runs.config import TrainConfig
from hashkit.runs.data_spec import DataSpec, ProtocolOptions

__all__ = ["FORMAT_VERSION", "RunConfig", "SharedTraining", "read_json_object", "read_run_config"]

FORMAT_VERSION: Final = 1

_REMEDY: Final = "correct the file, or train a new run"

_EXPECTED: Final = {
    "bool_type": "true or false",
    "dataclass_type": "an object",
    "float_type": "a number",
    "int_from_float": "a whole number",
    "int_type": "a whole number",
    "string_type": "a text",
    "tuple_type": "a list",
}
"""Values in the words of JSON, by pydantic's type of error."""


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
        fields = json.loads(read_text(path, "json_bytes"))
    except OSError as error:
        raise RunError(f"{path} cannot be read: {reason_and_remedy(error)[0]}") from None
    except (ValueError, RecursionError) as error:
        what = f"damaged text ({error})" if path.stat().st_size else "an empty file"
        raise RunError(f"{path}: expected a JSON object, found {what}: {_REMEDY}") from None
    if not isinstance(fields, dict):
        raise RunError(f"{path}: expected a JSON object, found {_shown(fields)}: {_REMEDY}")
    return fields


def read_run_config(path: Path) -> RunConfig:
    """Read and check a config.json.

    Raises
    ------
    RunError
        If the file is damaged, is of a newer format version, lacks a field, or has one that is
        unknown, of the wrong type, or out of range.
    """
    from pydantic import ValidationError  # 0.2 s, only where a file is checked

    fields = read_json_object(path)
    version = fields.pop("format_version", None)
    _check_version(path, version)
    faults = [f"{name} is missing" for name in _missing(fields, is_old=version is None)]
    if not faults:
        try:
            config: RunConfig = _validator()(fields)
        except ValidationError as error:
            faults = [_fault(one) for one in error.errors(include_url=False)]
        except ProtocolError as error:  # no ValueError, which would come with its place
            faults = [f"data.options: {error}"]
        else:
            return config
    raise RunError(f"{path}: {'; '.join(faults)}: {_REMEDY}")


def _check_version(path: Path, version: object) -> None:
    if version is None:
        return
    if type(version) is not int or version < 1:
        raise RunError(
            f"{path}: format_version: expected a whole number from 1, found {_shown(version)}: "
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
        missing += [f"data.{name}" for name in sorted(_names(DataSpec) - data.keys())]
    return missing


def _names(cls: type[Any]) -> set[str]:
    return {field.name for field in dataclasses.fields(cls)}


@functools.cache
def _validator() -> Callable[[dict[str, Any]], RunConfig]:
    """Makes a RunConfig from a JSON object, without converting values of another type."""
    from pydantic import TypeAdapter
    from pydantic_core import SchemaValidator

    # Only scalars are strict: a strict dataclass would refuse JSON's object, a tuple its array.
    validator = SchemaValidator(_with_strict_scalars(TypeAdapter(RunConfig).core_schema))
    return lambda fields: validator.validate_python(fields, extra="forbid")


def _with_strict_scalars(schema: Any) -> Any:
    if isinstance(schema, dict):
        copy = {name: _with_strict_scalars(value) for name, value in schema.items()}
        if copy.get("type") in ("bool", "float", "int", "str"):
            copy["strict"] = True
        return copy
    if isinstance(schema, list):
        return [_with_strict_scalars(value) for value in schema]
    return schema


def _fault(error: Mapping[str, Any]) -> str:
    """One fault: ``training.lengths[1]: input should be a valid integer, found '2'``."""
    place = "".join(_place(error["loc"])).removeprefix(".")
    if error["type"] == "unexpected_keyword_argument":
        return f"{place} is unknown{_nearest(error['loc'])}"
    if error["type"] == "missing":
        return f"{place} is missing"
    cause = error.get("ctx", {}).get("error")
    if cause is not None:  # raised by the dataclass itself, with all that is to be said
        return f"{place}: {cause}"
    what = _EXPECTED.get(error["type"]) or error["msg"].replace("Input should be ", "", 1)
    return f"{place}: expected {what}, found {_shown(error['input'])}"


def _nearest(steps: tuple[str | int, ...]) -> str:
    """The known name that is most like an unknown one, if any is."""
    *parents, name = steps
    holders: dict[tuple[str | int, ...], type[Any]] = {
        (): RunConfig,
        ("data",): DataSpec,
        ("data", "options"): ProtocolOptions,
        ("shared",): SharedTraining,
        ("training",): TrainConfig,
    }
    holder = holders.get(tuple(parents))
    near = difflib.get_close_matches(str(name), _names(holder), n=1, cutoff=0.75) if holder else []
    return f", did you mean {near[0]}?" if near else ""


def _place(steps: tuple[str | int, ...]) -> Iterator[str]:
    for step in steps:
        yield f"[{step}]" if isinstance(step, int) else f".{step}"


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
