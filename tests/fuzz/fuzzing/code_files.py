"""Subjects that hold codes or labels: banks, indexes, and files of other programs."""

from __future__ import annotations

import io
import itertools
import json
import random
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from fuzzing.json_mutations import mutate_json
from fuzzing.layers import (
    array_bytes,
    inside_hdf5,
    inside_index,
    inside_zip,
    packed_zip,
    random_array,
    unpacked_zip,
)
from fuzzing.mutations import mutate_text
from fuzzing.subject import Subject
from hashkit.codesets import CodeSet
from hashkit.errors import HashkitError

__all__ = ["CODE_SUBJECTS"]

GOLDEN = Path(__file__).parents[2] / "golden"
N_BITS, N_ROWS = 20, 12
CLASSES = ("ant", "bee", "cat")


def _codes(labels: str = "single", is_named: bool = True, n_bits: int = N_BITS) -> CodeSet:
    from hashkit.codes import pack

    rng = np.random.default_rng(1)
    kinds: dict[str, Any] = {
        "none": None,
        "single": np.arange(N_ROWS) % 4 - 1,
        "multi": rng.integers(0, 2, (N_ROWS, 3)).astype(np.uint8),
    }
    names = [f"{'é' * (row % 3)}/{row}.png" for row in range(N_ROWS)] if is_named else ()
    codes = pack(rng.integers(0, 2, (N_ROWS, n_bits)))
    return CodeSet(codes, n_bits, kinds[labels], names, CLASSES if labels != "none" else ())


@contextmanager
def _same_identities() -> Iterator[None]:
    """Give new banks the same identities each time, so that a case is the same input each time."""
    numbers = itertools.count(1)
    with mock.patch.object(uuid, "uuid4", side_effect=lambda: uuid.UUID(int=next(numbers))):
        yield


def _saved(folder: Path, suffix: str, *variants: CodeSet) -> list[bytes]:
    from hashkit.formats import save_codes

    seeds = []
    with _same_identities():
        for number, codes in enumerate(variants):
            path = folder / f"seed-{number}{suffix}"
            save_codes(path, codes)
            data = path.read_bytes()
            seeds.append(packed_zip(unpacked_zip(data)) if suffix == ".npz" else data)
            path.unlink()
    return seeds


def _variants() -> tuple[CodeSet, ...]:
    return _codes(), _codes("multi"), _codes("none", is_named=False), _codes(n_bits=16)


def use_codes(database: Any, rng: random.Random) -> None:
    """Use codes as search, evaluation, info and conversion do."""
    from hashkit.evaluation.evaluator import evaluate
    from hashkit.retrieval.search import search

    queries = np.zeros((1, database.codes.shape[1]), np.uint8)
    for _ in itertools.islice(database.names, 100):
        pass
    kind = rng.randrange(4)
    if kind < 2:
        search(queries, database, top_k=3)
        search(queries, database, radius=2)
    elif kind == 2 and database.labels is not None:
        evaluate(database, database)


def _convert(database: Any, path: Path, rng: random.Random) -> None:
    from hashkit.formats import save_codes

    target = path.with_name("converted" + rng.choice((".h5", ".npz", ".parquet", ".txt", ".faiss")))
    try:
        save_codes(target, database, overwrite=True)
    finally:
        for one in path.parent.glob("converted*"):
            one.unlink()


def read_codes(path: Path, rng: random.Random) -> None:
    """Open codes of any format and use them."""
    from hashkit.formats import open_codes
    from hashkit.workflow.file_facts import codes_facts

    if rng.random() < 0.1:
        codes_facts(path)
        return
    database = open_codes(path)
    use_codes(database, rng)
    if rng.random() < 0.1:
        _convert(database, path, rng)


# Banks and indexes


def _bank(folder: Path) -> Subject:
    golden = [path.read_bytes() for path in sorted(GOLDEN.glob("bank-v*.h5"))]
    own = _saved(folder, ".h5", *_variants()[:2])
    return Subject(folder / "bank.h5", [*golden, *own], _read_bank, [inside_hdf5])


def _read_bank(path: Path, rng: random.Random) -> None:
    from hashkit.bank.deletion import delete_rows, restore_rows
    from hashkit.bank.reader import Bank
    from hashkit.workflow.file_facts import bank_facts
    from hashkit.workflow.verify import verify_paths

    with Bank.open(path) as bank:
        _ = len(bank), repr(bank), bank.files, bank.rows_digest()
        use_codes(bank, rng)
        kind = rng.random()
        if kind < 0.2:
            bank_facts(path)
            bank.verify()
        elif kind < 0.3:
            verify_paths([path])
        elif kind < 0.4:
            _convert(bank, path, rng)
    if kind > 0.9:
        delete_rows(path, [0, 1])
        restore_rows(path, [1])
    elif kind > 0.8:
        _append(path)


