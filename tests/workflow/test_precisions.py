"""What is reported about a model in another precision."""

from pathlib import Path

import pytest

from hashkit.exporters.agreement import Agreement
from hashkit.exporters.precision import TOLERANCES, PrecisionReport
from hashkit.workflow import precisions
from hashkit.workflow.reporter import NoteList


@pytest.mark.parametrize(
    ("speed", "advice"),
    [
        (2.5, "`model=...` wherever images are encoded, for banks and queries alike"),
        (1.1, "keep the fp32 model here"),
    ],
)
def test_speed_is_reported_with_advice(speed, advice):
    agreement = Agreement(9, 9, 48, 1.0, 0.1, 0.1, 0.1, 0.0, 0, 0, None, None, 0.9, "CPU")
    report = PrecisionReport(
        Path("a/model-int8.onnx"), "int8", 10, 40, "0", "1", ("c",), ("d",), agreement,
        TOLERANCES["int8"], (), speed, 1.0,
    )  # fmt: skip
    notes = NoteList()
    precisions._tell(report, notes)
    assert f"1 of 2 convolutions in int8; {speed:.2f} times the speed of fp32" in notes.lines[-2]
    assert advice in notes.lines[-1]
