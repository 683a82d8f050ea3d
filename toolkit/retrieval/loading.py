"""Loads compiled kernels before a search needs them: in the background, or when asked to.

Loading Numba and cached kernels takes 0.3 s, and compiling them on a new machine takes seconds. A
process with few small searches never loads them. One with many loads them in a thread while NumPy
answers, so that no search waits. If NumPy would take longer than the loading, the search waits for
its kernels.
"""

from __future__ import annotations

import atexit
import functools
import logging
import os
import threading
from collections.abc import Iterator
from typing import Final

from hashkit.kernels.widths import MAX_PLANE_BITS, counters_for

__all__ = ["KERNELS", "KernelLoader"]

_logger: Final = logging.getLogger(__name__)

_LOADING_BYTES: Final = 1_000_000_000
"""Bytes of codes, counted once per query, that NumPy compares before kernels are loaded.

NumPy compares about 3 GB/s, so these take as long as loading cached kernels."""


class KernelLoader:
    """Knows which kernels of linear search are loaded, and loads them."""

    def __init__(self) -> None:
        self._bytes_left = _LOADING_BYTES
        self._ready: set[int] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_stopped = threading.Event()
        self._is_watched = False

    def are_wanted(self, n_bytes: int, n_bits: int) -> bool:
        """Whether a search is to use kernels; False while NumPy answers sooner.

        Parameters
        ----------
        n_bytes
            Bytes of codes that the search compares, counted once per query.
        n_bits
            Number of bits of a code.
        """
        if _group(n_bits) in self._ready:
            return True
        with self._lock:
            self._bytes_left -= n_bytes
            if self._bytes_left >= 0:
                return False
            if n_bytes < _LOADING_BYTES:
                self._start(n_bits)
                return False
        return True

    def load(self, n_bits: int) -> None:
        """Load the kernels for codes of ``n_bits`` bits, and return when no search will wait."""
        for _ in _steps(n_bits):
            pass
        self._ready.add(_group(n_bits))

    def pause(self) -> None:
        """Stop loading in the background after the current kernel, until the next search."""
        with self._lock:
            self._pause()

    def _start(self, n_bits: int) -> None:
        if self._thread is not None and self._thread.is_alive():
            return
        if not self._is_watched:
            # A thread in LLVM must not outlive the interpreter, and a forked process would wait for
            # locks of a thread that it does not have.
            atexit.register(self.pause)
            if hasattr(os, "register_at_fork"):
                os.register_at_fork(
                    before=self._before_fork,
                    after_in_parent=self._lock.release,
                    after_in_child=self._lock.release,
                )
            self._is_watched = True
        self._is_stopped.clear()
        self._thread = threading.Thread(
            target=self._load_quietly, args=(n_bits,), name="hashkit-kernels", daemon=True
        )
        self._thread.start()

    def _load_quietly(self, n_bits: int) -> None:
        try:
            for _ in _steps(n_bits):
                if self._is_stopped.is_set():
                    return
        except Exception:
            _logger.exception("compiled kernels cannot be loaded in the background")
        self._ready.add(_group(n_bits))  # after a failure, the next search raises the error

    def _pause(self) -> None:
        self._is_stopped.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _before_fork(self) -> None:
        self._lock.acquire()
        self._pause()


@functools.cache  # each search asks
def _group(n_bits: int) -> int:
    """A number that is the same for all lengths of codes with the same kernels."""
    return counters_for(min(n_bits, MAX_PLANE_BITS))


def _steps(n_bits: int) -> Iterator[None]:
    from hashkit.retrieval.scan_compiled import run_each_kernel

    yield from run_each_kernel(n_bits)


KERNELS: Final = KernelLoader()
"""The loader of this process."""
