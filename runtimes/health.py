"""Checks the runtimes of this machine: each runs a tiny model with known outputs."""

from __future__ import annotations

import dataclasses
import importlib.resources
import platform
from collections.abc import Iterator
from importlib import metadata
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from hashkit.codes import binarize
from hashkit.distribution import (
    DISTRIBUTIONS,
    install_command,
    install_for_cpus,
    install_for_gpus,
)
from hashkit.errors import HashkitError
from hashkit.messages.foreign_errors import foreign_message
from hashkit.runtimes.protocol import RUNTIMES, Runtime, open_runtime
from hashkit.runtimes.settings import RuntimeSettings

__all__ = ["Check", "check_runtime", "check_runtimes", "installed_version", "probe_images"]

CheckStatus = Literal["ok", "absent", "broken"]

_DISTRIBUTIONS: Final = (
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-directml",
    "onnxruntime-openvino",
)
"""Builds of ONNX Runtime; all install into the same folder, ``onnxruntime``."""

# fmt: off
_LOGITS: Final = (
    -1252.6875, 327.4375, -1139.171875, 243.59375, -956.09375, 430.578125,
    -1039.9375, 667.40625, -852.953125, 548.125, -616.125, -355.125,
    -1116.5, 633.890625, -773.984375, -33.875, -498.140625, 500.1875,
    -1165.90625, 357.390625, -631.84375, 48.59375, -774.640625, -299.3125,
)
# fmt: on
"""Logits of probe.onnx for `probe_images`, two rows of 12; exact in float32."""

_TOLERANCE: Final = 4.0
"""TF32 keeps 11 bits of the factors, and the terms of these sums are below 2,000."""


@dataclasses.dataclass(frozen=True)
class Check:
    """Result of one check.

    Attributes
    ----------
    name
        What was checked.
    status
        ``ok``; ``absent``: not installed, and not needed; ``broken``.
    detail
        The version, or the problem.
    remedy
        How to fix or install it; empty if there is nothing to do.
    """

    name: str
    status: CheckStatus
    detail: str
    remedy: str = ""


def check_runtimes() -> Iterator[Check]:
    """Check the builds of ONNX Runtime, then each runtime on each of its devices."""
    yield from _check_builds()
    for name, kind in RUNTIMES.items():
        for device in kind.devices:
            yield _check_cuda(name) if device == "cuda" else check_runtime(name, device)


def check_runtime(name: str, device: str) -> Check:
    """Run the tiny model in a runtime, and compare its outputs with the known ones."""
    title = f"{name} on {device.upper()}"
    try:
        reason = RUNTIMES[name].why_absent()
        if reason is not None:
            return _absent(title, reason)
        resource = importlib.resources.files("hashkit.runtimes") / "probe.onnx"
        with importlib.resources.as_file(resource) as path:
            runtime = open_runtime(path, RuntimeSettings(name, device, batch_size=4))
        wrong = _wrong_answer(runtime)
    except HashkitError as error:
        return Check(title, "broken", str(error), f"reinstall {_package(name)}")
    except Exception as error:  # a damaged package may raise any exception on import
        return _not_loaded(title, name, error)
    detail = f"{runtime.name}, {runtime.provider}, {runtime.precision}"
    if wrong:
        return Check(title, "broken", f"{detail}: {wrong}", f"do not use the runtime {name} here")
    return Check(title, "ok", detail)


def probe_images() -> NDArray[np.uint8]:
    """Two images for the tiny model, uint8 [2, 8, 8, 3]."""
    places = np.arange(8 * 8 * 3)
    values = np.stack([(7 * places * places + 31 * places) % 251, places])
    return values.astype(np.uint8).reshape(2, 8, 8, 3)


def _wrong_answer(runtime: Runtime) -> str | None:
    codes, logits = runtime.run(probe_images())
    expected = np.array(_LOGITS, np.float32).reshape(logits.shape)
    difference = float(np.abs(logits - expected).max())
    if not difference <= _TOLERANCE:  # NaN is wrong too
        return f"wrong logits, off by {difference:g}"
    if not np.array_equal(codes, binarize(expected)):
        return "wrong codes"
    return None


