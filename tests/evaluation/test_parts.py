"""Evaluations of parts, put together, equal those of one database, bit for bit."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bank_samples import make_header
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hashkit.bank.header import BankSource
from hashkit.bank.reader import Bank
from hashkit.bank.writer import BankWriter
from hashkit.codes import pack
from hashkit.codesets import CodeSet
from hashkit.errors import CodesError, EvaluationError
from hashkit.evaluation import bit_statistics as bitstats
from hashkit.evaluation import intervals, passes, scoring
from hashkit.evaluation.evaluator import evaluate
from hashkit.evaluation.local_part import LocalEvaluationPart
from hashkit.evaluation.parts import evaluate_parts
from hashkit.evaluation.report import Report
from hashkit.evaluation.settings import EvaluationSettings

N_BITS = 7


class FarPart:
    """A part in another process, which may end between two calls."""

    def __init__(self, databases: Sequence[Any]) -> None:
        self._databases = databases

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> Any:
            counters = [one for one in arguments if callable(one)]
            sent = copied(arguments[: len(arguments) - len(counters)])
            part = LocalEvaluationPart(self._databases)
            answer = getattr(part, name)(*sent, *(lambda _: None for _ in counters))
            for rows_done in counters:
                rows_done(sum(map(len, self._databases)))
            return copied(answer)

        return call


def copied(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


def in_threads(tasks: Sequence[Any]) -> list[Any]:
    with ThreadPoolExecutor(4) as pool:
        return [one.result() for one in [pool.submit(task) for task in tasks]]


def whole_set(rng: np.random.Generator, n_rows: int, kind: str) -> CodeSet:
    labels: Any = rng.integers(-1, 3, n_rows)
    if kind == "multi":
        labels = (rng.random((n_rows, 4)) < 0.3).astype(np.uint8)
    deleted = rng.random(n_rows) < 0.3
    names = ("a", "b", "c", "d") if kind != "numbers" else ()
    return CodeSet(pack(rng.integers(0, 2, (n_rows, N_BITS))), N_BITS, labels, (), names, deleted)


def cut(one: CodeSet, bounds: Sequence[int]) -> list[CodeSet]:
    assert one.labels is not None
    assert one.deleted is not None
    return [
        CodeSet(
            one.codes[a:b], N_BITS, one.labels[a:b], (), one.class_names,
            one.deleted[a:b] if one.deleted[a:b].any() else None,
        )
        for a, b in itertools.pairwise(bounds)
    ]  # fmt: skip


def labelled(one: CodeSet) -> CodeSet:
    """The same with a label for each row."""
    assert one.labels is not None
    labels = np.maximum(one.labels, 0)
    if labels.ndim == 2:
        labels[:, 1] |= ~labels.any(axis=1)
    return CodeSet(one.codes, N_BITS, labels, (), one.class_names, one.deleted)


def check(found: Report, expected: Report) -> None:
    assert found.to_dict() == expected.to_dict()
    np.testing.assert_array_equal(found.average_precision, expected.average_precision)
    np.testing.assert_array_equal(found.n_relevant, expected.n_relevant)


@settings(
    deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.integers(0, 2**32 - 1), st.lists(st.integers(0, 40), min_size=2, max_size=6),
    st.sampled_from(["single", "numbers", "multi"]), st.booleans(),
)  # fmt: skip
def test_parts_together_equal_one_database(
    monkeypatch: pytest.MonkeyPatch, seed: int, lengths: list[int], kind: str, exclude_self: bool
) -> None:
    monkeypatch.setattr(intervals, "_RESAMPLES", 50)
    monkeypatch.setattr(bitstats, "_MOST_ROWS", 50)
    monkeypatch.setattr(bitstats, "_BLOCK_ROWS", 16)
    monkeypatch.setattr(passes, "_SEGMENT_ROWS", 33)
    rng = np.random.default_rng(seed)
    one = labelled(whole_set(rng, sum(lengths) + 30, kind))
    bounds = [0, *np.cumsum(lengths).tolist(), len(one)]
    shards = cut(one, bounds)
    queries, own = one, shards
    if not exclude_self:
        queries = labelled(whole_set(rng, 9, kind))
        own = cut(queries, [0, 4, 4, 9])
    expected = evaluate(queries, one, exclude_self=exclude_self)
    check(evaluate(own, shards, exclude_self=exclude_self), expected)
    some = [0, *sorted({*rng.integers(1, len(shards), 2).tolist(), len(shards)})]
    parts: Any = [FarPart(shards[a:b]) for a, b in itertools.pairwise(some)]
    monkeypatch.setattr(scoring, "_QUERY_BLOCK", 5)
    passed: list[tuple[int, int]] = []
    found = evaluate_parts(
        own,
        parts,
        EvaluationSettings(exclude_self=exclude_self),
        progress=lambda *both: passed.append(both),
        together=in_threads,
    )
    check(found, expected)
    assert passed[-1] == (2 * len(one), 2 * len(one))


def written(path: Path, rows: slice, part: str, names: Sequence[str], one: CodeSet) -> Bank:
    source = BankSource("photos", None, "half", part, 1, None, "")
    header = make_header(N_BITS, source, manifest=None, class_names=one.class_names)
    assert one.labels is not None
    own = names[rows]
    with BankWriter.create(path, header, n_rows=len(own), n_name_bytes=1000) as writer:
        writer.write(one.codes[rows], own, one.labels[rows], n_consumed=len(own))
        writer.complete()
    return Bank.open(path)


def test_queries_of_a_split_are_left_out_of_every_part(tmp_path: Path) -> None:
    one = labelled(whole_set(np.random.default_rng(5), 60, "single"))
    names = [f"{row}.png" for row in range(60)]
    queries = written(tmp_path / "q.h5", slice(7, 60, 9), "queries", names, one)
    whole = written(tmp_path / "all.h5", slice(0, 60), "all", names, one)
    bounds = itertools.pairwise([0, 11, 40, 60])
    shards = [written(tmp_path / f"{a}.h5", slice(a, b), "all", names, one) for a, b in bounds]
    expected = evaluate(queries, whole)
    assert expected.n_database == 60 - len(queries)
    parts: Any = [FarPart([shard]) for shard in shards]
    check(evaluate_parts([queries], parts, EvaluationSettings()), expected)
    # Every bank has its identity, so its own rows are found in another process too.
    itself = evaluate(shards, shards, exclude_self=True)
    check(evaluate_parts(shards, parts, EvaluationSettings(exclude_self=True)), itself)


def test_queries_and_parts_that_do_not_match_are_refused() -> None:
    one = labelled(whole_set(np.random.default_rng(0), 20, "single"))
    other = CodeSet(np.zeros((2, 1), np.uint8), 8, [0, 1])
    with pytest.raises(CodesError, match="expected a database of 7 bits, found 8 bits"):
        evaluate_parts([one], [LocalEvaluationPart([other])], EvaluationSettings())
    bare = CodeSet(one.codes, N_BITS)
    with pytest.raises(EvaluationError, match="expected labels for the database, found none"):
        evaluate_parts([one], [LocalEvaluationPart([one, bare])], EvaluationSettings())
    with pytest.raises(EvaluationError, match="expected queries of the same classes"):
        evaluate([one, labelled(whole_set(np.random.default_rng(0), 20, "multi"))], one)
