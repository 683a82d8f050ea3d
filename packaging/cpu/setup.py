"""The distribution ``hashkit-retrieval-cpu``: the same package for machines without an NVIDIA GPU.

An extra cannot remove a dependency, so there are two distributions, as TensorFlow and OpenCV have.
This one is made from the same pyproject.toml; only the name and the package of ONNX Runtime differ.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from setuptools import Distribution, setup


class CpuDistribution(Distribution):
    """Settings of the repository's pyproject.toml, with the CPU package of ONNX Runtime."""

    def parse_config_files(self, *arguments: Any, **options: Any) -> None:
        """Read the settings, and replace two of them."""
        super().parse_config_files(*arguments, **options)
        self.metadata.name = f"{self.metadata.name}-cpu"
        builds = [one for one in self.install_requires if one.startswith("onnxruntime")]
        version = next(one for one in builds if not one.startswith("onnxruntime-gpu"))
        others = [one for one in self.install_requires if one not in builds]
        self.install_requires = [*others, version.partition(";")[0].strip()]
        self.metadata.install_requires = self.install_requires  # what the wheel states


os.chdir(Path(__file__).resolve().parents[2])
setup(distclass=CpuDistribution)
