"""The machine that figures were taken on, in one line."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path
from typing import Final

from hashkit.cli.console import plural
from hashkit.threads import available_cpus

__all__ = ["describe_machine", "processor"]

_CPUINFO: Final = Path("/proc/cpuinfo")


def describe_machine() -> str:
    """Processor, how many CPUs of it this process may use, GPUs, and the operating system."""
    parts = [processor(), plural(available_cpus(), "CPU"), *_gpus(), platform.system()]
    return ", ".join(part for part in parts if part)


def processor(cpuinfo: Path = _CPUINFO) -> str:
    """Name of the processor, as Linux or else Python knows it."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return " ".join(value.split())
    return platform.processor() or platform.machine()


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
