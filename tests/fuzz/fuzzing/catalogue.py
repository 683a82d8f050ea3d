"""All formats, and how large a share of the cases each one gets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from fuzzing.code_files import CODE_SUBJECTS
from fuzzing.collection_files import COLLECTION_SUBJECTS
from fuzzing.feature_files import FEATURE_SUBJECTS
from fuzzing.image_files import IMAGE_SUBJECTS
from fuzzing.pickle_files import PICKLE_SUBJECTS
from fuzzing.planted import PLANTED_SUBJECTS
from fuzzing.run_files import RUN_SUBJECTS
from fuzzing.server_requests import SERVER_SUBJECTS
from fuzzing.slice_files import SLICE_SUBJECTS
from fuzzing.subject import Subject

__all__ = ["FORMATS", "SUBJECTS", "share"]

SUBJECTS: Final[Mapping[str, Callable[[Path], Subject]]] = {
    **CODE_SUBJECTS, **IMAGE_SUBJECTS, **PICKLE_SUBJECTS, **RUN_SUBJECTS, **FEATURE_SUBJECTS,
    **SLICE_SUBJECTS, **COLLECTION_SUBJECTS, **SERVER_SUBJECTS, **PLANTED_SUBJECTS,
}  # fmt: skip
"""Makes the subject of each format in an empty folder."""

FORMATS: Final = tuple(name for name in SUBJECTS if name not in PLANTED_SUBJECTS)

_SHARES: Final = {
    "multi-index": 2.0,
    "onnx-model": 0.3,
    "embedder": 0.3,
}  # the most arithmetic, and the slowest


def share(name: str) -> float:
    """Cases of a format for each case of a usual one."""
    return _SHARES.get(name, 1.0)
