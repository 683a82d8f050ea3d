"""The machine that figures were taken on, in one line."""

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
"""Instructions that decide how fast a network runs, with Linux's flags for each."""


def describe_machine() -> str:
    """Processor, how many CPUs of it this process may use, GPUs, and the operating system."""
    n_cpus = available_cpus()
    cpus = f"{n_cpus:,} CPU{'s' if n_cpus != 1 else ''}"
    parts = [processor(), cpus, *_gpus(), platform.system()]
    return ", ".join(part for part in parts if part)


def processor(cpuinfo: Path = _CPUINFO) -> str:
    """Name of the processor, as Linux or else Python knows it, and its vector instructions."""
    found = _read_cpuinfo(cpuinfo)
    name = found.get("model name") or platform.processor() or platform.machine()
    flags = set(found.get("flags", "").split())
    known = [text for text, names in _INSTRUCTIONS if not flags.isdisjoint(names)]
    if "AVX-512" in known and "AVX2" in known:
        known.remove("AVX2")  # every such processor has it
    return f"{name} ({', '.join(known)})" if known else name


def _read_cpuinfo(path: Path) -> dict[str, str]:
    """What Linux says of the first processor; nothing elsewhere."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.partition("\n\n")[0].splitlines())
    return {key.strip(): " ".join(value.split()) for key, _, value in pairs}


def _gpus() -> list[str]:
    """Names of the NVIDIA GPUs, as their driver's own tool lists them."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    command = [tool, "--query-gpu=name", "--format=csv,noheader"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in found.stdout.splitlines() if line.strip()]
