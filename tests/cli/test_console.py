"""Progress lines of long tasks."""

import time

import pytest

from hashkit.cli.console import progress_bar


@pytest.mark.parametrize(
    ("seconds", "rate"), [(30, "0.6 steps/s"), (300, "3.6 steps/min"), (5400, "0.2 steps/min")]
)
def test_a_slow_rate_is_not_zero(seconds, rate, capsys, monkeypatch):
    now = 0.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    with progress_bar("training", 36, "steps") as bar:
        now = float(seconds)
        bar.update(18, "loss 2")
    assert f"training: 18 of 36 steps, {rate}" in capsys.readouterr().err
