"""Plans of bank sets that cannot be right, and paths with characters that no name has."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from hashkit.datasets.slices.plan import Plan, PlannedSlice, SourceFile
from hashkit.errors import DatasetError
from hashkit.inputs.opening import read_file

PLAN = Plan(
    images="/photos",
    kind="folder",
    root="/photos",
    settings={},
    files=(),
    n_images=2,
    list="0" * 64,
    label_kind="none",
    class_names=(),
    n_bits=8,
    model_sha256="0" * 64,
    precision="fp32",
    runtime="onnxruntime",
    provider="CPUExecutionProvider",
    resampler="Pillow",
    slices=(PlannedSlice("slices/0.jsonl", 0, 2, "0" * 64),),
)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"slices": ()}, "at least one slice"),
        ({"root": "/a\0b"}, r"root: expected a path, found '/a\\x00b' with a NUL"),
        ({"n_images": 3}, "expected the images 0 to 3, found 0 to 2"),
        ({"slices": (PlannedSlice("../x", 0, 2, ""),)}, "in the folder of the plan"),
    ],
)
def test_a_plan_that_cannot_be_right_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        dataclasses.replace(PLAN, **changes)


def test_a_path_with_nul_is_not_a_file() -> None:
    with pytest.raises(FileNotFoundError, match="no file has such a name"):
        read_file("a\0b", "json_bytes")
    with pytest.raises(DatasetError, match="no file has such a name"):
        SourceFile.of(Path("a\0b"))
