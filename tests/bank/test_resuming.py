"""A writer goes on with a bank, or adds another list to it."""

from __future__ import annotations

import pytest
from bank_samples import make_header, make_source
from looped import looped
from writer_samples import OTHER, SOURCE, append, assert_holds, create, write

from hashkit.bank.reader import Bank
from hashkit.bank.writer import BankWriter
from hashkit.errors import BankError, BankMismatchError
from hashkit.manifest import Manifest


@looped(
    ("fields", "expected"),
    [
        ({"n_bits": 24, "manifest": Manifest(24, 32, 32)}, "24, found 20"),
        ({"model_sha256": "cd" * 32}, f"{'cd' * 6}, found the model of SHA-256 {'ab' * 6}"),
        ({"precision": "int8"}, "int8, found fp32"),
        ({"provider": "CUDAExecutionProvider"}, "CUDAExecutionProvider, found CPUExecution"),
        ({"runtime": "onnxruntime 2"}, "onnxruntime 2, found onnxruntime 1.24.0"),
        ({"label_kind": "none"}, "none, found single"),
        ({"class_names": ("ant",)}, "ant, found ant, bee, cat"),
        ({"source": OTHER}, "images of second, found first"),
        ({"source": make_source("first", 6, part="query", names_sha256="")}, "query, found all"),
        ({"source": make_source("first", 7)}, "7, found 6"),
        ({"source": make_source("first", 6, names_sha256="ef" * 32)}, f"{'ef' * 32}, found"),
        ({"source": make_source("first", 6, seed=3, root="/b")}, "below /b, found /images/first"),
        ({"source": None}, "known image list: no, found yes"),
    ],
)
def test_another_job_is_refused(half, fields, expected):
    before = half.read_bytes()
    header = make_header(**({"source": SOURCE} | fields))
    with pytest.raises(BankMismatchError) as caught:
        BankWriter.resume(half, header)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
    assert half.read_bytes() == before
    BankWriter.resume(half, make_header(source=SOURCE)).close()  # the lock is free


def test_the_same_list_under_another_dataset_name_resumes(half):
    source = make_source("first", 6, dataset="./first/", protocol="half", seed=1)
    BankWriter.resume(half, make_header(source=source)).close()


def test_another_provider_must_be_allowed_and_is_recorded(half):
    header = make_header(source=SOURCE, provider="CUDAExecutionProvider")
    with BankWriter.resume(half, header, allow_other_provider=True) as writer:
        write(writer, range(3, 6), 6)
        writer.complete()
    assert_holds(half, range(6), is_complete=True)
    with Bank.open(half) as bank:
        assert bank.header.provider == "CPUExecutionProvider, CUDAExecutionProvider"
    BankWriter.resume(half, header).close()
    BankWriter.resume(half, make_header(source=SOURCE)).close()


def test_another_resampler_must_be_allowed_and_is_recorded(path):
    with create(path, make_header(source=SOURCE, resampler="Pillow 12.0.0")) as writer:
        write(writer, range(3), 3)
    other = make_header(source=SOURCE, resampler="Pillow 13.0.0")
    with pytest.raises(BankMismatchError, match=r"resampler Pillow 13.0.0, found Pillow 12.0.0"):
        BankWriter.resume(path, other)
    BankWriter.resume(path, other, allow_other_provider=True).close()
    with Bank.open(path) as bank:
        assert bank.header.resampler == "Pillow 12.0.0, Pillow 13.0.0"
    BankWriter.resume(path, other).close()


def test_an_unknown_resampler_is_not_compared(half):
    BankWriter.resume(half, make_header(source=SOURCE, resampler="Pillow 13.0.0")).close()
    with Bank.open(half) as bank:
        assert bank.header.resampler == ""  # still unknown for the earlier rows


def test_resume_and_append_do_not_create_a_bank(path):
    for start in (append, lambda path: BankWriter.resume(path, make_header(source=SOURCE))):
        with pytest.raises(BankError, match="no such bank"):
            start(path)
    assert not list(path.parent.iterdir())


# Adding a list


def test_append_continues_where_it_was_stopped(complete):
    with append(complete) as writer:
        assert (writer.n_committed, writer.n_consumed, writer.is_complete) == (5, 0, False)
        assert writer.sources == (SOURCE, OTHER)
        write(writer, range(2), 2)
    with append(complete) as writer:
        assert writer.sources == (SOURCE, OTHER)
        assert (writer.n_committed, writer.n_consumed) == (7, 2)
        write(writer, [2], 3)
        writer.complete()
    assert_holds(complete, [*range(6), *range(3)], is_complete=True)
    with append(complete) as writer:
        assert writer.is_complete
    with Bank.open(complete) as bank:
        assert bank.sources == (SOURCE, OTHER)


def test_appending_with_another_provider_must_be_allowed(complete):
    header = make_header(source=OTHER, provider="CUDAExecutionProvider")
    with pytest.raises(BankMismatchError, match="CUDAExecutionProvider, found CPUExecution"):
        append(complete, header)
    append(complete, header, allow_other_provider=True).close()
    with Bank.open(complete) as bank:
        assert bank.header.provider == "CPUExecutionProvider, CUDAExecutionProvider"


def test_a_list_is_not_added_twice(complete):
    with append(complete) as writer:
        write(writer, range(3), 3)
        writer.complete()
    with pytest.raises(BankMismatchError, match="already contains this list of 6 images of first"):
        append(complete, make_header(source=SOURCE))


def test_only_a_complete_bank_takes_another_list(half):
    with pytest.raises(BankError, match="interrupted after 3 rows: finish that first"):
        append(half)


def test_unknown_lists_can_be_appended(path):
    with create(path, make_header()) as writer:
        write(writer, range(2), 2)
        writer.complete()
    with append(path, make_header()) as writer:
        write(writer, range(2, 4), 4)
        writer.complete()
    assert_holds(path, range(4), is_complete=True)
