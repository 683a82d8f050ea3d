"""An index belongs to rows by their content: what keeps it valid, and what makes it out of date."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from bank_samples import make_header

from hashkit.bank.deletion import delete_rows
from hashkit.bank.reader import Bank
from hashkit.bank.writer import BankWriter
from hashkit.codesets import CodeSet
from hashkit.errors import CodesError, IndexMismatchError
from hashkit.formats import open_codes, save_codes
from hashkit.multi_index.index import MultiIndex, index_path
from hashkit.retrieval.search import search
from hashkit.rows_digest import BLOCK_ROWS
from hashkit.workflow.index_state import index_state, report_index
from hashkit.workflow.narrowing import open_index
from hashkit.workflow.reporter import NoteList

N_ROWS = 12_000


def random_codes(seed: int, n_rows: int) -> np.ndarray:
    """Codes of 16 bits: near ones for every query, and many ties."""
    return np.random.default_rng(seed).integers(0, 256, (n_rows, 2), dtype=np.uint8)


def add_rows(path: Path, codes: np.ndarray) -> None:
    header = make_header(16, manifest=None, label_kind="none")
    sizes = {"n_rows": len(codes), "n_name_bytes": 1}
    start = BankWriter.append if path.exists() else BankWriter.create
    with start(path, header, **sizes) as writer:
        writer.write(codes, n_consumed=len(codes))
        writer.complete()


def build_index(path: Path) -> None:
    with Bank.open(path) as bank:
        MultiIndex.build(bank).save(index_path(path))


@pytest.fixture
def path(tmp_path):
    """A bank of 12,000 rows and its index."""
    add_rows(tmp_path / "bank.h5", random_codes(0, N_ROWS))
    build_index(tmp_path / "bank.h5")
    return tmp_path / "bank.h5"


def why_not(path: Path) -> str:
    """Why the index beside a bank does not belong to its rows."""
    with Bank.open(path) as bank:
        with pytest.raises(IndexMismatchError) as caught:
            MultiIndex.open(index_path(path), bank)
        state = index_state(bank)
        assert state is not None
        assert (state.n_rows, state.problem) == (None, str(caught.value))
    message = str(caught.value)
    assert message.startswith(f"{index_path(path)}: ")
    assert message.endswith(f"; build the index again: `hashkit index {path}`")
    assert "\n" not in message
    return message


def assert_exact(path: Path, n_indexed: int) -> None:
    """Check that a search with the index beside a bank finds what a scan finds, for every kind."""
    queries = random_codes(9, 20)
    with Bank.open(path) as bank:
        index = MultiIndex.open(index_path(path), bank)
        assert index.n_rows == n_indexed
        chosen = np.random.default_rng(1).random(len(bank)) < 0.5
        for arguments in (
            {"top_k": 1},
            {"top_k": 10},
            {"top_k": len(bank)},
            {"radius": 0},
            {"radius": 2},
            {"radius": 2, "top_k": 3},
            {"top_k": 0},
            {"top_k": 7, "where": chosen},
            {"radius": 1, "where": np.arange(len(bank))[::-3]},
        ):
            expected = search(queries, bank, engine="scan", **arguments)
            found = search(queries, bank, engine="index", index=index, **arguments)
            np.testing.assert_array_equal(found.rows, expected.rows)
            np.testing.assert_array_equal(found.distances, expected.distances)


def test_an_index_of_a_bank_names_it(path):
    with Bank.open(path) as bank:
        header = MultiIndex.open(index_path(path), bank)._header
        assert header.bank_identity == bank.identity
        assert header.row_generation == bank.row_generation == 1
        assert header.rows_digest == bank.rows_digest()
    assert_exact(path, N_ROWS)


def test_an_index_stays_valid_after_a_deletion(path):
    delete_rows(path, np.arange(0, N_ROWS, 3))
    assert_exact(path, N_ROWS)


@pytest.mark.end_to_end
@pytest.mark.parametrize("n_more", [1, 500, BLOCK_ROWS])
def test_added_rows_are_scanned_and_merged(path, n_more):
    add_rows(path, random_codes(1, n_more))
    assert_exact(path, N_ROWS)
    delete_rows(path, [5, N_ROWS - 1, N_ROWS, N_ROWS + n_more - 1])
    assert_exact(path, N_ROWS)
    build_index(path)
    assert_exact(path, N_ROWS + n_more)


def test_given_up_queries_and_added_rows(path):
    add_rows(path, random_codes(1, 500))
    codes = np.concatenate([random_codes(0, 30), random_codes(3, 30)])
    with Bank.open(path) as bank:
        index = MultiIndex.open(index_path(path), bank)
        for radius, top_k in ((1, None), (6, 5), (16, 40)):
            expected = search(codes, bank, engine="scan", radius=radius, top_k=top_k)
            found = search(codes, bank, engine="index", index=index, radius=radius, top_k=top_k)
            np.testing.assert_array_equal(found.offsets, expected.offsets)
            np.testing.assert_array_equal(found.rows, expected.rows)


def test_logits_order_ties_of_added_rows_too(path):
    add_rows(path, random_codes(1, 500))
    queries, logits = random_codes(9, 5), np.random.default_rng(2).normal(size=(5, 16))
    logits = np.where(np.unpackbits(queries, axis=1), abs(logits), -abs(logits)).astype(np.float32)
    with Bank.open(path) as bank:
        index = MultiIndex.open(index_path(path), bank)
        options = {"top_k": 30, "logits": logits}
        expected = search(queries, bank, engine="scan", **options)
        found = search(queries, bank, engine="index", index=index, **options)
        np.testing.assert_array_equal(found.rows, expected.rows)


@pytest.mark.parametrize("row", [0, 46, 5_000, N_ROWS - 1])
def test_one_changed_row_is_noticed(path, row):
    """Also in banks without checksums, and in a bank into which another program wrote."""
    codes = random_codes(0, N_ROWS)
    codes[row] ^= 1
    path.unlink()
    add_rows(path, codes)
    assert "other codes: the bank was made again since" in why_not(path)


def test_shifted_rows_are_noticed(path):
    codes = np.roll(random_codes(0, N_ROWS), 1, axis=0)
    path.unlink()
    add_rows(path, codes)
    why_not(path)


def test_another_bank_of_the_same_size_is_noticed(path, tmp_path):
    add_rows(tmp_path / "other.h5", random_codes(5, N_ROWS))
    (tmp_path / "other.h5").replace(path)
    assert "the bank was made again" in why_not(path)


def test_a_bank_with_fewer_rows_is_noticed(path):
    path.unlink()
    add_rows(path, random_codes(0, N_ROWS - 1))
    assert "built for 12000 codes, but there are 11999" in why_not(path)


def test_two_continuations_of_one_bank_are_told_apart(path, tmp_path):
    fork = tmp_path / "fork" / "bank.h5"
    fork.parent.mkdir()
    shutil.copy(path, fork)
    add_rows(path, random_codes(1, 100))
    add_rows(fork, random_codes(2, 100))
    with Bank.open(path) as bank, Bank.open(fork) as other:
        assert bank.identity == other.identity
        assert bank.row_generation == other.row_generation
    build_index(path)
    shutil.copy(index_path(path), index_path(fork))
    assert "other codes: rows were changed since" in why_not(fork)
    shutil.copy(path, fork)
    assert_exact(fork, N_ROWS + 100)


def test_a_bank_of_several_blocks_is_bound_by_its_checksums(tmp_path, monkeypatch):
    path = tmp_path / "bank.h5"
    add_rows(path, random_codes(0, 2 * BLOCK_ROWS + 10))
    build_index(path)
    add_rows(path, random_codes(1, BLOCK_ROWS))
    with Bank.open(path) as bank:
        codes = np.array(bank.codes)
        monkeypatch.setattr("hashkit.bank.reader.codes_digest", None)  # it is not read whole
        index = MultiIndex.open(index_path(path), bank)
        monkeypatch.undo()
        assert index.n_rows == 2 * BLOCK_ROWS + 10
        assert MultiIndex.open(index_path(path), codes).n_rows == index.n_rows
        codes[BLOCK_ROWS] ^= 1
        with pytest.raises(IndexMismatchError, match="other codes"):
            MultiIndex.open(index_path(path), codes)


def test_a_converted_bank_without_its_deleted_rows_is_noticed(path):
    delete_rows(path, [7])
    save_codes(path, open_codes(path), overwrite=True)
    assert "there are 11999: the bank was made again since" in why_not(path)


def test_a_converted_bank_of_the_same_rows_keeps_its_index(path):
    save_codes(path, open_codes(path), overwrite=True)
    assert_exact(path, N_ROWS)


def test_an_index_works_with_any_database_of_its_codes(path):
    codes = random_codes(0, N_ROWS)
    index = MultiIndex.open(index_path(path), CodeSet(codes, 16))
    queries = codes[:5]
    expected = search(queries, codes, n_bits=16, radius=1).rows
    halves = [CodeSet(codes[:7_000], 16), CodeSet(codes[7_000:], 16)]
    with Bank.open(path) as bank:
        databases = (codes, codes.copy(), CodeSet(codes, 16), bank, [bank], halves)
        for database in databases:
            options = {"n_bits": 16} if isinstance(database, np.ndarray) else {}
            found = search(queries, database, radius=1, engine="index", index=index, **options)
            np.testing.assert_array_equal(found.rows, expected)


def test_a_search_with_an_index_of_other_codes_is_refused(path):
    codes = random_codes(0, N_ROWS)
    index = MultiIndex.build(codes, 16)
    changed = codes.copy()
    changed[11_000] ^= 4
    shifted = np.concatenate([codes[1:], codes[:1]])
    for other in (changed, shifted, codes[:-1], [CodeSet(codes[:50], 16), CodeSet(shifted, 16)]):
        options = {"n_bits": 16} if isinstance(other, np.ndarray) else {}
        for engine in ("index", "auto"):
            with pytest.raises(IndexMismatchError, match="build it again"):
                search(codes[:3], other, radius=1, engine=engine, index=index, **options)
        search(codes[:3], other, radius=1, engine="scan", index=index, **options)
    with pytest.raises(CodesError, match="expected a database of 17 bits, found 16"):
        MultiIndex.build(CodeSet(codes, 16), 17)
    with pytest.raises(CodesError, match="give `n_bits`"):
        MultiIndex.build(codes)


def test_commands_report_an_index_that_is_out_of_date(path):
    def report() -> list[str]:
        notes = NoteList()
        report_index(path, notes)
        return notes.lines

    assert report() == []
    delete_rows(path, [1])
    assert report() == []
    add_rows(path, random_codes(1, 500))
    (line,) = report()
    assert "covers the first 12,000 of 12,500 rows" in line
    assert line.endswith(f"`hashkit index {path}` includes them")
    path.unlink()
    add_rows(path, random_codes(3, N_ROWS))
    (line,) = report()
    assert line.startswith("warning: the index is out of date: ")
    assert "the bank was made again since" in line
    index_path(path).unlink()
    assert report() == []


def test_a_search_says_when_an_index_covers_little(path):
    notes = NoteList()
    with Bank.open(path) as bank:
        assert open_index([bank], notes).n_rows == N_ROWS
    add_rows(path, random_codes(1, 500))
    with Bank.open(path) as bank:
        assert open_index([bank], notes).n_rows == N_ROWS
    assert notes.lines == []
    add_rows(path, random_codes(2, 5_000))
    with Bank.open(path) as bank:
        assert open_index([bank], notes).n_rows == N_ROWS
    assert "covers the first 12,000 of 17,500 rows" in notes.lines[0]


def test_several_banks_have_an_index_each(path, tmp_path):
    other = tmp_path / "other.h5"
    add_rows(other, random_codes(7, 300))
    with Bank.open(path) as bank, Bank.open(other) as bare:
        indexes = open_index([bare, bank, bare])
        assert [index and index.n_rows for index in indexes] == [None, N_ROWS, None]
        assert open_index([bare, bare]) is None
