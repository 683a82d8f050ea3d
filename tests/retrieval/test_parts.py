"""Answers of parts of a database, merged, equal those of the whole."""

from __future__ import annotations

import itertools
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hashkit.codes import pack
from hashkit.codesets import CodeSet
from hashkit.errors import ConfigError, IndexMismatchError
from hashkit.multi_index.index import MultiIndex
from hashkit.retrieval import parts
from hashkit.retrieval.local_part import LocalSearchPart
from hashkit.retrieval.neighbours import Neighbours, Ranking
from hashkit.retrieval.part_query import PartAnswer, PartCounts, PartQuery
from hashkit.retrieval.parts import search_parts
from hashkit.retrieval.search import search

N_BITS = 6  # few, so that most rows tie


class FarPart:
    """A part in another process: arguments and results are copied."""

    def __init__(self, part: LocalSearchPart, *, forgets: bool) -> None:
        self._part, self._forgets = part, forgets
        self.n_sent = 0

    @property
    def n_rows(self) -> int:
        return self._part.n_rows

    def count(self, query: PartQuery, where: Any) -> PartCounts:
        counted = self._part.count(copied(query), copied(where))
        if self._forgets:  # the process ended between the two rounds
            self._part._found.clear()
        return copied(counted)

    def answer(self, query: PartQuery, where: Any, sizes: Any) -> PartAnswer:
        answer = self._part.answer(copied(query), copied(where), copied(sizes))
        self.n_sent += len(answer.hits.rows)
        return copied(answer)


def copied(value: Any) -> Any:
    return pickle.loads(pickle.dumps(value))


def shards_of(seed: int, lengths: list[int]) -> tuple[NDArray[np.float32], list[CodeSet]]:
    """Logits of three queries, which tie often, and databases with deleted rows."""
    rng = np.random.default_rng(seed)
    logits = rng.integers(-2, 3, (3, N_BITS)).astype(np.float32)
    shards = []
    for n_rows in lengths:
        deleted = rng.random(n_rows) < rng.choice([0.0, 0.3, 1.0])
        codes = pack(rng.integers(0, 2, (n_rows, N_BITS)))
        shards.append(CodeSet(codes, N_BITS, deleted=deleted if deleted.any() else None))
    return logits, shards


def fields(found: Ranking | Neighbours) -> dict[str, Any]:
    return {
        name: one if one is None else (one.dtype, one.tolist()) for name, one in vars(found).items()
    }


asked = st.sampled_from(
    [
        {"top_k": 4},
        {"top_k": 0},
        {"top_k": 1000},
        {"radius": 1},
        {"radius": 2, "top_k": 3},
        {"top_k": 3, "logits": True},
        {"radius": 2, "logits": True},
        {"radius": 3, "top_k": 5, "logits": True},
        {"top_k": 3, "logits": True, "oversample": 1},
        {"top_k": 3, "logits": True, "oversample": 4},
    ]
)


@settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.integers(0, 2**32 - 1), st.lists(st.integers(0, 20), min_size=1, max_size=6), asked,
    st.sampled_from([None, "mask", "rows"]), st.booleans(), st.booleans(),
)  # fmt: skip
def test_merged_answers_of_parts_equal_a_search_of_the_whole(
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
    lengths: list[int],
    question: dict[str, Any],
    filtered: str | None,
    is_counted: bool,
    forgets: bool,
) -> None:
    is_counted = "top_k" in question and (is_counted or "oversample" in question)
    monkeypatch.setattr(parts, "_counts_first", lambda *_: is_counted)
    rng = np.random.default_rng(seed)
    logits, shards = shards_of(seed, lengths)
    codes = pack(logits > 0)
    given_logits = logits if question.get("logits") else None
    arguments = {**question, "logits": given_logits}
    where: Any = None
    if filtered is not None:
        where = rng.random(sum(lengths)) < 0.5
        where = where if filtered == "mask" else rng.permutation(np.flatnonzero(where))
    expected = search(codes, shards, where=where, **arguments)
    # Groups of consecutive databases, some of them alone.
    bounds = sorted({0, len(shards), *rng.integers(0, len(shards) + 1, 3).tolist()})
    far = [
        FarPart(LocalSearchPart(shards[first:stop]), forgets=forgets)
        for first, stop in itertools.pairwise(bounds)
    ]
    query = PartQuery.checked(codes, N_BITS, **arguments)
    offsets = np.cumsum([0, *lengths], dtype=np.int64)
    found = search_parts(query, far, where=where, database_offsets=offsets)
    assert type(found) is type(expected)
    assert fields(found) == fields(expected)
    if is_counted and given_logits is None:
        assert sum(part.n_sent for part in far) == np.size(expected.rows)


