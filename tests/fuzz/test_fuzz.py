"""The fuzzing harness finds planted faults, and its own files are read without any."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import pytest
from looped import looped

sys.path.insert(0, str(Path(__file__).parent))

from fuzzing.campaign import Campaign, installed
from fuzzing.catalogue import FORMATS, SUBJECTS
from fuzzing.planted import PLANTED_SUBJECTS
from fuzzing.subject import mutated
from fuzzing.supervisor import Worker

from hashkit.errors import HashkitError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")


def readable(name: str) -> object:
    """A format as a parameter; loading torch or ONNX Runtime takes more than a second."""
    slow = ("checkpoint", "onnx-model", "embedder", "kept-embedder")
    marks = [pytest.mark.end_to_end] if name in slow else []
    return pytest.param(name, marks=marks)


@pytest.mark.end_to_end
@pytest.mark.parametrize("name", [readable(name) for name in FORMATS])
def test_undamaged_files_are_read(name, tmp_path, capfd):
    if not installed([name]):
        pytest.skip("needs a package that is not installed")
    subject = SUBJECTS[name](tmp_path)
    capfd.readouterr()  # making a file may print what its format cannot hold
    for seed in subject.seeds:
        assert any(is_read(subject, seed, number) for number in range(40)), seed[:200]
    assert capfd.readouterr().err == ""


def is_read(subject, seed: bytes, number: int) -> bool:
    """Whether one way to use a file accepts it; some need labels, or triplets."""
    subject.path.unlink(missing_ok=True)
    subject.path.write_bytes(seed)
    try:
        subject.read(subject.path, random.Random(number))
    except HashkitError:
        return False
    return True


@looped("name", ["npz", "bank", "evaluation", "png", "faults"])
def test_a_case_is_the_same_file_each_time(name, tmp_path):
    made = []
    for attempt in ("first", "second"):
        folder = tmp_path / attempt
        folder.mkdir()
        subject = SUBJECTS[name](folder)
        made.append([mutated(subject, random.Random(f"{name} {case}")) for case in range(40)])
    assert made[0] == made[1]
    assert len(set(made[0])) > 30


@pytest.mark.parametrize("name", ["evaluation", "multi-index", "faults"])
def test_a_case_does_not_depend_on_the_cases_before(name, tmp_path):
    subject = SUBJECTS[name](tmp_path)
    cases = range(300)
    forwards = [mutated(subject, random.Random(f"{name} {case}")) for case in cases]
    backwards = [mutated(subject, random.Random(f"{name} {case}")) for case in reversed(cases)]
    assert forwards == backwards[::-1]


@pytest.mark.end_to_end
@pytest.mark.parametrize("name", [*PLANTED_SUBJECTS])
def test_a_planted_fault_is_found(name, tmp_path):
    kinds = {
        "planted-exception": "exception",
        "planted-memory": "exception",
        "planted-hang": "hang of more than 1 s",
        "planted-crash": "crash with exit code -6",
        "planted-warning": "warning",
        "planted-output": "output",
        "planted-lines": "message",
        "planted-escape": "message",
    }
    n_cases = 20
    with Worker(hang_seconds=1.0) as worker:
        batch = worker.run(name, 0, n_cases)
    found = {finding["kind"] for finding in batch.findings}
    assert found == ({kinds[name]} if name in kinds else set())
    assert batch.read + batch.refused + len(batch.findings) == n_cases


@pytest.mark.end_to_end
def test_a_campaign_goes_on_where_it_stopped_and_names_a_fault_once(tmp_path):
    names = ["planted-exception", "npz"]
    first = Campaign(tmp_path, names, continues=True)
    assert first.run(seconds=60, n_cases=20, n_workers=1) == 1
    second = Campaign(tmp_path, names, continues=True)
    assert second.n_cases == 40
    assert second.run(seconds=60, n_cases=60, n_workers=2) == 0
    assert second.n_cases == 120
    (finding,) = map(json.loads, (tmp_path / "findings.jsonl").read_text().splitlines())
    assert finding["format"] == "planted-exception"
    assert "KeyError" in finding["text"]
    assert finding["command"].startswith("python tests/fuzz/fuzz.py --format planted-exception")


def test_a_campaign_has_the_same_cases_whatever_the_speed(tmp_path):
    batches = list(Campaign(tmp_path, ["npz", "onnx-model"], continues=False)._batches(1_000))
    assert batches == list(
        Campaign(tmp_path, ["npz", "onnx-model"], continues=False)._batches(1_000)
    )
    for name, n_cases in (("npz", 1_000), ("onnx-model", 300)):
        cases = [case for one, first, last in batches if one == name for case in range(first, last)]
        assert cases == list(range(n_cases))
