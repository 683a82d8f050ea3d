"""Codes from files and banks are evaluated like codes in memory."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from codes_samples import code_set

from hashkit.bank.header import BankHeader
from hashkit.bank.reader import Bank
from hashkit.bank.writer import BankWriter
from hashkit.codes import unpack
from hashkit.codesets import CodeSet
from hashkit.errors import BankError, CodesError
from hashkit.evaluation.evaluator import evaluate
from hashkit.formats import open_codes
from hashkit.retrieval.search import search


def test_codes_are_opened_by_file_content(tmp_path: Path) -> None:
    query = code_set(0, 6)
    np.savez(tmp_path / "a.npz", codes=query.codes, bits=5, labels=query.labels)
    assert evaluate(open_codes(tmp_path / "a.npz"), query).bits == 5
    lines = ["".join(map(str, bits)) for bits in unpack(query.codes, 5)]
    (tmp_path / "a.txt").write_text("\n".join(lines) + "\n")
    (tmp_path / "labels").write_text("\n".join(map(str, query.labels)) + "\n")  # type: ignore[arg-type]
    opened = open_codes(tmp_path / "a.txt", tmp_path / "labels")
    assert evaluate(opened, query).to_dict() == evaluate(query, query).to_dict()
    (tmp_path / "not-a-bank").write_bytes(b"\x89HDF\r\n\x1a\nrest")
    for name in ("not-a-bank", "missing.h5"):
        with pytest.raises(BankError):
            open_codes(tmp_path / name)


def as_bank(path: Path, codes: CodeSet, class_names: tuple[str, ...] = ()) -> Bank:
    header = BankHeader(
        codes.n_bits,
        class_names=class_names,
        label_kind="none" if codes.labels is None else "single",
    )
    names = [f"{row}.png" for row in range(len(codes))]
    with BankWriter.create(path, header, n_rows=len(codes), n_name_bytes=1000) as writer:
        writer.write(codes.codes, names, codes.labels, n_consumed=len(codes))
        writer.complete()
    return Bank.open(path)


def test_banks_are_searched_and_evaluated_like_codes_in_memory(tmp_path: Path) -> None:
    query, database = code_set(0, 6), code_set(1, 50)
    assert query.labels is not None
    bank = as_bank(tmp_path / "database.h5", database, ("ant", "bee", "cat"))
    np.testing.assert_array_equal(
        search(query.codes, bank, top_k=9).rows, search(query.codes, database, top_k=9).rows
    )
    # The same classes in another order: they are matched by name.
    renumbered = CodeSet(query.codes, 5, (query.labels + 1) % 3)
    opened = as_bank(tmp_path / "query.h5", renumbered, ("cat", "ant", "bee"))
    report, expected = evaluate(opened, bank), evaluate(query, database)
    assert report.map == pytest.approx(expected.map)
    by_name = {"ant": "0", "bee": "1", "cat": "2"}
    for name, value in report.per_label.items():
        assert value == pytest.approx(expected.per_label[by_name[name]])
    assert open_codes(tmp_path / "database.h5").class_names == ("ant", "bee", "cat")


def test_a_bank_takes_labels_from_a_file_unless_it_has_its_own(tmp_path: Path) -> None:
    codes = code_set(1, 20)
    assert codes.labels is not None
    (tmp_path / "labels").write_text("\n".join(map(str, codes.labels)))
    as_bank(tmp_path / "bare.h5", dataclasses.replace(codes, labels=None))
    found = open_codes(tmp_path / "bare.h5", tmp_path / "labels")
    np.testing.assert_array_equal(found.labels, codes.labels)  # type: ignore[arg-type]
    np.testing.assert_array_equal(found.codes, codes.codes)
    assert found.names[3] == "3.png"
    as_bank(tmp_path / "full.h5", codes)
    with pytest.raises(CodesError, match="already contains labels"):
        open_codes(tmp_path / "full.h5", tmp_path / "labels")
