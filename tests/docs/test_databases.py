"""docs/databases.md: its statements, run in the databases, answer as `hashkit.search` does.

A database that is not installed skips its tests. DuckDB comes with the development packages;
`pip install pylance chdb` and PostgreSQL's server add the others; Milvus is not tried.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from database_page import EXAMPLE, EXAMPLE_END, blocks, defined_in

import hashkit
from hashkit.codes import pack
from hashkit.codesets import CodeSet
from hashkit.errors import CodesError
from hashkit.formats import open_codes, save_codes

TOP_K, RADIUS = 10, 2


def tied_codes(n_bits: int) -> CodeSet:
    """3,000 named rows with few different distances, so that most ranks are tied; some deleted."""
    rng = np.random.default_rng(n_bits)
    bits = np.tile(rng.integers(0, 2, n_bits), (3_000, 1))
    changed = rng.choice(n_bits, 8, replace=False)
    bits[:, changed] ^= rng.integers(0, 2, (3_000, 8))
    names = [f"{row}.jpg" for row in range(3_000)]
    return CodeSet(pack(bits), n_bits, None, names, (), rng.random(3_000) < 0.1)


def stored(folder: Path, suffix: str, n_bits: int = 64) -> tuple[CodeSet, list[bytes]]:
    """Codes as a database has them, written to ``photos`` in a folder; and codes of queries."""
    codes = tied_codes(n_bits)
    save_codes(folder / f"photos{suffix}", codes)
    kept = CodeSet(codes.codes[~codes.deleted], n_bits)
    return kept, [code.tobytes() for code in kept.codes[:4]]


def nearest(codes: CodeSet, query: bytes) -> list[tuple[int, int]]:
    found = hashkit.search(as_code(query), codes, top_k=TOP_K)
    return list(zip(found.rows[0].tolist(), found.distances[0].tolist(), strict=True))


def near(codes: CodeSet, query: bytes) -> list[tuple[int, int]]:
    found = hashkit.search(as_code(query), codes, radius=RADIUS)
    return list(zip(found.rows.tolist(), found.distances.tolist(), strict=True))


def as_code(query: bytes) -> Any:
    return np.frombuffer(query, np.uint8)[None]


def asked(sql: str, query: bytes) -> str:
    """A statement of the page with the code of a query instead of the example."""
    text = query.hex().ljust(32, "0")
    n_digits = len(query) * 2 if len(query) < 16 else 16
    sql = sql.replace(EXAMPLE, query.hex() if "UInt" in sql else text[:n_digits])
    return sql.replace(EXAMPLE_END, text[16:])


def pairs(found: Sequence[Sequence[Any]]) -> list[tuple[int, int]]:
    return [(int(line[0]), int(line[1])) for line in found]


@pytest.mark.end_to_end
@pytest.mark.parametrize("n_bits", [48, 64, 128])
def test_duckdb_answers_as_hashkit_does(tmp_path, n_bits):
    duckdb = pytest.importorskip("duckdb")
    codes, queries = stored(tmp_path, ".parquet", n_bits)
    load, by_rank, by_radius, load_two, by_rank_two = blocks("DuckDB", "sql")
    if n_bits > 64:
        load, by_rank = load_two, by_rank_two
    database = duckdb.connect()
    database.execute(load.replace("photos.parquet", str(tmp_path / "photos.parquet")))
    for query in queries:
        found = database.execute(asked(by_rank, query)).fetchall()
        assert pairs(found) == nearest(codes, query)
        assert len(found[0][2]) > 4  # the name of an image
        if n_bits <= 64:
            found = database.execute(asked(by_radius, query)).fetchall()
            assert pairs(found) == near(codes, query)


@pytest.mark.slow
@pytest.mark.parametrize("n_bits", [48, 64, 128])
def test_clickhouse_answers_as_hashkit_does(tmp_path, n_bits):
    session = pytest.importorskip("chdb.session").Session(str(tmp_path / "clickhouse"))
    codes, queries = stored(tmp_path, ".parquet", n_bits)
    load, *statements = [
        sql.replace("UInt64", "UInt128" if n_bits > 64 else "UInt64")
        for sql in blocks("ClickHouse", "sql")
    ]
    try:
        session.query(load.replace("photos.parquet", str(tmp_path / "photos.parquet")))
        for query in queries:
            for sql, expected in zip(statements, (nearest, near), strict=True):
                found = str(session.query(asked(sql, query))).split()
                assert pairs([line.split(",") for line in found]) == expected(codes, query)
    finally:
        session.close()


@pytest.fixture
def postgres(tmp_path) -> Iterator[list[str]]:
    """A command that runs a statement in a server of its own, without a network."""
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not binaries or shutil.which("psql") is None:
        pytest.skip("PostgreSQL's server is not installed")
    user = ["setpriv", "--reuid=65534", "--clear-groups"]  # it refuses to run as root
    data = tmp_path / "postgres"
    data.mkdir()
    data.chmod(0o777)
    for folder in tmp_path.parents[:2]:
        folder.chmod(0o755)
    tmp_path.chmod(0o755)
    control = [
        *user,
        str(binaries[-1] / "pg_ctl"),
        "-D",
        str(data / "data"),
        "-w",
        "-s",
        "-t",
        "240",
    ]
    create = [str(binaries[-1] / "initdb"), "-D", str(data / "data"), "-A", "trust", "-U", "test"]
    options = f"-c listen_addresses= -c unix_socket_directories={data}"
    subprocess.run([*user, *create], check=True, capture_output=True)
    subprocess.run([*control, "-o", options, "-l", str(data / "log"), "start"], check=True)
    try:
        yield ["psql", "-h", str(data), "-U", "test", "-d", "postgres", "-At", "-F,", "-c"]
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("n_bits", [60, 64, 128])
def test_postgresql_answers_as_hashkit_does(tmp_path, postgres, n_bits):
    def run(sql: str) -> list[str]:
        ended = subprocess.run([*postgres, sql], capture_output=True, text=True, check=True)
        return ended.stdout.split()

    codes, queries = stored(tmp_path, ".txt", n_bits)
    create, *statements = [
        sql.replace("bit(64)", f"bit({n_bits})") for sql in blocks("PostgreSQL", "sql")
    ]
    run(create.replace("/data/photos.txt", str(tmp_path / "photos.txt")))
    for query in queries:
        for sql, expected in zip(statements, (nearest, near), strict=True):
            found = run(sql.replace(EXAMPLE, query.hex()))
            assert pairs([line.split(",") for line in found]) == expected(codes, query)


@pytest.mark.slow
@pytest.mark.parametrize("n_bits", [48, 64, 128])
def test_lance_answers_as_hashkit_does(tmp_path, n_bits):
    lance = pytest.importorskip("lance")
    codes, queries = stored(tmp_path, ".lance", n_bits)
    dataset = lance.dataset(str(tmp_path / "photos.lance"))
    names = defined_in("Lance")
    for query in queries:
        found = names["nearest"](dataset, np.frombuffer(query, np.uint8), TOP_K)
        assert found == nearest(codes, query)


@pytest.mark.slow
def test_a_lance_dataset_has_all_columns_and_is_replaced_whole(tmp_path):
    lance = pytest.importorskip("lance")
    path = tmp_path / "photos.lance"
    labels = np.array([2, -1, 0])
    codes = CodeSet(pack(np.eye(3, 20, dtype=np.uint8)), 20, labels, ("a", "b", "ç"))
    save_codes(path, codes)
    table = lance.dataset(str(path)).to_table()
    assert table.to_pydict() == {
        "row": [0, 1, 2],
        "code": codes.codes.tolist(),
        "name": ["a", "b", "ç"],
        "label": [2, None, 0],
    }
    assert table.schema.metadata[b"hashkit.n_bits"] == b"20"

    with pytest.raises(CodesError, match=r"exists already; replace it with `overwrite=True`"):
        save_codes(path, codes)
    several = CodeSet(codes.codes[:2], 20, np.array([[1, 0, 1], [0, 0, 0]], np.uint8))
    save_codes(path, several, overwrite=True)
    dataset = lance.dataset(str(path))
    assert dataset.to_table(columns=["row", "labels"]).to_pydict() == {
        "row": [0, 1],
        "labels": [[0, 2], []],
    }
    assert len(dataset.versions()) == 1
    with pytest.raises(CodesError, match="a Lance dataset, which it can only write; give the bank"):
        open_codes(path)
    assert [file.name for file in tmp_path.iterdir()] == ["photos.lance"]


class Unreadable(Sequence[str]):
    """Names that cannot be read after the first rows."""

    def __len__(self) -> int:
        return 200_000

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice) and index.start:
            raise OSError(5, "Input/output error")
        return ["a"] * 131_072 if isinstance(index, slice) else "a"


@pytest.mark.slow
def test_a_failure_leaves_the_earlier_dataset_and_nothing_else(tmp_path):
    lance = pytest.importorskip("lance")
    path = tmp_path / "photos.lance"
    broken = CodeSet(np.zeros((200_000, 1), np.uint8), 8, None, Unreadable())
    with pytest.raises(OSError, match="Input/output error"):
        save_codes(path, broken)
    assert list(tmp_path.iterdir()) == []
    save_codes(path, CodeSet(np.zeros((3, 1), np.uint8), 8))
    with pytest.raises(OSError, match="Input/output error"):
        save_codes(path, broken, overwrite=True)
    assert lance.dataset(str(path)).count_rows() == 3

    (tmp_path / "other.lance").mkdir()
    with pytest.raises(CodesError, match="is not a Lance dataset, so it is not replaced"):
        save_codes(tmp_path / "other.lance", CodeSet(np.zeros((3, 1), np.uint8), 8), overwrite=True)
