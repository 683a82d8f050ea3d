"""Compare models in several runtimes: speed, memory, and differences of their outputs."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashkit.datasets.imageset import spread_rows
from hashkit.exporters.agreement import Agreement, Sample, compare_answers, share_near_zero
from hashkit.exporters.bench.contenders import Contender
from hashkit.exporters.bench.settings import BenchSettings, Floors
from hashkit.meter import Meter
from hashkit.runtimes.answers import Answers
from hashkit.runtimes.measuring.measuring import Measurement, MeasuringJob
from hashkit.runtimes.measuring.process import measure_apart

__all__ = ["BenchRow", "Status", "bench"]

Status: TypeAlias = Literal["ok", "absent", "failed", "beyond"]
Progress: TypeAlias = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True)
class BenchRow:
    """The result for one contender.

    Attributes
    ----------
    contender
        The model, runtime and device that were measured.
    status
        ``ok``; ``absent``: the runtime or device is not available; ``failed``; ``beyond`` a floor.
    detail
        The reason in one line, unless the status is ``ok``.
    is_reference
        Whether the other rows are compared with this one.
    n_bytes
        Size of the model file.
    measurement
        Speed and memory, if it ran.
    agreement
        Comparison of its outputs with the reference's, if both ran; the reference is compared with
        itself.
    near_zero
        Share of its own logits within `hashkit.exporters.agreement.NEAR_ZERO` of 0.
    """

    contender: Contender
    status: Status
    detail: str = ""
    is_reference: bool = False
    n_bytes: int = 0
    measurement: Measurement | None = None
    agreement: Agreement | None = None
    near_zero: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Row of the JSON document; docs/cli.md describes the fields."""
        contender, found = self.contender, self.measurement
        fields: dict[str, Any] = {
            "runtime": contender.runtime,
            "device": contender.device,
            "model": str(contender.model),
            "precision": contender.precision,
            "status": self.status,
            "detail": self.detail,
            "is_reference": self.is_reference,
            "n_bytes": self.n_bytes,
            "version": None,
            "provider": None,
            "arithmetic": None,
            "start_seconds": None,
            "peak_memory_bytes": None,
            "best_batch_size": None,
            "batches": [],
            "agreement": None if self.agreement is None else self.agreement.to_dict(),
            "near_zero": self.near_zero,
        }
        if found is not None:
            fields |= {
                "version": found.runtime,
                "provider": found.provider,
                "arithmetic": found.precision,
                "start_seconds": found.start_seconds,
                "peak_memory_bytes": found.peak_memory_bytes,
                "best_batch_size": found.best.batch_size,
                "batches": [
                    dataclasses.asdict(one)
                    | {
                        "images_per_second": one.images_per_second,
                        "images_per_second_p95": one.images_per_second_p95,
                    }
                    for one in found.timings
                ],
            }
        return fields


def bench(
    contenders: Sequence[Contender],
    sample: Sample,
    settings: BenchSettings,
    floors: Floors,
    *,
    say: Callable[[str], None] | None = None,
    progress: Progress | None = None,
) -> list[BenchRow]:
    """Measure contenders one after the other, each in its own processes.

    A runtime that is not available on a device gives one row for all models.

    Parameters
    ----------
    contenders
        The first is the reference; if it does not run, the first that runs and is not slow.
    sample
        Images for the comparison of outputs.
    settings, floors
        How to measure, and the requirements.
    say
        Called with the name of each contender before it is measured.
    progress
        Called as ``progress(done, total)``, counted in steps (`BenchSettings.n_steps`).

    Raises
    ------
    KeyboardInterrupt
        On Ctrl-C; all processes are stopped.
    """
    meter = Meter(sum(map(settings.n_steps, contenders)), progress)
    with tempfile.TemporaryDirectory(prefix="hashkit-bench-") as folder:
        comparison = _Comparison(Path(folder), contenders, sample, settings)
        rows: list[BenchRow] = []
        for contender in contenders:
            absent = {row.contender.title for row in rows if row.status == "absent"}
            if contender.title in absent:
                meter.add(settings.n_steps(contender))
                continue
            if say is not None:
                say(f"{contender.title}, {contender.precision}")
            rows.append(comparison.measure(contender, meter))
        return comparison.compare(rows, floors)


