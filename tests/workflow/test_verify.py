"""What `hashkit verify` finds in banks, indexes and models; tests/cli/test_verify.py has runs."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from bank_samples import make_header, run_job
from linear_models import linear_model
from looped import looped

from hashkit.bank import layout
from hashkit.bank.build import build_bank
from hashkit.bank.deletion import delete_rows
from hashkit.bank.reader import Bank
from hashkit.bank.writer import BankWriter
from hashkit.errors import HashkitError
from hashkit.files.writing import file_digest
from hashkit.multi_index.index import MultiIndex, index_path
from hashkit.workflow.verify import verify_paths


@pytest.fixture
def bank(tmp_path):
    """A bank of 34 rows and its index."""
    run_job(tmp_path / "bank.h5")
    with Bank.open(tmp_path / "bank.h5") as opened:
        MultiIndex.build(opened).save(index_path(tmp_path / "bank.h5"))
    return tmp_path / "bank.h5"


def poke(path, name, element, value):
    with h5py.File(path, "r+") as file:
        file[name][element] = value


def only(path):
    """The one check of a path."""
    (found,) = verify_paths([path])
    assert all(str(path) in fault.message for fault in found.faults)
    assert all("\n" not in fault.message for fault in found.faults)
    return found


def test_a_whole_bank_passes(bank):
    delete_rows(bank, [3])
    found = only(bank)
    assert (found.kind, found.faults) == ("code bank", ())
    assert found.checked == "header, deleted rows and checksums of 34 rows in 1 block"


def test_faults_name_column_block_and_rows(bank):
    poke(bank, "codes", (3, 0), 77)
    poke(bank, "labels", 33, 7)
    codes, labels = only(bank).faults
    assert (codes.column, codes.block, codes.first_row, codes.last_row) == ("codes", 0, 0, 33)
    assert labels.column == "labels"
    assert "codes, block 0, rows 0 to 33: expected the checksum" in codes.message


def test_a_bank_that_does_not_open_is_one_fault(bank):
    with h5py.File(bank, "r+") as file:
        file.attrs["class_names"] = '["ant", "bee", "cow"]'
    (fault,) = only(bank).faults
    assert "attributes do not match their checksum" in fault.message
    bank.write_bytes(bank.read_bytes()[:-50])
    (fault,) = only(bank).faults
    assert "cut off" in fault.message


def test_a_bank_of_an_old_version_is_checked_for_its_values_only(tmp_path, monkeypatch):
    monkeypatch.setattr(layout.create_file, "__defaults__", (2,))
    run_job(tmp_path / "bank.h5")
    monkeypatch.undo()
    found = only(tmp_path / "bank.h5")
    assert found.faults == ()
    assert "format version 2 has no checksums, and `hashkit convert` makes" in found.checked
    poke(tmp_path / "bank.h5", "labels", 1, -5)
    (fault,) = only(tmp_path / "bank.h5").faults
    assert "labels from -1 to 2, found -5" in fault.message


def test_an_incomplete_bank_is_not_a_fault(tmp_path):
    BankWriter.create(tmp_path / "bank.h5", make_header(), n_rows=3, n_name_bytes=3).close()
    found = only(tmp_path / "bank.h5")
    assert found.faults == ()
    assert "not complete yet" in found.checked


@pytest.mark.parametrize("name", ["offsets", "rows", "sketches"])
def test_damaged_tables_of_an_index_are_found(bank, name):
    path = index_path(bank)
    assert only(path).faults == ()
    with Bank.open(bank) as opened:
        array = getattr(MultiIndex.open(path, opened)._tables, name)
        place = path.read_bytes().index(array.tobytes()) + array.nbytes // 2
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    (fault,) = only(path).faults
    assert f"{name} do not match their checksum; build the index again" in fault.message


def test_an_index_is_checked_with_its_bank(bank):
    assert "34 of 34 rows" in only(index_path(bank)).checked
    codes = np.zeros((34, 3), np.uint8)
    header = make_header(has_names=False, label_kind="none")
    sizes = {"n_rows": 34, "n_name_bytes": 0, "n_consumed": 34}
    build_bank(bank, header, (), [(codes, None, None, None)], **sizes, overwrite=True)
    (fault,) = only(index_path(bank)).faults
    assert "it was built for other codes: the bank was made again since" in fault.message
    bank.unlink()
    (fault,) = verify_paths([index_path(bank)])[0].faults
    assert "no such bank" in fault.message


@pytest.mark.end_to_end
def test_models_are_opened_and_compared_with_banks(tmp_path):
    model, bank = tmp_path / "model.onnx", tmp_path / "bank.h5"
    linear_model(model, n_bits=8, height=4, width=4)
    sha256 = file_digest(model, "sha256")
    header = make_header(8, manifest=None, model_sha256=sha256, label_kind="none")
    with BankWriter.create(bank, header, n_rows=1, n_name_bytes=0) as writer:
        writer.write(np.zeros((1, 1), np.uint8), n_consumed=1)
        writer.complete()
    found = verify_paths([bank, model])
    assert [one.faults for one in found] == [(), ()]
    assert sha256 in found[1].checked

    data = model.read_bytes()
    linear_model(model, n_bits=8, height=4, width=4, seed=1)
    found = verify_paths([model, bank])
    (fault,) = found[1].faults
    assert fault.message.startswith(f"{bank}: expected codes of {model}, SHA-256 ")
    model.write_bytes(data[: len(data) // 2])
    (fault,) = only(model).faults
    assert str(model) in fault.message


@looped("name", ["none.h5", "notes.md", "codes.npz", "folder"])
def test_something_else_is_refused(tmp_path, name):
    if name == "folder":
        (tmp_path / name).mkdir()
    elif name != "none.h5":
        (tmp_path / name).write_text("text")
    with pytest.raises(
        HashkitError, match=r"expected a bank, a bank set, an index \(.mih\), an ONNX model"
    ):
        verify_paths([tmp_path / name])
