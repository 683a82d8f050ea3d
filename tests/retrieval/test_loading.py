"""Kernels load in the background while NumPy answers; fake kernels, so that no time is spent."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from hashkit.retrieval import loading
from hashkit.retrieval.loading import KernelLoader

MUCH = loading._LOADING_BYTES


class Steps:
    """Two kernels that load when told to."""

    def __init__(self, monkeypatch):
        self.go_on = threading.Semaphore(0)
        self.begun: list[int] = []
        self.error: Exception | None = None
        monkeypatch.setattr(loading, "_steps", self.steps)

    def steps(self, n_bits):
        for _ in range(2):
            self.begun.append(n_bits)
            self.go_on.acquire()
            if self.error:
                raise self.error
            yield


@pytest.fixture
def steps(monkeypatch):
    return Steps(monkeypatch)


@pytest.fixture
def loader():
    loader = KernelLoader()
    loader._is_watched = True  # leave no handlers in this process
    return loader


def wait(loader):
    loader._thread.join(30)
    assert not loader._thread.is_alive()


def test_numpy_answers_until_the_kernels_are_loaded(loader, steps):
    for _ in range(4):
        assert not loader.are_wanted(MUCH // 4, 64)
    assert loader._thread is None  # few small searches load nothing
    assert not loader.are_wanted(1, 64)
    assert not loader.are_wanted(MUCH // 2, 64)
    steps.go_on.release(2)
    wait(loader)
    assert steps.begun == [64, 64]
    assert loader.are_wanted(1, 64)
    assert loader.are_wanted(1, 100)  # the same kernels
    assert not loader.are_wanted(1, 256)
    steps.go_on.release(2)
    wait(loader)
    assert loader.are_wanted(1, 256)


def test_a_large_search_waits_for_the_kernels_that_it_needs(loader):
    assert loader.are_wanted(2 * MUCH, 64)


def test_kernels_that_were_loaded_on_request_are_ready(loader, steps):
    steps.go_on.release(2)
    loader.load(48)
    assert loader.are_wanted(1, 48)


def test_a_pause_ends_after_the_kernel_at_hand(loader, steps):
    loader.are_wanted(MUCH - 1, 64)
    loader.are_wanted(2, 64)
    threading.Timer(0.02, steps.go_on.release).start()
    loader.pause()
    assert len(steps.begun) == 1
    assert not loader.are_wanted(1, 64)  # starts again
    steps.go_on.release(2)
    wait(loader)
    assert loader.are_wanted(1, 64)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_can_load_kernels(loader, steps):
    loader.are_wanted(MUCH - 1, 64)
    loader.are_wanted(2, 64)
    threading.Timer(0.02, steps.go_on.release).start()
    loader._before_fork()
    assert loader._thread is None  # so no lock of it is inherited
    loader._lock.release()
    steps.go_on.release(2)
    loader.load(64)
    assert loader.are_wanted(1, 64)


def test_a_failure_in_the_background_is_left_to_the_next_search(loader, steps, caplog):
    steps.error = RuntimeError("no LLVM")
    loader.are_wanted(MUCH - 1, 64)
    loader.are_wanted(2, 64)
    steps.go_on.release()
    wait(loader)
    assert "cannot be loaded in the background" in caplog.text
    assert loader.are_wanted(1, 64)


SMALL_SEARCH = """
import sys
import numpy as np
import hashkit
from hashkit.retrieval.loading import KERNELS

codes = np.random.default_rng(0).integers(0, 256, (10_000, 8), dtype=np.uint8)
small = hashkit.search(codes[:5], codes, top_k=10, n_bits=64)
print("numba" in sys.modules)
KERNELS._bytes_left = 0
meanwhile = hashkit.search(codes[:5], codes, top_k=10, n_bits=64)
KERNELS._thread.join()
large = hashkit.search(codes[:5], codes, top_k=10, n_bits=64)
print("numba" in sys.modules)
print(KERNELS.are_wanted(1, 64))
for one in (small, meanwhile):
    print((one.rows == large.rows).all() and (one.distances == large.distances).all())
"""


@pytest.mark.end_to_end
def test_a_small_search_never_loads_the_kernels_and_many_do() -> None:
    result = subprocess.run(
        [sys.executable, "-c", SMALL_SEARCH], capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == ["False", *["True"] * 4]