@given(
    st.integers(0, 2**32 - 1), st.lists(st.integers(0, 30), min_size=1, max_size=5), asked,
    st.booleans(), st.sampled_from(["auto", "index"]),
)  # fmt: skip
def test_indexes_of_single_databases_are_used(
    seed: int, lengths: list[int], question: dict[str, Any], filtered: bool, engine: Any
) -> None:
    rng = np.random.default_rng(seed)
    logits, shards = shards_of(seed, [*lengths, 25])
    arguments = {**question, "logits": logits if question.get("logits") else None}
    where = rng.random(sum(lengths) + 25) < 0.5 if filtered else None
    # Indexes of all rows, of the first rows only, or none.
    indexed = [int(rng.integers(0, len(shard) + 1)) for shard in shards]
    indexed[-1] = 20
    indexes = [
        MultiIndex.build(shard.codes[:n_rows], N_BITS) if n_rows > 4 else None
        for shard, n_rows in zip(shards, indexed, strict=True)
    ]
    codes = pack(logits > 0)
    expected = search(codes, shards, where=where, **arguments)
    found = search(codes, shards, where=where, index=indexes, engine=engine, **arguments)
    assert fields(found) == fields(expected)


def test_indexes_must_belong_to_the_databases() -> None:
    _, shards = shards_of(3, [40, 40])
    codes = shards[0].codes[:2]
    indexes = [MultiIndex.build(shard.codes, N_BITS) for shard in shards]
    with pytest.raises(IndexMismatchError, match="first rows, found one of other codes"):
        search(codes, shards, top_k=3, index=indexes[::-1])
    with pytest.raises(ConfigError, match="for each of 2 databases, found 1"):
        search(codes, shards, top_k=3, index=indexes[:1])
    with pytest.raises(ConfigError, match="needs an index of the database, found none"):
        search(codes, shards, top_k=3, index=[None, None], engine="index")


def test_parts_count_first_where_that_saves_bytes() -> None:
    codes = np.zeros((256, 8), np.uint8)
    wanted = [(10, 2), (10, 100), (1000, 2), (1000, 100)]
    queries = [(PartQuery.checked(codes, 64, top_k=top_k), n_parts) for top_k, n_parts in wanted]
    assert [parts._counts_first(*one) for one in queries] == [False, False, True, True]


def test_rows_outside_the_parts_are_refused() -> None:
    _, shards = shards_of(0, [3, 4])
    some = [LocalSearchPart(shard) for shard in shards]
    query = PartQuery.checked(shards[0].codes, N_BITS, top_k=1)
    with pytest.raises(ConfigError, match="must be rows from 0 to 6, found 2 to 7"):
        search_parts(query, some, where=np.array([2, 7]))


def test_queries_of_parts_are_checked_like_those_of_a_search() -> None:
    codes = np.zeros((1, 1), np.uint8)
    for arguments in (
        {},
        {"top_k": -1},
        {"top_k": 1, "oversample": 2},
        {"top_k": 1, "engine": "x"},
    ):
        with pytest.raises(ConfigError) as expected:
            search(codes, codes, n_bits=N_BITS, **arguments)
        with pytest.raises(ConfigError) as found:
            PartQuery.checked(codes, N_BITS, **arguments)
        assert str(found.value) == str(expected.value)
