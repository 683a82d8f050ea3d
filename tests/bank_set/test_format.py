"""The golden bank set of docs/bank-set.md: every field is computed again from its shards."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import numpy as np
from bank_samples import make_header, make_source, rows_of

from hashkit.bank.deletion import delete_rows
from hashkit.bank.reader import Bank
from hashkit.bank.writer import BankWriter
from hashkit.bank_set.manifest import write_manifest
from hashkit.bank_set.reader import BankSet
from hashkit.rows_digest import codes_digest

GOLDEN = Path(__file__).parents[1] / "golden" / "bank-set"
SPECIFICATION = Path(__file__).parents[2] / "docs" / "bank-set.md"
SAME = ("n_bits", "label_kind", "class_names", "model_sha256", "precision")
LIST = make_source(n_images=6)
JOINED = ("runtime", "provider", "resampler")


def manifest_of(folder: Path) -> dict:
    """The manifest of a set of shards of one list, as the specification says; for the tests."""
    shards, first_row, start = [], 0, 0
    for path in sorted(folder.glob("*.h5")):
        with Bank.open(path) as bank:
            assert bank.is_complete
            made_by = {name: getattr(bank.header, name) for name in ("model_sha256", *JOINED)}
            shards.append(
                {
                    "file": path.name,
                    "identity": bank.identity,
                    "first_row": first_row,
                    "n_rows": len(bank),
                    "n_deleted": bank.n_deleted,
                    "digest": codes_digest(np.array(bank.codes), bank.n_bits),
                    "bytes": path.stat().st_size,
                    "slice": {
                        "list": LIST.names_sha256,
                        "start": start,
                        "stop": start + bank.n_consumed,
                    },
                    **made_by,
                    "precision": bank.header.precision,
                }
            )
            first_row, start = first_row + len(bank), start + bank.n_consumed
            header = bank.header
    return {
        "format": "hashkit-bank-set",
        "format_version": 1,
        "identity": "fedcba9876543210" * 2,
        **{name: getattr(header, name) for name in SAME},
        "class_names": list(header.class_names),
        "n_rows": first_row,
        **{name: ", ".join(dict.fromkeys(one[name] for one in shards)) for name in JOINED},
        "shards": shards,
        "created_by": "hashkit",
    }


def write_golden(folder: Path) -> None:
    """Write the golden set again: five images in two shards, one of them unusable."""
    for number, images in enumerate((range(3), range(3, 6))):
        header = make_header(
            source=make_source(n_images=3), resampler=("Pillow 12.1.0", "Pillow 13.0.0")[number]
        )
        path = folder / f"shard-{number:05}.h5"
        with BankWriter.create(path, header, n_rows=3, n_name_bytes=20) as writer:
            writer.write(*rows_of(images), n_consumed=3)
            writer.complete()
    delete_rows(path, [0])
    text = json.dumps(manifest_of(folder), indent=2) + "\n"
    (folder / "bankset.json").write_text(text, encoding="utf-8")


def test_every_field_of_the_golden_set_follows_from_its_shards():
    found = json.loads((GOLDEN / "bankset.json").read_text(encoding="utf-8"))
    assert found == manifest_of(GOLDEN)
    assert [shard["first_row"] for shard in found["shards"]] == [0, 3]
    assert [shard["n_rows"] for shard in found["shards"]] == [3, 2]
    assert [shard["n_deleted"] for shard in found["shards"]] == [0, 1]
    assert found["resampler"] == "Pillow 12.1.0, Pillow 13.0.0"
    spans = [(shard["slice"]["start"], shard["slice"]["stop"]) for shard in found["shards"]]
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))


def test_the_golden_set_opens_and_its_manifest_is_written_as_it_was_read(tmp_path):
    with BankSet.open(GOLDEN) as banks:
        assert (banks.n_rows, banks.n_deleted, banks.n_bits) == (5, 1, 20)
        assert banks.offsets.tolist() == [0, 3, 5]
        write_manifest(tmp_path, banks.manifest)
    assert (tmp_path / "bankset.json").read_bytes() == (GOLDEN / "bankset.json").read_bytes()


def test_a_shards_digest_comes_from_its_checksums_and_survives_a_deletion():
    found = json.loads((GOLDEN / "bankset.json").read_text(encoding="utf-8"))
    for shard in found["shards"]:
        with Bank.open(GOLDEN / shard["file"]) as bank:
            assert bank.rows_digest() == shard["digest"]
            bank.verify()


def test_the_specification_lists_every_field():
    text = SPECIFICATION.read_text(encoding="utf-8")
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", text, re.MULTILINE)
    listed = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    found = json.loads((GOLDEN / "bankset.json").read_text(encoding="utf-8"))
    shard = found["shards"][0]
    assert sorted(listed) == sorted([*found, *shard])
    assert set(shard["slice"]) == {"list", "start", "stop"}
