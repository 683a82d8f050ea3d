"""Prints the CPU, GPU, threads and library versions of this machine as JSON.

python tests/results/machine.py > runs/<group>/<name>/machine.json
"""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from hashkit.machine import processor
from hashkit.threads import cpu_affinity

PACKAGES = ("hashkit-retrieval", "torch", "timm", "onnxruntime-gpu", "onnxruntime", "numpy")


def main() -> None:
    """Print the description."""
    print(json.dumps(describe(), indent=2))


def describe() -> dict[str, Any]:
    """CPU and GPU, cores in total and usable by this process, torch threads, and versions."""
    import torch

    return {
        "processor": processor(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "n_cores": os.cpu_count(),
        "n_usable_cores": cpu_affinity(),
        "n_threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version(), **_versions()},
    }


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
