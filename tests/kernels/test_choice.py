"""Which kernel is taken on which CPU."""

from __future__ import annotations

import pytest

from hashkit.kernels import choice, widths
from hashkit.kernels.choice import scan_kernel, scan_kernels
from hashkit.kernels.widths import COUNTS, MAX_PLANE_BITS, PLANES, ROWS


@pytest.mark.parametrize("costs", ["_WIDE", "_NARROW", "_COUNTING"])
def test_the_kernels_that_are_loaded_are_those_that_searches_use(
    costs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "_OF_THIS_CPU", getattr(choice, costs))
    monkeypatch.setattr(widths, "_forced", None)
    lengths = [*range(1, 140), *range(192, 2600, 64)]
    loaded = scan_kernels(64)
    taken: set[str] = set()
    for bits in lengths:
        for n_queries in (3, 4, 5, 8, 11, 16, 40, 100, 256, 5000):
            kernel = scan_kernel(n_queries, bits, 0.0)
            assert kernel != PLANES or bits <= MAX_PLANE_BITS
            taken.add(kernel)
    assert taken == loaded


def test_a_kernel_given_by_name_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for kernel in (ROWS, PLANES, COUNTS):
        monkeypatch.setattr(widths, "_forced", kernel)
        assert scan_kernel(1000, 16, 0.0) == kernel
        assert scan_kernels(16) == {ROWS, kernel}


def test_many_near_rows_are_not_compared_as_they_lie_in_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(widths, "_forced", None)
    monkeypatch.setattr(choice, "_OF_THIS_CPU", choice._NARROW)
    assert scan_kernel(16, 128, 100 / 100_000) == ROWS
    assert scan_kernel(16, 128, 1000 / 100_000) == PLANES
    assert scan_kernel(2, 128, 1000 / 100_000) == ROWS


def test_codes_of_the_same_number_of_bytes_use_the_same_kernel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(widths, "_forced", None)
    monkeypatch.setattr(choice, "_OF_THIS_CPU", choice._NARROW)
    assert [scan_kernel(4, bits, 0.0) for bits in (5, 12, 16, 17, 30)] == [
        ROWS,
        ROWS,
        ROWS,
        PLANES,
        ROWS,
    ]
