"""Models of the check: trained and exported by one stage, encoded with by others."""

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
        Its files.
    size, resize
        (height, width) in pixels, and the resize rule.
    n_bits
        Bits of a code.
    """

    onnx: Path
    checkpoint: Path
    size: tuple[int, int]
    resize: str
    n_bits: int


def keep_subject(settings: Settings, name: str, subject: Subject) -> None:
    """Write where a model is."""
    fields = dataclasses.asdict(subject) | {
        "onnx": str(subject.onnx),
        "checkpoint": str(subject.checkpoint),
    }
    write_json(_path(settings, name), fields)


def find_subject(settings: Settings, name: str) -> Subject:
    """The model that an earlier stage left; without one the stage is skipped."""
    path = _path(settings, name)
    if not path.is_file():
        raise SkipStage(f"no exported model of the recipe {name} is here: see its export")
    fields = json.loads(path.read_text(encoding="utf-8"))
    for key in ("onnx", "checkpoint"):
        fields[key] = Path(fields[key])
    return Subject(**fields | {"size": tuple(fields["size"])})


def _path(settings: Settings, name: str) -> Path:
    folder = settings.work_path / "models"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{name}.json"