def _append(path: Path) -> None:
    from hashkit.bank.reader import Bank
    from hashkit.bank.writer import BankWriter

    with Bank.open(path) as bank:
        header = bank.header
    with BankWriter.resume(path, header) as writer:
        writer.flush()


def _index(folder: Path) -> Subject:
    from hashkit.bank.reader import Bank
    from hashkit.multi_index.index import MultiIndex

    bank_path = folder / "indexed.h5"
    with _same_identities():
        from hashkit.formats import save_codes

        save_codes(bank_path, _codes(n_bits=24))
    bank = Bank.open(bank_path)
    seeds = []
    for n_tables in (None, 3):
        MultiIndex.build(bank, n_tables=n_tables).save(folder / "seed.mih")
        seeds.append((folder / "seed.mih").read_bytes())
    (folder / "seed.mih").unlink()

    def read(path: Path, rng: random.Random) -> None:
        from hashkit.multi_index.file import changed_arrays
        from hashkit.workflow.index_state import index_state
        from hashkit.workflow.verify import verify_paths

        if rng.random() < 0.2:
            shutil.copy(path, folder / "indexed.h5.mih")
            index_state(bank)
            changed_arrays(path)
            verify_paths([folder / "indexed.h5.mih"])
            return
        index = MultiIndex.open(path, bank)
        queries = np.array([[0, 0, 0], [255, 3, 9]], np.uint8)
        index.search(queries, top_k=2)
        index.search(queries, radius=rng.choice((0, 3, 24)))
        index.relative_cost(2, top_k=2)

    return Subject(folder / "bank.h5.mih", seeds, read, [inside_index])


# Files of other programs


def _npz(folder: Path) -> Subject:
    rng = np.random.default_rng(2)
    bits = rng.integers(0, 2, (N_ROWS, 8))
    others = [
        {"codes": bits.astype(np.int8) * 2 - 1, "labels": np.arange(N_ROWS, dtype=np.uint8)},
        {
            "codes": np.packbits(bits, axis=1),
            "bits": np.array(8),
            "names": np.array(["a"] * N_ROWS),
        },
    ]
    seeds = [
        packed_zip([(f"{name}.npy", array_bytes(value)) for name, value in one.items()])
        for one in others
    ]
    seeds += _saved(folder, ".npz", *_variants())
    return Subject(folder / "codes.npz", seeds, read_codes, [inside_zip])


def _parquet(folder: Path) -> Subject:
    seeds = _saved(folder, ".parquet", *_variants())
    return Subject(folder / "codes.parquet", seeds, read_codes, [_other_table])


def _other_table(rng: random.Random, data: bytes) -> bytes:
    """A Parquet file with other columns or metadata than the seed."""
    import pyarrow
    from pyarrow import parquet

    table = parquet.read_table(io.BytesIO(data))
    metadata = dict(table.schema.metadata or {})
    if rng.random() < 0.4 and metadata:
        key = rng.choice(sorted(metadata))
        value = metadata[key].decode()
        is_json = value[:1] in ("{", "[")
        metadata[key] = (
            mutate_json(rng, json.loads(value)).encode("utf-8", "surrogatepass")
            if is_json
            else rng.choice((b"", b"-1", b"1.5", b"9" * 4301, b"NaN", b"\xff", b"99", b"x\x1b[1m"))
        )
    else:
        values, kind = rng.choice(_columns(pyarrow))
        column = pyarrow.array((values * N_ROWS)[:N_ROWS], kind)
        name = rng.choice((*table.column_names, "label", "labels", "name"))
        if name in table.column_names:
            table = table.drop_columns([name])
        table = table.append_column(name, column)
    file = io.BytesIO()
    parquet.write_table(
        table.replace_schema_metadata(metadata),
        file,
        row_group_size=rng.choice((3, 100)),
        use_dictionary=rng.random() < 0.5,
        compression=rng.choice(("none", "snappy", "zstd")),
    )
    return file.getvalue()


def _columns(pyarrow: Any) -> list[tuple[list[Any], Any]]:
    texts = ["a", None, "\x1b[31m", "b\n", ""]
    return [
        ([b"abc"], pyarrow.binary(3)), ([b"abc", None], pyarrow.binary(3)),
        ([b"a", b"ab"], pyarrow.binary()), ([b""], pyarrow.binary()),
        ([b"ab"], pyarrow.large_binary()),
        ([None], pyarrow.null()), ([1, -1, None], pyarrow.int8()), ([2**63 - 1], pyarrow.int64()),
        ([2**64 - 1, 0], pyarrow.uint64()), ([2**31], pyarrow.uint32()), ([1.5], pyarrow.float64()),
        (texts, pyarrow.string()), (texts, pyarrow.large_string()), ([True], pyarrow.bool_()),
        (texts, pyarrow.dictionary(pyarrow.int8(), pyarrow.string())), ([[1, 2], [], None], None),
        ([[0], [2**31 - 1]], pyarrow.list_(pyarrow.int64())),
        ([[-1]], pyarrow.list_(pyarrow.int8())),
        ([[1], [None]], pyarrow.list_(pyarrow.int8())), ([["a"]], None), ([{"a": 1}], None),
        ([[2**64 - 1]], pyarrow.list_(pyarrow.uint64())),
        ([[1, 1]], pyarrow.large_list(pyarrow.int32())),
    ]  # fmt: skip


