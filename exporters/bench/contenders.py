"""The contenders of a benchmark: each model file in each runtime, on each device."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from hashkit.errors import CheckpointError, ConfigError
from hashkit.exporters import torch_model
from hashkit.manifest import Manifest
from hashkit.runs.checkpoint_header import read_checkpoint_network
from hashkit.runs.named_code import network_to_build
from hashkit.runtimes.measuring.process import WORKER
from hashkit.runtimes.onnx_file import read_onnx_file
from hashkit.runtimes.protocol import RUNTIMES
from hashkit.runtimes.settings import DEVICES

__all__ = ["TORCH", "BenchModel", "Contender", "Wanted", "contenders", "read_models"]

TORCH: Final = "torch"
"""Name of the row for a run's checkpoint in torch."""

_REFERENCE: Final = ("onnxruntime", "cpu")


@dataclasses.dataclass(frozen=True)
class BenchModel:
    """A model file with its precision and manifest."""

    path: Path
    precision: str
    manifest: Manifest


@dataclasses.dataclass(frozen=True)
class Contender:
    """A model in a runtime on a device.

    Attributes
    ----------
    runtime
        A name of `hashkit.runtimes.protocol.RUNTIMES`, or `TORCH`.
    device
        ``cpu`` or ``cuda``.
    model, precision
        The file, and its precision according to its metadata.
    worker
        Module of the process that measures it.
    is_slow
        Whether it runs on only a few of the images.
    weights_sha256
        SHA-256 of the weights that a checkpoint must have; empty for any.
    network
        Name of the network of a checkpoint, if the user gave it.
    """

    runtime: str
    device: str
    model: Path
    precision: str
    worker: str = WORKER
    is_slow: bool = False
    weights_sha256: str = ""
    network: str | None = None

    @property
    def title(self) -> str:
        """Runtime and device as text."""
        return f"{self.runtime} on {self.device.upper()}"


@dataclasses.dataclass(frozen=True)
class Wanted:
    """The requested runtimes, precisions and devices.

    Attributes
    ----------
    runtimes
        Names; None for all that are available.
    precisions
        Precisions of the files; None for all.
    device
        ``auto`` for every device that a runtime supports, ``cpu`` or ``cuda``.
    network
        Name of the checkpoint's network, required if that is code from outside hashkit; None if
        none was given.

    Raises
    ------
    ConfigError
        If a name is unknown, or a list is empty.
    """

    runtimes: tuple[str, ...] | None = None
    precisions: tuple[str, ...] | None = None
    device: str = "auto"
    network: str | None = None

    def __post_init__(self) -> None:
        if self.device not in DEVICES:
            raise ConfigError(f"unknown device {self.device!r}; known: {', '.join(DEVICES)}")
        known = [*RUNTIMES, TORCH]
        for name in self.runtimes or ():
            if name not in known:
                raise ConfigError(f"unknown runtime {name!r}; known: {', '.join(known)}")
        if () in (self.runtimes, self.precisions):
            raise ConfigError(
                "expected at least one name, found none: leave the list out to run all"
            )


def read_models(paths: Sequence[Path]) -> list[BenchModel]:
    """Read the metadata of model files, which must have the same input size and code length.

    Raises
    ------
    ModelError
        If a file is missing or violates the contract.
    ConfigError
        If two files cannot be compared.
    """
    found = []
    for path in paths:
        file = read_onnx_file(path)
        found.append(BenchModel(path, file.precision, file.manifest))
        first, last = found[0].manifest, found[-1].manifest
        for what in ("n_bits", "size", "resize"):
            if getattr(first, what) != getattr(last, what):
                raise ConfigError(
                    f"{found[0].path} and {path} cannot be compared: {what.removeprefix('n_')} "
                    f"{getattr(first, what)} and {getattr(last, what)}"
                )
    return found


def contenders(
    models: Sequence[BenchModel], wanted: Wanted, checkpoint: Path | None = None
) -> list[Contender]:
    """The contenders to measure; the first is the reference.

    The reference is the first model in ONNX Runtime on the CPU, even if it was not requested.

    Parameters
    ----------
    models
        At least one model file; see `read_models`.
    wanted
        The requested runtimes, precisions and devices.
    checkpoint
        The checkpoint from which the first model was exported, if available.

    Raises
    ------
    ConfigError
        If a requested runtime, precision or device is impossible.
    """
    first = models[0]
    chosen = list(_with_precisions(models, wanted.precisions))
    reference = Contender(*_REFERENCE, first.path, first.precision)
    rows = [reference]
    for name, kind in RUNTIMES.items():
        if wanted.runtimes is not None and name not in wanted.runtimes:
            continue
        devices = [one for one in kind.devices if wanted.device in ("auto", one)]
        if not devices and wanted.runtimes is not None:
            known = " or ".join(kind.devices)
            raise ConfigError(f"the runtime {name} runs on {known}, not on {wanted.device}")
        rows += [
            Contender(name, device, one.path, one.precision, is_slow=kind.is_slow)
            for device in devices
            for one in chosen
        ]
    rows += _torch(first, wanted, checkpoint)
    return list(dict.fromkeys(rows))  # the reference may occur twice


def _with_precisions(
    models: Sequence[BenchModel], precisions: Sequence[str] | None
) -> Iterator[BenchModel]:
    found = {one.precision: None for one in models}
    for name in precisions or ():
        if name not in found:
            raise ConfigError(
                f"no model is {name}; found: {', '.join(found)}; "
                "`hashkit export --onnx --precision` makes others"
            )
    yield from (one for one in models if precisions is None or one.precision in precisions)


def _torch(first: BenchModel, wanted: Wanted, checkpoint: Path | None) -> Iterator[Contender]:
    """The checkpoint, if it was requested, or if it can run and nothing excludes it."""
    is_named = wanted.runtimes is not None and TORCH in wanted.runtimes
    if is_named and checkpoint is None:
        raise ConfigError(
            "the row torch needs a checkpoint: name a run that has one with `run=...`"
        )
    if checkpoint is not None and _has_embedder(checkpoint):
        if is_named:
            raise ConfigError(
                f"{checkpoint} has a head on the features of an embedder, which torch does not "
                "run: leave the row torch out"
            )
        checkpoint = None
    is_wanted = is_named or (
        wanted.runtimes is None
        and wanted.device != "cuda"
        and (wanted.precisions is None or first.precision in wanted.precisions)
        and torch_model.why_no_torch() is None
    )
    if checkpoint is not None and is_wanted:
        yield Contender(
            TORCH,
            "cpu",
            checkpoint,
            first.precision,
            worker=torch_model.WORKER,
            weights_sha256=first.manifest.weights_sha256,
            network=_network(checkpoint, wanted.network),
        )
    elif wanted.network is not None:
        raise ConfigError(
            "`network` is only for the checkpoint of a run, and no checkpoint is measured here: "
            "leave it out"
        )


def _has_embedder(checkpoint: Path) -> bool:
    try:
        return read_checkpoint_network(checkpoint).startswith("onnx:")
    except CheckpointError:
        return False


def _network(checkpoint: Path, given: str | None) -> str | None:
    """The network that the measuring process may build; refused here, before any measurement."""
    try:
        recorded = read_checkpoint_network(checkpoint)
    except CheckpointError:
        return given  # its row says what is wrong with the file
    network_to_build(recorded, given, checkpoint)
    return given
