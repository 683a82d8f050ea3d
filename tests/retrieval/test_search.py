from __future__ import annotations

import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import oracles
import pytest
from bank_samples import make_header, make_source
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from looped import looped
from numpy.typing import NDArray

import hashkit
from hashkit.bank.reader import Bank
from hashkit.bank.writer import BankWriter
from hashkit.codes import pack
from hashkit.codesets import CodeSet
from hashkit.errors import BankError, BankMismatchError, CodesError, ConfigError
from hashkit.evaluation.evaluator import evaluate
from hashkit.formats import save_codes
from hashkit.multi_index.index import MultiIndex
from hashkit.retrieval.neighbours import Neighbours, Ranking
from hashkit.retrieval.part_query import PartQuery
from hashkit.retrieval.search import search
from hashkit.retrieval.shards import Shards


@pytest.fixture(autouse=True, params=["numpy", "compiled"])
def scanner(request: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run every test with both scans."""
    monkeypatch.setattr(
        "hashkit.retrieval.scan.KERNELS.are_wanted", lambda *_: request.param == "compiled"
    )


def random_codes(seed: int, n_rows: int, n_bits: int) -> NDArray[np.uint8]:
    return pack(np.random.default_rng(seed).integers(0, 2, (n_rows, n_bits)))


def oracle_rankings(
    queries: NDArray[np.uint8], database: NDArray[np.uint8], n_bits: int
) -> list[list[tuple[int, int]]]:
    codes = [oracles.bit_string(code, n_bits) for code in database]
    return [oracles.ranking(oracles.bit_string(query, n_bits), codes) for query in queries]


def pairs(found: Ranking | Neighbours, query: int) -> list[tuple[int, int]]:
    if isinstance(found, Ranking):
        distances, rows = found.distances[query], found.rows[query]
    else:
        part = slice(found.offsets[query], found.offsets[query + 1])
        distances, rows = found.distances[part], found.rows[part]
    return list(zip(distances.tolist(), rows.tolist(), strict=True))


# Few bits and many rows: nearly every rank is tied.
cases = st.tuples(
    st.integers(1, 12), st.integers(0, 60), st.integers(1, 3), st.integers(0, 2**32 - 1)
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cases, st.integers(0, 70))
def test_top_k_gives_the_first_of_the_sorted_rows(
    case: tuple[int, int, int, int], top_k: int
) -> None:
    n_bits, n_rows, n_threads, seed = case
    queries, database = random_codes(seed, 3, n_bits), random_codes(seed + 1, n_rows, n_bits)
    found = search(queries, database, top_k=top_k, n_bits=n_bits, n_threads=n_threads)
    expected = oracle_rankings(queries, database, n_bits)
    assert found.rows.shape == found.distances.shape == (3, min(top_k, n_rows))
    assert found.rows.dtype == np.int64
    assert found.distances.dtype == np.uint16
    for query in range(3):
        assert pairs(found, query) == expected[query][:top_k]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cases, st.integers(0, 14), st.none() | st.integers(0, 20))
def test_radius_gives_the_rows_within_it(
    case: tuple[int, int, int, int], radius: int, top_k: int | None
) -> None:
    n_bits, n_rows, n_threads, seed = case
    radius = min(radius, n_bits)
    queries, database = random_codes(seed, 3, n_bits), random_codes(seed + 1, n_rows, n_bits)
    found = search(
        queries, database, radius=radius, top_k=top_k, n_bits=n_bits, n_threads=n_threads
    )
    assert isinstance(found, Neighbours)
    assert found.offsets[-1] == len(found.rows) == len(found.distances)
    for query, ranking in enumerate(oracle_rankings(queries, database, n_bits)):
        near = [pair for pair in ranking if pair[0] <= radius]
        assert pairs(found, query) == near[:top_k]


@looped("n_bits", [1, 7, 8, 16, 31, 48, 64, 65, 100, 128, 300])
def test_every_word_size_gives_the_same_ranking(n_bits: int) -> None:
    queries, database = random_codes(n_bits, 2, n_bits), random_codes(n_bits + 1, 150, n_bits)
    found = search(queries, database, top_k=40, n_bits=n_bits)
    for query, ranking in enumerate(oracle_rankings(queries, database, n_bits)):
        assert pairs(found, query) == ranking[:40]


def test_default_blocks_of_a_larger_database() -> None:
    queries, database = random_codes(0, 2, 16), random_codes(1, 100_000, 16)
    found = search(queries, database, top_k=500, n_bits=16)
    distances = np.unpackbits(queries[:, None] ^ database[None], axis=2).sum(axis=2)
    expected = np.argsort(distances, axis=1, kind="stable")[:, :500]
    np.testing.assert_array_equal(found.rows, expected)
    np.testing.assert_array_equal(found.distances, np.take_along_axis(distances, expected, axis=1))


def test_the_whole_database_can_be_ranked() -> None:
    queries, database = random_codes(0, 2, 10), random_codes(1, 500, 10)
    found = search(queries, database, top_k=10**9, n_bits=10)
    for query, ranking in enumerate(oracle_rankings(queries, database, 10)):
        assert pairs(found, query) == ranking


def test_a_smaller_k_is_a_prefix_and_a_larger_radius_a_superset() -> None:
    queries, database = random_codes(0, 4, 20), random_codes(1, 3000, 20)
    large = search(queries, database, top_k=200, n_bits=20)
    small = search(queries, database, top_k=50, n_bits=20)
    np.testing.assert_array_equal(small.rows, large.rows[:, :50])
    near = search(queries, database, radius=4, n_bits=20)
    far = search(queries, database, radius=6, n_bits=20)
    for query in range(4):
        inner, outer = pairs(near, query), pairs(far, query)
        assert 0 < len(inner) < len(outer)
        assert outer[: len(inner)] == inner
        distances, rows = near.of_query(query)
        assert list(zip(distances.tolist(), rows.tolist(), strict=True)) == inner
    with pytest.raises(IndexError):
        near.of_query(4)


def test_several_databases_rank_as_one() -> None:
    queries, database = random_codes(0, 3, 24), random_codes(1, 90, 24)
    parts = [CodeSet(database[a:b], 24) for a, b in ((0, 40), (40, 40), (40, 90))]
    whole = search(queries, CodeSet(database, 24), top_k=30)
    found = search(queries, parts, top_k=30)
    np.testing.assert_array_equal(found.rows, whole.rows)
    np.testing.assert_array_equal(found.distances, whole.distances)
    which, rows = found.locate()
    assert set(which.ravel().tolist()) == {0, 2}
    for shard, row, distance in zip(which.ravel(), rows.ravel(), found.rows.ravel(), strict=True):
        np.testing.assert_array_equal(parts[shard].codes[row], database[distance])
    near = search(queries, parts, radius=9)
    which, rows = near.locate()
    np.testing.assert_array_equal(np.array([0, 40, 40])[which] + rows, near.rows)


def test_a_database_mapped_from_a_file_is_searched_in_place(tmp_path: Any) -> None:
    database = random_codes(1, 300_000, 64)
    (tmp_path / "codes").write_bytes(b"\0\0\0" + database.tobytes())
    mapped = np.memmap(tmp_path / "codes", np.uint8, "r", offset=3, shape=database.shape)
    query = random_codes(0, 1, 64)
    tracemalloc.start()
    found = search(query, mapped, top_k=10, n_bits=64)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < database.nbytes
    np.testing.assert_array_equal(found.rows, search(query, database, top_k=10, n_bits=64).rows)


def test_empty_sides_give_empty_results() -> None:
    codes = random_codes(0, 5, 12)
    assert search(codes, codes[:0], top_k=3, n_bits=12).rows.shape == (5, 0)
    assert search(codes[:0], codes, top_k=3, n_bits=12).rows.shape == (0, 3)
    assert search(codes, codes, top_k=0, n_bits=12).rows.shape == (5, 0)
    near = search(codes, codes[:0], radius=3, n_bits=12)
    assert (near.offsets.tolist(), near.rows.tolist()) == ([0] * 6, [])
    none = search(codes[:0], codes, radius=3, n_bits=12)
    assert (none.offsets.tolist(), none.distances.dtype) == ([0], np.dtype(np.uint16))
    assert search(codes, codes, radius=3, top_k=0, n_bits=12).offsets.tolist() == [0] * 6


def test_a_radius_of_the_code_length_finds_all_rows_and_a_larger_one_is_refused() -> None:
    codes = random_codes(0, 20, 300)
    found = search(codes[:1], codes, radius=300, n_bits=300)
    assert sorted(found.rows.tolist()) == list(range(20))
    index, larger = MultiIndex.build(codes, 300), {"radius": 301}
    for call in (
        lambda: search(codes[:1], codes, n_bits=300, **larger),
        lambda: PartQuery.checked(codes[:1], 300, **larger),
        lambda: index.search(codes[:1], **larger),
        lambda: index.relative_cost(1, **larger),
        lambda: hashkit.pairs(codes, n_bits=300, **larger),
    ):
        with pytest.raises(ConfigError, match="`radius` must be at most 300, the bits of the code"):
            call()


@looped(
    ("arguments", "message"),
    [
        ({}, "`top_k` or `radius`"),
        ({"top_k": -1}, "`top_k` must be 0 or more"),
        ({"radius": -1}, "`radius` must be 0 or more"),
        ({"top_k": 1, "radius": -2}, "`radius` must be 0 or more"),
    ],
)
def test_invalid_searches_are_refused(arguments: dict[str, int], message: str) -> None:
    codes = random_codes(0, 2, 8)
    with pytest.raises(ConfigError, match=message):
        search(codes, codes, n_bits=8, **arguments)


def test_codes_of_different_bits_are_refused() -> None:
    codes = random_codes(0, 2, 16)
    with pytest.raises(CodesError, match="give `n_bits`"):
        search(codes, codes, top_k=1)
    with pytest.raises(CodesError, match="query codes of 12 bits must have zeros"):
        search(np.full((1, 2), 255, np.uint8), CodeSet(random_codes(0, 2, 12), 12), top_k=1)
    with pytest.raises(CodesError, match="query codes of 24 bits"):
        search(codes, CodeSet(random_codes(0, 2, 24), 24), top_k=1)
    with pytest.raises(CodesError, match="expected a database of 12 bits, found 16"):
        search(codes, CodeSet(codes, 16), top_k=1, n_bits=12)
    with pytest.raises(CodesError, match="expected a database of 16 bits, found 15"):
        search(codes, [CodeSet(codes, 16), CodeSet(random_codes(0, 2, 15), 15)], top_k=1)
    with pytest.raises(CodesError, match="at least one database"):
        search(codes, [], top_k=1)


def test_banks_of_two_models_are_not_ranked_together(tmp_path: Path) -> None:
    codes = random_codes(0, 2, 16)
    banks = [tmp_path / f"{name}.h5" for name in ("one", "other")]
    for number, path in enumerate(banks):
        header = make_header(
            n_bits=16, model_sha256=str(number) * 64, source=make_source(n_images=2)
        )
        with BankWriter.create(path, header, n_rows=2, n_name_bytes=2) as writer:
            writer.write(codes, ["a", "b"], np.zeros(2, np.int32), n_consumed=2)
            writer.complete()
    with Bank.open(banks[0]) as one, Bank.open(banks[1]) as other:
        assert search(codes, [one, one], top_k=1).rows.tolist() == [[0], [1]]
        assert search(codes, [one, CodeSet(codes, 16)], top_k=1).rows.tolist() == [[0], [1]]
        with pytest.raises(BankMismatchError, match=r"one\.h5 and .*other\.h5 of different models"):
            search(codes, [one, other], top_k=1)


def test_shards_number_rows_in_order() -> None:
    parts = [CodeSet(random_codes(i, n, 8), 8) for i, n in enumerate((3, 0, 5))]
    shards = Shards.of(parts)
    assert (len(shards), shards.offsets.tolist()) == (8, [0, 3, 3, 8])
    assert [(span.first, len(span.codes)) for span in shards.spans(rows=2)] == [
        (0, 2), (2, 1), (3, 2), (5, 2), (7, 1)
    ]  # fmt: skip


class Damaged:
    """Codes of 11 bits whose padding may be set, as in a bank: opening one reads no codes."""

    def __init__(self, codes: NDArray[np.uint8]) -> None:
        self.codes, self.n_bits, self.deleted = codes, 11, None
        self.labels: NDArray[np.int64] | None = np.zeros(len(codes), np.int64)
        self.names: tuple[str, ...] = ()
        self.class_names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.codes)


def test_codes_with_set_padding_bits_are_an_error() -> None:
    query = np.zeros((1, 2), np.uint8)
    few = Damaged(np.array([[0, 0], [255, 255], [0, 32]], np.uint8))
    assert search(query, few, top_k=2).rows.tolist() == [[0, 2]]
    for database in (few, Damaged(np.full((20_000, 2), 255, np.uint8))):
        with pytest.raises(CodesError, match="bits set beyond the first 11"):
            search(query, database, top_k=len(database))
        assert len(search(query, database, radius=11).rows) == (2 if database is few else 0)
        with pytest.raises(CodesError, match="database codes of 11 bits must have zeros in the"):
            evaluate(CodeSet(query, 11, labels=np.zeros(1, np.int64)), database)


def test_prepared_rows_of_a_bank_follow_its_copies_and_its_file(tmp_path: Any) -> None:
    """The rows of a bank are prepared once, for all searches, and dropped when it is closed."""
    path, codes = tmp_path / "bank.h5", random_codes(0, 5, 16)
    save_codes(path, CodeSet(codes, 16))
    bank = Bank.open(path)
    assert search(codes[3:4], bank, top_k=1).rows.tolist() == [[3]]
    assert Shards.of(bank) is Shards.of(bank)
    assert search(codes[3:4], bank.without(np.array([3])), top_k=1).rows.tolist() != [[3]]
    assert search(codes[3:4], bank, top_k=1, n_bits=16).rows.tolist() == [[3]]
    with pytest.raises(CodesError, match="expected a database of 15 bits, found 16"):
        search(codes[3:4], bank, top_k=1, n_bits=15)
    size = path.stat().st_size
    os.truncate(path, size - 8)
    with pytest.raises(BankError, match="another program truncated it"):
        search(codes[3:4], bank, top_k=1)
    os.truncate(path, size)
    bank.close()
    with pytest.raises(BankError, match="the bank is closed"):
        search(codes[3:4], bank, top_k=1)
    assert not bank.derived