def _check_builds() -> Iterator[Check]:
    """Check that one build of ONNX Runtime is installed, and not several in one folder."""
    found = {name: version for name in _DISTRIBUTIONS if (version := installed_version(name))}
    detail = ", ".join(f"{name} {version}" for name, version in found.items())
    if len(found) > 1:
        yield Check(
            "builds of ONNX Runtime",
            "broken",
            f"{detail} overwrite each other",
            f"pip uninstall -y {' '.join(found)} && pip install {_preferred(found)}",
        )
    elif found:
        yield _check_build(detail, is_for_gpus="onnxruntime-gpu" in found)
    else:
        yield Check("builds of ONNX Runtime", "absent", "none is installed", install_command())


def _check_build(detail: str, *, is_for_gpus: bool) -> Check:
    """Say whether the one build that is installed is right for this machine; others work too."""
    title = "builds of ONNX Runtime"
    if platform.machine() not in ("x86_64", "AMD64"):  # others have only one build
        return Check(title, "ok", detail)
    try:
        from hashkit.runtimes import cuda

        has_driver = cuda.driver_version() is not None
    except Exception:  # a damaged package; other checks say so
        return Check(title, "ok", detail)
    if is_for_gpus == has_driver:
        return Check(
            title, "ok", f"{detail}, the right one with{'' if has_driver else 'out'} a GPU"
        )
    if has_driver:
        reason, command = "which does not use the NVIDIA GPU here", install_for_gpus()
    else:
        reason, command = "which works; without a GPU, 260 MB less do the same", install_for_cpus()
    gone = " ".join(name for name in (*DISTRIBUTIONS, *_DISTRIBUTIONS) if installed_version(name))
    return Check(title, "ok", f"{detail}, {reason}", f"pip uninstall -y {gone} && {command}")


def _check_cuda(name: str) -> Check:
    """Check a runtime on CUDA: absent without driver or GPU, broken with a driver too old."""
    title = f"{name} on CUDA"
    try:
        reason = RUNTIMES[name].why_absent()
        if reason is not None:
            return _absent(title, reason)
        from hashkit.runtimes import cuda

        reason = cuda.why_no_cuda()
        driver, built = cuda.driver_version(), cuda.built_version()
    except Exception as error:  # a damaged package may raise any exception on import
        return _not_loaded(title, name, error)
    if reason is not None:
        return _absent(title, reason)
    if driver and built and _major(driver) < _major(built):
        return Check(
            title,
            "broken",
            f"the driver runs CUDA {driver} at most, onnxruntime-gpu was built for {built}",
            f"update the NVIDIA driver, or install an onnxruntime-gpu for CUDA {_major(driver)}",
        )
    check = check_runtime(name, "cuda")
    if check.status == "broken" and built:
        remedy = f"for CUDA {_major(built)} and cuDNN: pip install 'onnxruntime-gpu[cuda,cudnn]'"
        return dataclasses.replace(check, remedy=remedy)
    return check


def _not_loaded(title: str, runtime: str, error: Exception) -> Check:
    reason = f"{type(error).__name__}: {foreign_message(error)}"
    return Check(title, "broken", reason, f"reinstall {_package(runtime)}")


def _absent(title: str, reason: str) -> Check:
    """An absent check; its reason may end with the command that installs the runtime."""
    detail, found, command = reason.partition(": pip install ")
    return Check(title, "absent", detail, f"pip install {command}" if found else "")


def _package(runtime: str) -> str:
    return {"openvino": "openvino", "reference": "onnx"}.get(runtime, "onnxruntime-gpu")


def _preferred(found: dict[str, str]) -> str:
    return "onnxruntime-gpu" if "onnxruntime-gpu" in found else next(iter(found))


def installed_version(distribution: str) -> str | None:
    """Version of an installed distribution, without importing it; None if it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _major(version: str) -> int:
    return int(version.partition(".")[0])
