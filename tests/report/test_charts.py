"""Axes and charts: positions of values."""

from __future__ import annotations

import json
import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from looped import looped

from hashkit.report.charts import Point, Series, line_chart
from hashkit.report.intervals import Interval, interval_chart
from hashkit.report.scales import Axis, bit_axis, chosen_axis, fitted_axis, log_axis, share_axis


def test_positions_and_ticks_of_axes():
    linear = Axis("x", 0, 50, ())
    assert [linear.place(x) for x in (0, 25, 50, 60, -1)] == [0, 0.5, 1, 1, 0]
    log = log_axis("k", 10_000)
    assert [log.place(k) for k in (1, 10, 100, 10_000)] == pytest.approx([0, 0.25, 0.5, 1])
    assert log.ticks == (1, 10, 100, 1000, 10_000)
    assert [log.tick_text(tick) for tick in log.ticks] == ["1", "10", "100", "1k", "10k"]
    assert log_axis("k", 20).ticks == (1, 2, 4, 8, 16)
    assert bit_axis("bits", 48).ticks == tuple(range(0, 49, 8))
    assert chosen_axis("bits", [48, 12, 24, 12]).ticks == (12, 24, 48)
    assert share_axis("p", 0.44).high == 0.6
    assert share_axis("p").ticks == (0, 0.25, 0.5, 0.75, 1)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_fitted_axis_contains_its_values_between_round_ends(values):
    axis = fitted_axis("mAP", values)
    assert axis.low <= min(values)
    assert max(values) <= axis.high
    assert axis.low < axis.high
    assert 3 <= len(axis.ticks) <= 8
    assert all(axis.low <= tick <= axis.high for tick in axis.ticks)
    assert all(float(axis.tick_text(tick)) == pytest.approx(tick) for tick in axis.ticks)


@given(st.floats(1e-6, 1))
def test_share_axis_contains_its_values(largest):
    axis = share_axis("p", largest)
    assert axis.low == 0
    assert largest <= axis.high * (1 + 1e-9)
    assert axis.high <= max(2 * largest, 1e-6)
    assert 3 <= len(axis.ticks) <= 6


@given(st.integers(1, 4096))
def test_bit_axis_has_few_integer_ticks(n_bits):
    axis = bit_axis("bits", n_bits)
    assert 2 <= len(axis.ticks) <= 9
    assert axis.ticks[-1] <= n_bits


def draw(kind: str, values, x_axis=None, y_axis=None) -> ET.Element:
    points = tuple(Point(x, y, f"{x}: {y}") for x, y in values)
    series = [Series("a", 0, points, kind), Series("b", 1, points[:1])]
    axes = x_axis or Axis("x", 0, 100, (0, 50, 100)), y_axis or share_axis("y")
    return ET.fromstring(line_chart("Title", "words", series, *axes))  # noqa: S314 - our own


def coordinates(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"([-\d.]+) ([-\d.]+)", path)]


def test_points_of_a_curve_are_drawn_at_their_positions():
    svg = draw("line", [(0, 0), (25, 0.5), (100, 1)])
    _, own = svg.findall("g")  # the first series is in front, so it is drawn last
    line = coordinates(own.find("path[@class='line']").get("d"))
    grid = {float(one.get("y1")) for one in svg.findall("line[@class='grid']")}
    left, right = (float(svg.find("line[@class='edge']").get(name)) for name in ("x1", "x2"))
    bottom, top = max(grid), min(grid)
    expected = [(0, 0), (0.25, 0.5), (1, 1)]
    assert line == [
        pytest.approx((left + x * (right - left), bottom - y * (bottom - top)), abs=0.01)
        for x, y in expected
    ]
    read_out = json.loads(own.get("data-points"))
    assert [point[:2] for point in read_out] == [pytest.approx(p, abs=0.06) for p in line]
    assert [point[2] for point in read_out] == ["0: 0", "25: 0.5", "100: 1"]
    notches = [float(one.get("x1")) for one in svg.findall("line[@class='notch']")]
    assert notches == pytest.approx([left, (left + right) / 2, right], abs=0.01)


def test_logarithmic_axis_spaces_powers_evenly():
    svg = draw("line", [(1, 0), (10, 0), (100, 0)], log_axis("k", 100))
    line = coordinates(svg.findall("g")[1].find("path[@class='line']").get("d"))
    xs = [x for x, _ in line]
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1], abs=0.02)


def test_areas_and_bars_start_at_zero():
    values = [(0, 0.5), (50, 1.0), (100, 0.25)]
    svg = draw("area", values)
    area = svg.findall("g")[1].find("path[@class='area']").get("d")
    bottom = float(svg.find("line[@class='edge']").get("y1"))
    assert f"V{bottom:g}H" in area
    assert area.endswith("z")
    bars = draw("bars", [(x + 0.5, 0.5) for x in range(4)], bit_axis("bit", 4))
    shapes = bars.findall("g")[1].find("path[@class='bars']").get("d").split("z")[:-1]
    assert len(shapes) == 4
    lefts = [float(shape[1:].split()[0]) for shape in shapes]
    rights = [float(shape.split("H")[1].split("V")[0]) for shape in shapes]
    assert all(right < left for right, left in zip(rights, lefts[1:], strict=False))
    assert float(shapes[0].split("V")[1].split("H")[0]) == pytest.approx((bottom + 12) / 2, abs=0.1)


@looped("n_points", [0, 1, 2, 1025])
def test_curves_of_any_length_are_drawn(n_points):
    svg = draw("line", [(100 * n / max(n_points - 1, 1), 0.5) for n in range(n_points)])
    markers = svg.findall("g")[1].findall("path[@class='marker']")
    assert min(n_points, 1) <= len(markers) <= 10


def test_intervals_and_ranges_are_drawn_at_their_positions():
    rows = [Interval("a", 0, 0.5, (0.4, 0.7), (0.2, 0.8)), Interval("b", 1, 0.2, None, None)]
    svg = ET.fromstring(interval_chart("T", "", rows, Axis("mAP", 0, 1, (0, 1))))  # noqa: S314
    low_end, high_end = (float(one.get("x1")) for one in svg.findall("line[@class='grid']"))

    def across(share: float) -> object:
        return pytest.approx(low_end + share * (high_end - low_end), abs=0.02)

    first, second = svg.findall("g")
    whisker = first.find("line[@class='whisker']")
    assert (float(whisker.get("x1")), float(whisker.get("x2"))) == (across(0.4), across(0.7))
    band = first.find("rect")
    assert float(band.get("x")) == across(0.2)
    assert float(band.get("x")) + float(band.get("width")) == across(0.8)
    place = re.match(r"translate\(([\d.]+)", second.find("path").get("transform"))
    assert float(place[1]) == across(0.2)
    assert second.find("rect") is None
    assert [group.find("text").text for group in (first, second)] == ["a", "b"]
