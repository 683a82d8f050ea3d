"""The name that hashkit is distributed under, and the command that installs it.

hashkit is on no package index yet, so the command takes a clone of the repository. Once it is
published, `_SOURCE` becomes the distribution's name and `_WHERE` becomes empty, here alone.
"""

from __future__ import annotations

from typing import Final

__all__ = ["DISTRIBUTION", "DISTRIBUTIONS", "install_command", "install_for_cpus"]

DISTRIBUTION: Final = "hashkit-retrieval"

DISTRIBUTIONS: Final = (DISTRIBUTION, f"{DISTRIBUTION}-cpu")
"""The same package twice: with ONNX Runtime for GPUs and CPUs, and for CPUs alone."""

_SOURCE: Final = "."
_SOURCE_FOR_CPUS: Final = "./packaging/cpu"
_WHERE: Final = " (in a clone of hashkit)"


def install_command(extra: str | None = None) -> str:
    """The command that installs hashkit, with an extra if one is named, and where to type it."""
    requirement = f"'{_SOURCE}[{extra}]'" if extra else _SOURCE
    return f"pip install {requirement}{_WHERE}"


def install_for_cpus() -> str:
    """The command that installs hashkit with the CPU package of ONNX Runtime."""
    return f"pip install {_SOURCE_FOR_CPUS}{_WHERE}"
