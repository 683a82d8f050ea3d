"""The examples run as they stand, without warnings, and print what they promise."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.end_to_end

ROOT = Path(__file__).parents[2]
SHARE = re.compile(r"(\d+)%")


def printed(script: str) -> list[str]:
    """Lines that a script prints, run by itself in a process of one thread."""
    ended = subprocess.run(
        [sys.executable, "-W", "error", ROOT / script],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


def test_every_example_is_run_here():
    scripts = {path.name for path in (ROOT / "examples").glob("*.py")}
    assert scripts == {"train_and_search.py", "growing_bank.py", "evaluate_codes.py"}


def test_training_and_searching():
    *lines, last = printed("examples/train_and_search.py")
    assert len(lines) == 6
    found = re.fullmatch(r"200 queries, 1597 images: mAP (0\.\d{3})", last)
    assert found, last
    assert float(found[1]) > 0.6  # .93 on the machine it was written on, .10 by chance


def test_a_bank_grows_while_it_is_searched():
    lines = printed("examples/growing_bank.py")
    n_rows = [int(line.split(" images")[0].replace(",", "")) for line in lines]
    assert n_rows == sorted(set(n_rows))
    assert n_rows[-1] == 1700
    shares = [int(SHARE.search(line)[1]) for line in lines]
    assert shares[-1] == 89


def test_codes_of_another_program_have_the_same_evaluation_in_both_formats():
    archive, text = printed("examples/evaluate_codes.py")
    assert archive.removeprefix("npz") == text.removeprefix("txt")
    assert "32 bits, 200 queries, 1597 images" in text
    value = float(re.search(r"mAP (0\.\d{4})", text)[1])
    worst, best = map(float, re.search(r"ties: (\S+) to (\S+)\)", text).groups())
    assert 0.3 < worst < value < best < 0.7


@pytest.mark.parametrize("script", ["tests/smoke.py"])
def test_the_smoke_run_of_other_systems(script):
    (line,) = printed(script)
    assert line.startswith("20,000 codes searched and evaluated: mAP 0.1")
