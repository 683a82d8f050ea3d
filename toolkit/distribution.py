"""The name that hashkit is distributed under, the command that installs it, and other packages.

hashkit is on no package index yet, so the command takes a clone of the repository. Once it is
published, only `_SOURCE` (the distribution's name) and `_WHERE` (empty) change.
"""

from __future__ import annotations

import importlib.util
from importlib.machinery import ModuleSpec
from typing import Final

__all__ = [
    "DISTRIBUTION",
    "DISTRIBUTIONS",
    "find_package",
    "install_command",
    "install_for_cpus",
    "install_for_gpus",
]

DISTRIBUTION: Final = "hashkit-retrieval"

DISTRIBUTIONS: Final = (DISTRIBUTION, f"{DISTRIBUTION}-cpu")
"""The same package twice: with ONNX Runtime for GPUs and CPUs, and for CPUs alone."""

_SOURCE: Final = "."
_SOURCE_FOR_CPUS: Final = "./packaging/cpu"
_WHERE: Final = " (in a clone of hashkit)"


def find_package(name: str) -> ModuleSpec | None:
    """Where an importable package is, without importing it; None if it is not installed."""
    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError):  # a finder refuses it; sys.modules has it without a spec
        return None


def install_command(extra: str | None = None) -> str:
    """The command that installs hashkit, with an extra if one is named, and where to type it.

    It installs the same distribution again: the other one would overwrite its files.
    """
    return _command(_SOURCE_FOR_CPUS if _is_for_cpus() else _SOURCE, extra)


def install_for_cpus() -> str:
    """The command that installs hashkit with the CPU package of ONNX Runtime."""
    return _command(_SOURCE_FOR_CPUS)


def install_for_gpus() -> str:
    """The command that installs hashkit with the package of ONNX Runtime for GPUs and CPUs."""
    return _command(_SOURCE)


def _command(source: str, extra: str | None = None) -> str:
    requirement = f"'{source}[{extra}]'" if extra else source
    return f"pip install {requirement}{_WHERE}"


def _is_for_cpus() -> bool:
    from importlib import metadata

    def is_there(name: str) -> bool:
        return bool(list(metadata.distributions(name=name)))

    return not is_there(DISTRIBUTION) and is_there(DISTRIBUTIONS[1])
