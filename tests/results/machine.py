"""Prints what a run's minutes depend on, as JSON: processor, threads, versions.

python tests/results/machine.py > runs/<group>/<name>/machine.json
"""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("hashkit-retrieval", "torch", "timm", "onnxruntime-gpu", "onnxruntime", "numpy")


def main() -> None:
    """Print it."""
    print(json.dumps(describe(), indent=2))


def describe() -> dict[str, Any]:
    """Processor, its cores, those that this process may use and the threads it computes with."""
    import torch

    return {
        "processor": _processor(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "n_cores": os.cpu_count(),
        "n_usable_cores": _usable_cores(),
        "n_threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version(), **_versions()},
    }


def _usable_cores() -> int | None:
    # Only Linux tells which cores a process may run on.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    main()
