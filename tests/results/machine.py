"""Prints what a run's minutes depend on, as JSON: processor, threads, versions.

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
    """Print it."""
    print(json.dumps(describe(), indent=2))


def describe() -> dict[str, Any]:
    """Processor, its cores, those that this process may use and the threads it computes with."""
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
