"""Models of the check, which one stage trains and exports and others encode with."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from gpucheck.record import SkipStage, write_json
from gpucheck.settings import Settings

__all__ = ["Subject", "find_subject", "keep_subject"]


@dataclasses.dataclass(frozen=True)
class Subject:
    """A trained model.

    Attributes
    ----------
    onnx, checkpoint
        Files of the model.
    size, resize
        Input size (height, width) in pixels, and resize rule.
    n_bits
        Bits of a code.
    """

    onnx: Path
    checkpoint: Path
    size: tuple[int, int]
    resize: str
    n_bits: int


def keep_subject(settings: Settings, name: str, subject: Subject) -> None:
    """Write the location of a model."""
    fields = dataclasses.asdict(subject) | {
        "onnx": str(subject.onnx),
        "checkpoint": str(subject.checkpoint),
    }
    write_json(_path(settings, name), fields)


def find_subject(settings: Settings, name: str) -> Subject:
    """The model of an earlier stage; if it is missing, the stage is skipped."""
    path = _path(settings, name)
    if not path.is_file():
        raise SkipStage(f"there is no exported model of the recipe {name}: see its export stage")
    fields = json.loads(path.read_text(encoding="utf-8"))
    for key in ("onnx", "checkpoint"):
        fields[key] = Path(fields[key])
    return Subject(**fields | {"size": tuple(fields["size"])})


def _path(settings: Settings, name: str) -> Path:
    folder = settings.work_path / "models"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{name}.json"
