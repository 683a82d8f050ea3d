"""Arguments of the public functions: taken without a loss, or refused in one line."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from looped import looped

import hashkit
from hashkit import HashkitError
from hashkit.bank.editor import BankEditor
from hashkit.bank.header import BankHeader

RANDOM = np.random.default_rng(0)
CODES = RANDOM.integers(0, 256, (40, 3), dtype=np.uint8)
LABELS = np.arange(40) % 3
SET = hashkit.CodeSet(CODES, 24, LABELS)
QUERIES = hashkit.CodeSet(CODES[:4], 24, LABELS[:4])
LOGITS = (np.unpackbits(CODES[:4], axis=1) * 2.0 - 1).astype(np.float32)
HEADER = BankHeader(24)


@functools.cache
def index() -> hashkit.MultiIndex:
    """Made by the first test that needs it, as it compiles kernels on a new machine."""
    return hashkit.MultiIndex.build(SET)


class Thing:
    """A value of no type that hashkit knows; its name is the same in every process."""

    def __repr__(self):
        return "Thing()"


NO_WHOLE_NUMBERS = [2.5, 2.0, math.nan, math.inf, "48", "", b"2", True, np.True_, 1j, [3], (), {}]
NO_WHOLE_NUMBERS += [np.float64(2), np.array([2]), np.array(2.0), Fraction(2), Thing()]
WHOLE_NUMBERS = [2, np.int8(2), np.uint64(2), np.array(2), np.array(2, ">u2")]
NO_PATHS = [3, 2.5, b"a.h5", "a\0b", "\ud800", Path("\ud800"), [], True, Thing(), np.array(["a"])]
NO_DATABASES = ["text", b"x", 3, 2.5, Thing(), {}, [None], [CODES], [[1, 2]], True]


def refuses(call: Callable[[], Any], *names: str) -> None:
    """The call raises one line of text that names the argument."""
    with pytest.raises(HashkitError) as caught:
        call()
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 400
    for name in names:
        assert name in message


COUNTS: dict[str, Callable[[Any], Any]] = {
    "top_k": lambda n: hashkit.search(CODES[:2], SET, top_k=n),
    "radius": lambda n: hashkit.search(CODES[:2], SET, radius=n),
    "n_threads": lambda n: hashkit.search(CODES[:2], SET, top_k=1, n_threads=n),
    "oversample": lambda n: hashkit.search(
        CODES[:2], SET, top_k=1, logits=LOGITS[:2], oversample=n
    ),
    "cutoffs": lambda n: hashkit.evaluate(QUERIES, SET, cutoffs=[n]),
    "ks": lambda n: hashkit.evaluate(QUERIES, SET, ks=[n]),
    "n_tables": lambda n: hashkit.MultiIndex.build(SET, n_tables=n),
    "`radius`": lambda n: index().search(CODES[:2], radius=n),
    "`top_k`": lambda n: index().search(CODES[:2], top_k=n),
}


@looped("name", COUNTS)
@looped("value", NO_WHOLE_NUMBERS, ids=repr)
def test_values_that_are_not_whole_numbers_are_refused(name: str, value: object) -> None:
    refuses(lambda: COUNTS[name](value), name)


@looped("name", COUNTS)
@looped("value", WHOLE_NUMBERS, ids=repr)
def test_every_whole_number_is_taken(name: str, value: Any) -> None:
    COUNTS[name](value)


@looped("name", COUNTS)
def test_negative_numbers_are_refused(name: str) -> None:
    for value in (-1, np.int8(-1), np.array(-1)):
        refuses(lambda value=value: COUNTS[name](value))


BITS: dict[str, Callable[[Any], Any]] = {
    "search": lambda n: hashkit.search(CODES[:2], CODES, top_k=1, n_bits=n),
    "CodeSet": lambda n: hashkit.CodeSet(CODES, n),
    "MultiIndex.build": lambda n: hashkit.MultiIndex.build(CODES, n),
    "Manifest": lambda n: hashkit.Manifest(n, 8, 8),
}


@looped("name", BITS)
def test_bits_are_whole_numbers(name: str) -> None:
    for value in (*NO_WHOLE_NUMBERS, 24.0, 24.5, "24", 0, -8):
        refuses(lambda value=value: BITS[name](value))
    for value in (24, np.int64(24), np.uint8(24), np.array(24)):
        BITS[name](value)


def test_a_code_set_keeps_a_plain_number_of_bits() -> None:
    assert type(hashkit.CodeSet(CODES, np.uint8(24)).n_bits) is int  # type: ignore[arg-type]
    assert type(hashkit.Manifest(np.int32(24), 8, 8).n_bits) is int  # type: ignore[arg-type]


# Codes

WRONG_CODES = {
    "int64": CODES.astype(np.int64),
    "float": CODES.astype(float),
    "bool": CODES.astype(bool),
    "int8": CODES.view(np.int8),
    "list": CODES.tolist(),
    "ragged list": [[1, 2, 3], [1]],
    "text": "010101",
    "texts": ["010101"],
    "None": None,
    "a number": 3,
    "a vector": CODES[0],
    "three dimensions": CODES[None],
    "too wide": np.zeros((4, 4), np.uint8),
    "objects": CODES.astype(object),
    "masked": np.ma.masked_array(CODES, CODES > 9),
    "a set": hashkit.CodeSet(CODES, 24),
}


@looped("name", WRONG_CODES)
def test_codes_of_another_kind_are_refused(name: str) -> None:
    codes: Any = WRONG_CODES[name]
    refuses(lambda: hashkit.search(codes, SET, top_k=1), "query codes")
    refuses(lambda: hashkit.CodeSet(codes, 24))
    refuses(lambda: index().search(codes, top_k=1), "query codes")
    if name != "a set":
        refuses(lambda: hashkit.search(CODES[:2], codes, top_k=1, n_bits=24))
        refuses(lambda: hashkit.MultiIndex.build(codes, 24))


def read_only(codes: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    codes = codes.copy()
    codes.flags.writeable = False
    return codes


LAYOUTS: dict[str, Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]] = {
    "Fortran order": np.asfortranarray,
    "every second row": lambda codes: np.repeat(codes, 2, axis=0)[::2],
    "reversed": lambda codes: codes[::-1].copy()[::-1],
    "columns of a wider array": lambda codes: np.pad(codes, ((0, 0), (2, 1)))[:, 2:-1],
    "read-only": read_only,
    "big-endian": lambda codes: codes.astype(">u1"),
    "not aligned": lambda codes: np.frombuffer(b"x" + codes.tobytes(), np.uint8, offset=1).reshape(
        codes.shape
    ),
}


@looped("layout", LAYOUTS)
def test_the_layout_of_codes_does_not_matter(layout: str) -> None:
    queries, database = LAYOUTS[layout](CODES[:4]), LAYOUTS[layout](CODES)
    expected = hashkit.search(CODES[:4], SET, top_k=9)
    for engine in ("scan", "index"):
        made = hashkit.CodeSet(database, 24, LABELS)
        index = hashkit.MultiIndex.build(made)
        found = hashkit.search(queries, made, top_k=9, engine=engine, index=index)  # type: ignore[arg-type]
        np.testing.assert_array_equal(found.rows, expected.rows)
        np.testing.assert_array_equal(found.distances, expected.distances)
    report = hashkit.evaluate(hashkit.CodeSet(queries, 24, LABELS[:4]), made)
    assert report.map == hashkit.evaluate(QUERIES, SET).map


# Databases, labels, names, filters, logits


@looped("value", NO_DATABASES, ids=repr)
def test_values_that_are_not_databases_are_refused(tmp_path: Path, value: Any) -> None:
    refuses(lambda: hashkit.search(CODES[:2], value, top_k=1))
    refuses(lambda: hashkit.evaluate(QUERIES, value))
    refuses(lambda: hashkit.evaluate(value, SET))
    refuses(lambda: hashkit.MultiIndex.build(value))
    refuses(lambda: hashkit.save_codes(tmp_path / "a.npz", value))
    assert not list(tmp_path.iterdir())


def test_an_array_without_bits_or_labels_is_refused() -> None:
    refuses(lambda: hashkit.search(CODES[:2], CODES, top_k=1), "`n_bits`")
    refuses(lambda: hashkit.evaluate(QUERIES, CODES), "CodeSet")  # type: ignore[arg-type]


@looped(
    "labels",
    ["text", 3, {}, np.arange(39), np.full(40, 0.5), ["a"] * 40, np.zeros((40, 2, 2), int)],
    ids=str,
)
def test_labels_of_another_kind_are_refused(labels: Any) -> None:
    refuses(lambda: hashkit.CodeSet(CODES, 24, labels), "label")


def test_labels_may_be_lists_of_numbers() -> None:
    made = hashkit.CodeSet(CODES, 24, LABELS.tolist())  # type: ignore[arg-type]
    assert hashkit.evaluate(QUERIES, made).map == hashkit.evaluate(QUERIES, SET).map


@looped("names", ["text", b"x", 3, None, {}, {"a"}, [1] * 40, (None,) * 40], ids=str)
def test_names_of_another_kind_are_refused(names: Any) -> None:
    refuses(lambda: hashkit.CodeSet(CODES, 24, names=names), "`names`")
    refuses(lambda: hashkit.CodeSet(CODES, 24, class_names=names), "`class_names`")


def test_names_may_be_an_array_of_text() -> None:
    names = np.array([f"{row}.png" for row in range(40)])
    assert hashkit.CodeSet(CODES, 24, names=names).names == names.tolist()  # type: ignore[arg-type]


@looped("deleted", [[True] * 40, "x", 3, np.zeros(40, int), np.zeros(39, bool)], ids=str)
def test_masks_of_another_kind_are_refused(deleted: Any) -> None:
    refuses(lambda: hashkit.CodeSet(CODES, 24, deleted=deleted), "`deleted`")


@looped(
    "where",
    ["text", 3, 2.5, [0.5], [[1, 2], [3]], [True], {}, np.zeros((2, 2), int), [-1], [40], ["a"]],
    ids=str,
)
def test_filters_of_another_kind_are_refused(where: Any) -> None:
    refuses(lambda: hashkit.search(CODES[:2], SET, top_k=1, where=where), "where")
    with pytest.raises(HashkitError, match="not <built-in function print>"):
        hashkit.search(CODES[:2], SET, top_k=1, where=print)  # type: ignore[arg-type]


@looped(
    "where", [[3, 5], (3, 5), np.array([3, 5], np.uint8), np.arange(40) == 3, [], range(2)], ids=str
)
def test_filters_of_every_kind_are_taken(where: Any) -> None:
    hashkit.search(CODES[:2], SET, top_k=1, where=where)


@looped(
    "logits",
    ["text", 3, [[1.0], [1.0, 2.0]], LOGITS * math.nan, LOGITS * math.inf, LOGITS[:1], -LOGITS, {}],
    ids=lambda value: type(value).__name__,
)
def test_logits_of_another_kind_are_refused(logits: Any) -> None:
    refuses(lambda: hashkit.search(CODES[:4], SET, top_k=1, logits=logits), "logits")


@looped("value", ["none", 3, None, ["auto"], {}, True], ids=repr)
def test_names_of_choices_are_checked(value: Any) -> None:
    refuses(lambda: hashkit.search(CODES[:2], SET, top_k=1, engine=value), "engine")
    refuses(lambda: hashkit.evaluate(QUERIES, SET, convention=value))
    refuses(lambda: hashkit.evaluate(QUERIES, SET, ndcg_gain=value))
    refuses(lambda: hashkit.evaluate(QUERIES, SET, without_relevant=value), "without_relevant")
    if value is not True:
        refuses(lambda: hashkit.evaluate(SET, SET, exclude_self=value), "exclude_self")


@looped("value", [3, 2.5, "10", Thing()], ids=repr)
def test_cutoffs_are_a_sequence(value: Any) -> None:
    refuses(lambda: hashkit.evaluate(QUERIES, SET, cutoffs=value), "`cutoffs`")


def test_a_budget_is_a_number() -> None:
    for value in ("1", math.nan, -1, True, [1], None, 1j):
        refuses(lambda value=value: index().search(CODES[:2], top_k=1, budget=value), "`budget`")
    for value in (0, 1, 2.5, math.inf, np.float32(1), np.array(1.5), Fraction(1, 2)):
        index().search(CODES[:2], top_k=1, budget=value)  # type: ignore[arg-type]


# Files


@looped("value", NO_PATHS, ids=repr)
def test_values_that_are_not_paths_are_refused(value: Any) -> None:
    for call in (
        lambda: hashkit.Bank.open(value),
        lambda: hashkit.open_codes(value),
        lambda: hashkit.save_codes(value, SET),
        lambda: hashkit.MultiIndex.open(value, SET),
        lambda: hashkit.delete_rows(value, [0]),
        lambda: hashkit.restore_rows(value, [0]),
        lambda: hashkit.add(value, CODES, None),
        lambda: hashkit.warm_up(value),
        lambda: BankEditor.open(value),
        lambda: hashkit.Run.open(value),
        lambda: hashkit.resume(value),
        lambda: hashkit.export(value),
        lambda: hashkit.train(value),
        lambda: hashkit.Encoder.load(value),
        lambda: hashkit.BankWriter.create(value, HEADER, n_rows=1, n_name_bytes=0),
    ):
        refuses(call)


@looped("value", ["x", 2.5, True, [1], -1], ids=repr)
def test_settings_of_functions_on_files_are_checked(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "a"
    for name, call in {
        "n_bits": lambda: hashkit.open_codes(path, n_bits=value),
        "overwrite": lambda: hashkit.save_codes(path, SET, overwrite=2 if value is True else value),
        "batch_size": lambda: hashkit.Encoder.load(path, batch_size=value),
        "n_threads": lambda: hashkit.Encoder.load(path, n_threads=value),
        "num_workers": lambda: hashkit.encode(path, path, path, num_workers=value),
        "split_seed": lambda: hashkit.train(path, split_seed=value),
        "n_queries": lambda: hashkit.train(path, n_queries=value),
        "size": lambda: hashkit.train(path, size=value),
        "bits": lambda: hashkit.train(path, bits=value),
        "n_rows": lambda: hashkit.BankWriter.create(path, HEADER, n_rows=value, n_name_bytes=0),
    }.items():
        refuses(call)
        del name
    assert not list(tmp_path.iterdir())


@looped("rows", ["text", 2.5, [0.5], [[1, 2], [3]], [True], {}, [-1], [40], ["a"]], ids=str)
def test_rows_to_delete_are_row_numbers(tmp_path: Path, rows: Any) -> None:
    hashkit.save_codes(tmp_path / "a.h5", SET)
    refuses(lambda: hashkit.delete_rows(tmp_path / "a.h5", rows))
    assert hashkit.Bank.open(tmp_path / "a.h5").deleted is None


def test_arguments_beyond_what_the_system_takes_are_refused(tmp_path):
    """Numbers of any size, paths longer than Linux permits, users that do not exist."""
    out = tmp_path / "out"
    refuses(lambda: list(hashkit.pairs(SET, 10**5000)), "radius", "64 bits")
    refuses(lambda: hashkit.search(CODES[:1], SET, radius=10**5000), "radius", "64 bits")
    refuses(lambda: hashkit.save_codes(out, SET, shards=2**63), "shards", "99999")
    refuses(lambda: hashkit.save_codes("/dev/null", SET, shards=2), "/dev/null")
    long = "x" * 5000
    for call in (hashkit.open_codes, hashkit.find_duplicates, hashkit.warm_up, hashkit.resume):
        refuses(lambda call=call: call(long), "255 bytes")
        refuses(lambda call=call: call("~no_such_user/x"), "~no_such_user")
    refuses(lambda: hashkit.encode("~no_such_user/x", "phash", out), "no user no_such_user")


def test_names_in_a_bank_that_no_file_can_have_are_missing_images(tmp_path):
    names = ["x" * 5000, "a\nb.png", "\x1b[31m.png", "../../passwd", "~no_such_user/q.png"]
    bank = tmp_path / "names.h5"
    hashkit.save_codes(bank, hashkit.CodeSet(CODES[:5] * 0, 24, None, names))
    assert len(hashkit.find_duplicates(bank, data_root=tmp_path).groups) == 1


def test_other_arguments_of_another_type_are_refused():
    refuses(lambda: hashkit.evaluate(SET, SET, cutoffs=np.array(2.0)), "cutoffs", "a sequence")
    for value in (2.5, "an.idx", iter([None]), {}):
        refuses(lambda value=value: hashkit.search(CODES, SET, top_k=1, index=value), "index")
    refuses(lambda: hashkit.search(CODES, SET, top_k=1, engine=np.array([])), "engine")
    refuses(lambda: hashkit.find_duplicates("pictures", reporter=2.5), "reporter", "Reporter")