def _text(folder: Path) -> Subject:
    seeds = _saved(folder, ".txt", _codes("none", is_named=False))
    seeds += [b"0101\n1100\n0000\n", b"\xef\xbb\xbf01\r\n10\r\n"]
    return Subject(folder / "codes.txt", seeds, read_codes, [mutate_text])


def _faiss(folder: Path) -> Subject:
    import faiss

    codes = _codes(n_bits=24).codes

    def inverted() -> Any:
        quantizer = faiss.IndexBinaryFlat(24)
        quantizer.add(codes[:2])
        index = faiss.IndexBinaryIVF(quantizer, 24, 2)
        index.quantizer_kept = quantizer
        return index

    indexes = [
        faiss.IndexBinaryFlat(24), faiss.IndexBinaryIDMap(faiss.IndexBinaryFlat(24)),
        faiss.IndexBinaryIDMap2(faiss.IndexBinaryFlat(24)), inverted(),
        faiss.IndexBinaryHNSW(24, 2),
        faiss.IndexBinaryHash(24, 8), faiss.IndexBinaryMultiHash(24, 2, 6),
    ]  # fmt: skip
    seeds = []
    for number, index in enumerate(indexes):
        ids = np.arange(N_ROWS, dtype=np.int64) * 3
        if number in (1, 2):
            index.add_with_ids(codes, ids)
        else:
            index.is_trained = True
            index.add(codes)
        seeds.append(faiss.serialize_index_binary(index).tobytes())
    return Subject(folder / "codes.faiss", seeds, read_codes)


def _labels(folder: Path) -> Subject:
    seeds = [
        b"0\n1\n2\n-1\n1\n", b"cat\ndog\ncat\n", b"0 1 0\n1 1 0\n0 0 1\n", b"1;0\n0;1\n",
        b"1.000e+00 0.000e+00\n0.000e+00 1.000e+00\n", b"# labels\n\xc3\xa9t\xc3\xa9\nb c\n",
    ]  # fmt: skip
    return Subject(folder / "labels.txt", seeds, _read_labels, [mutate_text])


def _label_arrays(folder: Path) -> Subject:
    arrays = [
        np.arange(5) - 1,
        np.eye(3, dtype=np.uint8),
        np.array(["a", "b"]),
        np.array([1.0, 2.0]),
    ]
    seeds = [array_bytes(array) for array in arrays]
    return Subject(
        folder / "labels.npy",
        seeds,
        _read_labels,
        [lambda rng, _: array_bytes(random_array(rng))],
    )


def _matlab(folder: Path) -> Subject:
    from scipy.io import savemat

    seeds = []
    for values in ({"labels": np.arange(6.0)}, {"labels": np.eye(3, dtype=np.uint8)}):
        for compressed in (False, True):
            file = io.BytesIO()
            savemat(file, values, do_compression=compressed)
            # The first 116 bytes are a text with the date.
            seeds.append(b"MATLAB 5.0 MAT-file".ljust(116) + file.getvalue()[116:])
    return Subject(folder / "labels.mat", seeds, _read_labels)


def _read_labels(path: Path, rng: random.Random) -> None:
    from hashkit.formats.labels import load_labels

    labels, class_names = load_labels(path)
    codes = CodeSet(np.zeros((len(labels), 1), np.uint8), 8, labels, (), class_names)
    if rng.random() < 0.3:
        use_codes(codes, rng)


def _baseline(folder: Path) -> Subject:
    from hashkit.workflow.baseline_cache import BaselineCodes, read_codes, write_codes

    codes = _codes().codes
    write_codes(folder / "seed.npz", BaselineCodes(N_BITS, codes, codes, 0.5), "abc")
    seeds = [packed_zip(unpacked_zip((folder / "seed.npz").read_bytes()))]

    def read(path: Path, _: random.Random) -> None:
        found = read_codes(path, "abc")
        if found is not None and not isinstance(found.accuracy, float | None):
            raise HashkitError(f"an accuracy of {found.accuracy!r}")

    return Subject(folder / "baseline.npz", seeds, read, [inside_zip])


CODE_SUBJECTS = {
    "bank": _bank,
    "multi-index": _index,
    "npz": _npz,
    "parquet": _parquet,
    "faiss": _faiss,
    "text-codes": _text,
    "labels": _labels,
    "labels-npy": _label_arrays,
    "labels-mat": _matlab,
    "baseline": _baseline,
}
