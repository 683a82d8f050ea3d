from __future__ import annotations

import os
import pickle
import tracemalloc
import warnings

import numpy as np
import pytest
from looped import looped
from published_sets import python2_pickle

from hashkit.datasets.pickles import read_plain_pickle
from hashkit.errors import DatasetError

PIXELS = np.arange(24, dtype=np.uint8).reshape(4, 6)


@pytest.mark.parametrize("array", [PIXELS, np.asfortranarray(PIXELS)], ids=["C", "Fortran"])
def test_pickles_of_python2_are_read_like_pickle_reads_them(array):
    data = python2_pickle({b"data": array, b"labels": [3, 1], b"batch_label": b"one"})
    with warnings.catch_warnings():
        # NumPy 2.4 deprecates the dtype arguments of Python 2; our reader does not call np.dtype.
        warnings.simplefilter("ignore")
        genuine = pickle.loads(data, encoding="bytes")
    ours = read_plain_pickle(data, "batch")
    np.testing.assert_array_equal(genuine[b"data"], PIXELS)
    np.testing.assert_array_equal(ours["data"], PIXELS)
    assert ours["data"].dtype == np.uint8
    assert ours["labels"] == genuine[b"labels"] == [3, 1]
    assert ours["batch_label"] == b"one"


@looped("protocol", [0, 1, 2, 3, 4])
def test_pickles_of_python3_are_read(protocol):
    ours = read_plain_pickle(pickle.dumps({"data": PIXELS, "labels": [1]}, protocol), "batch")
    np.testing.assert_array_equal(ours["data"], PIXELS)


class _Touch:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_a_pickle_that_calls_a_function_is_refused_and_not_run(tmp_path):
    target = tmp_path / "made"
    data = pickle.dumps({"data": _Touch(str(target))})
    with pytest.raises(DatasetError, match=r"batch: refused.*mkdir"):
        read_plain_pickle(data, "batch")
    assert not target.exists()
    pickle.loads(data)
    assert target.exists()  # the pickle does run when it is loaded by pickle


@looped(
    "call",
    [
        b"cbuiltins\neval\n",
        b"cnumpy\nload\n",
        b"cnumpy.core.multiarray\nscalar\n",
        b"cnumpy\n_core.multiarray._reconstruct\n",
        b"\x8c\x08builtins\x8c\x04eval\x93",
    ],
)
def test_only_the_names_that_arrays_need_are_allowed(call):
    with pytest.raises(DatasetError, match="refused"):
        read_plain_pickle(b"\x80\x04" + call + b".", "batch")


def test_every_truncation_is_a_dataset_error():
    data = python2_pickle({b"data": PIXELS, b"labels": [3, 1]})
    for n_bytes in range(len(data)):
        with pytest.raises(DatasetError):
            read_plain_pickle(data[:n_bytes], "batch")


@looped(
    ("value", "message"),
    [
        ([1, 2], "expected a pickled dictionary"),
        ({"data": np.zeros((2, 2), dtype=np.float32)}, "expected uint8 arrays"),
        ({10**5000: 1}, "expected text as keys, found int"),
        ({("data",): 1}, "expected text as keys, found tuple"),
    ],
)
def test_other_contents_are_refused(value, message):
    with pytest.raises(DatasetError, match=message):
        read_plain_pickle(pickle.dumps(value, 2), "batch")


def test_a_key_that_is_not_utf8_stays_recognisable():
    assert read_plain_pickle(python2_pickle({b"data\xff": 1}), "batch") == {"data\\xff": 1}


@pytest.mark.parametrize("number", [0x3FFFFFFF, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_large_object_number_takes_no_memory(number):
    """The compiled unpickler makes room for every number up to this one."""
    data = b"\x80\x02}r" + number.to_bytes(4, "little") + b"."
    tracemalloc.start()
    assert read_plain_pickle(data, "a") == {}
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20
