"""Describes the machine in one line, to print beside measurements."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path
from typing import Final

from hashkit.threads import available_cpus

__all__ = ["describe_machine", "processor"]

_CPUINFO: Final = Path("/proc/cpuinfo")

_INSTRUCTIONS: Final = (
    ("AVX-512", ("avx512f",)),
    ("AVX2", ("avx2",)),
    ("AMX", ("amx_tile",)),
    ("VNNI", ("avx512_vnni", "avx_vnni")),
    ("BF16", ("avx512_bf16", "amx_bf16")),
)
"""Instruction sets that determine how fast a network runs, with Linux's flags for each."""


def describe_machine() -> str:
    """CPU, number of CPUs that this process may use, GPUs, and operating system."""
    n_cpus = available_cpus()
    cpus = f"{n_cpus:,} CPU{'s' if n_cpus != 1 else ''}"
    parts = [processor(), cpus, *_gpus(), platform.system()]
    return ", ".join(part for part in parts if part)


def processor(cpuinfo: Path = _CPUINFO) -> str:
    """Name of the CPU, from Linux or else from Python, and its vector instructions."""
    found = _read_cpuinfo(cpuinfo)
    name = found.get("model name") or platform.processor() or platform.machine()
    flags = set(found.get("flags", "").split())
    known = [text for text, names in _INSTRUCTIONS if not flags.isdisjoint(names)]
    if "AVX-512" in known and "AVX2" in known:
        known.remove("AVX2")  # AVX-512 implies it
    return f"{name} ({', '.join(known)})" if known else name


def _read_cpuinfo(path: Path) -> dict[str, str]:
    """Linux's fields about the first CPU; empty on other systems."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.partition("\n\n")[0].splitlines())
    return {key.strip(): " ".join(value.split()) for key, _, value in pairs}


def _gpus() -> list[str]:
    """Names of the NVIDIA GPUs, from ``nvidia-smi``."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    command = [tool, "--query-gpu=name", "--format=csv,noheader"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in found.stdout.splitlines() if line.strip()]
