from __future__ import annotations

import pytest
from looped import looped

from hashkit.training.schedule import SCHEDULES, learning_rate


def rate(step, n_steps=100, base=0.2, schedule="constant", **settings):
    return learning_rate(step, n_steps, base=base, schedule=schedule, **settings)


def test_constant():
    assert {rate(step) for step in range(100)} == {0.2}


def test_caffe_drops_tenfold_at_60_and_at_70_percent():
    """lr 1e-3, times 0.1 at 60,000 and 70,000 of 100,000 iterations."""
    rates = {
        step: rate(step, 100_000, base=1e-3, schedule="multistep", milestones=(0.6, 0.7), gamma=0.1)
        for step in (0, 59_999, 60_000, 69_999, 70_000, 99_999)
    }
    assert rates == {
        0: 1e-3,
        59_999: 1e-3,
        60_000: pytest.approx(1e-4),
        69_999: pytest.approx(1e-4),
        70_000: pytest.approx(1e-5),
        99_999: pytest.approx(1e-5),
    }


def test_only_multistep_uses_milestones_and_gamma():
    for schedule in SCHEDULES:
        values = [rate(step, schedule=schedule, milestones=(0.5,), gamma=0.5) for step in (49, 50)]
        halves = values[1] / values[0] < 0.6
        assert halves == (schedule == "multistep")


def test_cosine_at_key_points():
    values = [rate(step, schedule="cosine") for step in (0, 25, 50, 75, 100)]
    assert values == pytest.approx([0.2, 0.2 * 0.8535533906, 0.1, 0.2 * 0.1464466094, 0])


def test_one_cycle_at_key_points():
    values = [rate(step, schedule="one-cycle") for step in (0, 15, 30, 65, 100)]
    assert values == pytest.approx([0.2 / 25, 0.2 * 0.52, 0.2, 0.1, 0])


def test_one_cycle_rises_to_its_peak_at_30_percent_and_then_falls():
    values = [rate(step, schedule="one-cycle") for step in range(100)]
    assert values[:31] == sorted(values[:31])
    assert values[30:] == sorted(values[30:], reverse=True)
    assert max(values) == values[30] == pytest.approx(0.2)
    assert min(values) > 0


@looped("schedule", SCHEDULES)
def test_warm_up_scales_any_schedule(schedule):
    plain = [rate(step, schedule=schedule) for step in range(12)]
    warmed = [rate(step, schedule=schedule, n_warmup=10) for step in range(12)]
    factors = [count / 10 for count in range(1, 11)] + [1, 1]
    assert warmed == pytest.approx([a * b for a, b in zip(plain, factors, strict=True)])


@looped("schedule", SCHEDULES)
def test_the_rate_depends_only_on_the_fraction_of_the_run(schedule):
    settings = {"schedule": schedule, "milestones": (0.6, 0.7)}
    short = [rate(step, 50, **settings) for step in range(50)]
    long = [rate(20 * step, 1000, **settings) for step in range(50)]
    assert short == pytest.approx(long)


@looped("schedule", SCHEDULES)
def test_a_run_of_one_step_has_a_rate(schedule):
    assert 0 < rate(0, 1, schedule=schedule) <= 0.2
