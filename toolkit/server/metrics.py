"""What the server counts, in the format of Prometheus."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.process_collector import ProcessCollector

from hashkit.server.live_bank import LiveBank

__all__ = ["CONTENT_TYPE_LATEST", "Metrics"]

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SIZES: Final = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Counters of one server; see docs/server.md for their names."""

    def __init__(self, bank: LiveBank) -> None:
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter(
            "hashkit_requests", "Answers.", ["route", "method", "status"], registry=registry
        )
        self.seconds = Histogram(
            "hashkit_request_seconds",
            "Time from the headers of a request to the end of its answer.",
            ["route"],
            registry=registry,
            buckets=_SECONDS,
        )
        self.waiting = Gauge(
            "hashkit_waiting_requests", "Requests in progress or waiting.", registry=registry
        )
        self._batch = Histogram(
            "hashkit_batch_size",
            "Images encoded, or queries searched, at once.",
            ["work"],
            registry=registry,
            buckets=_SIZES,
        )
        self._work = Histogram(
            "hashkit_batch_seconds",
            "Time of one batch.",
            ["work"],
            registry=registry,
            buckets=_SECONDS,
        )
        rows = Gauge("hashkit_bank_rows", "Rows that are searched.", registry=registry)
        rows.set_function(lambda: bank.latest.n_live)
        stale = Gauge(
            "hashkit_bank_stale",
            "1 while the previous bank is searched because the file is missing, damaged or of "
            "another model.",
            registry=registry,
        )
        stale.set_function(lambda: bool(bank.fault))
        reloads = Gauge("hashkit_bank_reloads", "Number of changes of the bank.", registry=registry)
        reloads.set_function(lambda: bank.n_reloads)

    @contextlib.contextmanager
    def timed_batch(self, work: str, n_items: int) -> Iterator[None]:
        """Count a batch and its time."""
        start = time.perf_counter()
        yield
        self._batch.labels(work).observe(n_items)
        self._work.labels(work).observe(time.perf_counter() - start)

    def page(self) -> bytes:
        """All values as text."""
        return generate_latest(self._registry)
