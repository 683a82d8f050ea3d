from __future__ import annotations

import io
import pickle
import tracemalloc

import pytest
from looped import looped

from hashkit.errors import ModelError
from hashkit.inputs.pickles import read_pickle


class Stored:
    """Keeps its arguments and its state."""

    state = None

    def __init__(self, *arguments):
        self.arguments = arguments

    def __setstate__(self, state):
        self.state = state


def made(*arguments):
    return arguments


PERMITTED = {("shop", "Item"): Stored, ("shop", "made"): made}


def read(data, **options):
    return read_pickle(
        io.BytesIO(data),
        "a.bin",
        PERMITTED,
        error=ModelError,
        needed_by="shop",
        fix="get it again",
        **options,
    )


def test_permitted_names_are_called_and_receive_their_state():
    item = read(b"\x80\x02cshop\nItem\nK\x05\x85RK\x07b.")
    assert (item.arguments, item.state) == ((5,), 7)
    assert read(b"\x80\x02cshop\nmade\nK\x05\x85R.") == (5,)


def test_several_pickles_of_one_stream_are_read_in_turn():
    stream = io.BytesIO(pickle.dumps([1], 2) + pickle.dumps("two", 2) + b"rest")
    values = [
        read_pickle(stream, "a", {}, error=ModelError, needed_by="list", fix="no") for _ in range(2)
    ]
    assert values == [[1], "two"]
    assert stream.read() == b"rest"


def test_other_names_are_refused_in_one_line():
    message = r"^a.bin: refused, because this pickle calls 'os.system', which no shop needs; get it"
    with pytest.raises(ModelError, match=message):
        read(b"\x80\x02cos\nsystem\n.")


def test_persistent_ids_go_to_the_caller_alone():
    data = b"\x80\x02K\x09Q."
    assert read(data, resolve=lambda pid: pid + 1) == 10
    with pytest.raises(ModelError, match=r"damaged or truncated \(UnpicklingError\); get it again"):
        read(data)


@looped("target", [b"cshop\nmade\n", b"cshop\nItem\n", b"]", b"}"])
@looped("state", [b"N}U\x0c__defaults__K\x01\x85s\x86", b"}U\x01xK\x01s"])
def test_nothing_but_an_instance_receives_a_state(target, state):
    """The original reader sets attributes of functions and classes, for the rest of the process."""
    before = (made.__defaults__, dict(vars(made)), dict(vars(Stored)))
    with pytest.raises(ModelError, match="damaged or truncated"):
        read(b"\x80\x02" + target + state + b"b.")
    assert (made.__defaults__, dict(vars(made)), dict(vars(Stored))) == before


@pytest.mark.parametrize("size", [2**33, 2**62])
def test_a_size_in_the_file_takes_no_memory(size):
    data = b"\x80\x05\x96" + size.to_bytes(8, "little") + b"."
    tracemalloc.start()
    with pytest.raises(ModelError, match="damaged or truncated"):
        read(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


def test_extensions_of_this_process_are_not_used(monkeypatch):
    import copyreg

    monkeypatch.setitem(copyreg._extension_cache, 200, print)
    data = b"\x80\x02\x82\xc8."
    assert pickle.loads(data) is print
    with pytest.raises(ModelError, match="damaged or truncated"):
        read(data)