class _Comparison:
    """Contenders that exchange images and answers with their processes through a folder."""

    def __init__(
        self,
        folder: Path,
        contenders: Sequence[Contender],
        sample: Sample,
        settings: BenchSettings,
    ) -> None:
        self._folder, self._contenders = folder, contenders
        self._sample, self._settings = sample, settings
        everything = np.concatenate([sample.queries, sample.database])
        self._few = spread_rows(len(everything), settings.n_slow_images)
        np.save(self._images(is_slow=False), everything)
        np.save(self._images(is_slow=True), everything[self._few])

    def measure(self, contender: Contender, meter: Meter) -> BenchRow:
        """Row of a contender, before the comparison."""
        settings, n_done = self._settings, 0

        def step(_: str) -> None:
            nonlocal n_done
            n_done += 1
            meter.add(1)

        job = MeasuringJob(
            model=str(contender.model),
            runtime=contender.runtime,
            device=contender.device,
            profile=settings.profile,
            images=str(self._images(is_slow=contender.is_slow)),
            answers=str(self._answers(contender)),
            batch_sizes=settings.batch_sizes_of(contender),
            seconds=settings.seconds,
            weights_sha256=contender.weights_sha256,
            network=contender.network,
        )
        outcome = measure_apart(
            job,
            n_starts=settings.n_starts_of(contender),
            timeout_seconds=settings.timeout_seconds,
            worker=contender.worker,
            step=step,
        )
        meter.add(settings.n_steps(contender) - n_done)
        return BenchRow(
            contender,
            outcome.status,
            outcome.reason,
            n_bytes=contender.model.stat().st_size,
            measurement=outcome.measurement,
        )

    def compare(self, rows: Sequence[BenchRow], floors: Floors) -> list[BenchRow]:
        """The rows, compared with the reference."""
        ran = [row for row in rows if row.status == "ok"]
        reference = next((row for row in ran if not row.contender.is_slow), None)
        if reference is None:
            return list(rows)
        expected = Answers.load(self._answers(reference.contender)).logits
        return [
            self._compare(row, expected, floors, is_reference=row is reference)
            if row.status == "ok"
            else row
            for row in rows
        ]

    def _compare(
        self, row: BenchRow, expected: NDArray[np.float32], floors: Floors, *, is_reference: bool
    ) -> BenchRow:
        assert row.measurement is not None  # noqa: S101 - it ran
        answers, sample = Answers.load(self._answers(row.contender)), self._sample
        if row.contender.is_slow:
            expected, sample = expected[self._few], self._slow_sample(sample)
        agreement = compare_answers(expected, answers, sample, row.measurement.provider)
        if row.contender.is_slow:  # meaningless for a few images: most of them are neighbours
            agreement = dataclasses.replace(agreement, neighbours_kept=None)
        row = dataclasses.replace(
            row,
            is_reference=is_reference,
            agreement=agreement,
            near_zero=share_near_zero(answers.logits),
        )
        if agreement.n_not_finite or agreement.n_packing_errors:
            fault = (
                f"{agreement.n_not_finite:,} logits are not finite, "
                f"{agreement.n_packing_errors:,} code bytes do not match the logits"
            )
            return dataclasses.replace(row, status="failed", detail=fault)
        misses = floors.misses(agreement)
        if misses:
            return dataclasses.replace(row, status="beyond", detail="; ".join(misses))
        return row

    def _slow_sample(self, sample: Sample) -> Sample:
        """The images of slow runtimes, without labels: too few for a comparable mAP."""
        n_queries = len(sample.queries)
        is_query = self._few < n_queries
        queries = sample.queries[self._few[is_query]]
        return Sample(queries, sample.database[self._few[~is_query] - n_queries])

    def _images(self, *, is_slow: bool) -> Path:
        return self._folder / ("few.npy" if is_slow else "all.npy")

    def _answers(self, contender: Contender) -> Path:
        return self._folder / f"answers-{self._contenders.index(contender)}.npz"
