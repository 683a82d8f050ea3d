from __future__ import annotations

import io
import pickle
from collections import OrderedDict

import numpy as np
import pytest
import torch
from house import ROOT
from looped import looped

from hashkit.errors import ModelError
from hashkit.inputs.torch_weights import read_torch_weights


def saved(tensors, **options):
    stream = io.BytesIO()
    torch.save(tensors, stream, _use_new_zipfile_serialization=False, **options)
    return stream.getvalue()


def read(data):
    return read_torch_weights(data, "w.pth", error=ModelError, fix="get it again")


def small():
    whole = torch.arange(24.0).reshape(2, 3, 4)
    return OrderedDict(
        plain=whole,
        part=whole[1:, :, 1:3],  # of the same storage
        turned=whole.permute(2, 0, 1),
        channels_last=torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        count=torch.tensor(7),
        none=torch.zeros(0, 3),
        learned=torch.nn.Parameter(torch.ones(3)).detach(),
    )


def test_tensors_are_those_of_torch():
    tensors = small()
    ours = read(saved(tensors))
    assert list(ours) == list(tensors)
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(ours[name], tensor.numpy(), strict=True)
        assert not ours[name].flags.writeable


def test_the_golden_file_is_read():
    """Written by torch.save, and kept for versions of torch that no longer write this format."""
    ours = read((ROOT / "tests/golden/torch-first-format.pth").read_bytes())
    whole = np.arange(6, dtype=np.float32).reshape(2, 3)
    expected = {"whole": whole, "part": whole[:, 1:], "turned": whole.T, "count": np.array(7)}
    assert list(ours) == list(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(ours[name], array, strict=True)


def test_the_weights_of_a_module_are_read():
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    ours = read(saved(module.state_dict()))  # which has the versions of its modules as its state
    assert {name: value.shape for name, value in ours.items()} == {
        name: tuple(value.shape) for name, value in module.state_dict().items()
    }


@looped(
    ("content", "message"),
    [
        ({"a": torch.zeros(2)}, "expected tensors by name"),
        (OrderedDict(a=3), "a tensor is damaged"),
        (
            OrderedDict(a=torch.zeros(2, dtype=torch.float64)),
            "calls 'torch.DoubleStorage', which no file",
        ),
        (torch.nn.Linear(2, 2), "refused, because this pickle calls 'torch.nn.modules.linear"),
        (OrderedDict(a=torch.zeros(1).expand(10**6)), "a tensor is damaged, or more than its sto"),
    ],
)
def test_other_contents_are_refused_in_one_line(content, message):
    with pytest.raises(ModelError, match=rf"^w.pth: .*{message}.*; get it again$"):
        read(saved(content))


def test_other_formats_are_refused():
    stream = io.BytesIO()
    torch.save(OrderedDict(a=torch.zeros(2)), stream)
    with pytest.raises(ModelError, match="found a zip archive; get it again"):
        read(stream.getvalue())
    with pytest.raises(ModelError, match="found another pickle; get it again"):
        read(pickle.dumps(1))
    with pytest.raises(ModelError, match="damaged or truncated"):
        read(b"no pickle")


def test_every_truncation_is_an_error():
    data = saved(small())
    for n_bytes in range(0, len(data), 7):
        with pytest.raises(ModelError):
            read(data[:n_bytes])
    with pytest.raises(ModelError, match="the storages are damaged or truncated"):
        read(data[:-1])


def test_damage_is_an_error_or_gives_arrays():
    data, rng, messages = saved(small()), np.random.default_rng(0), []
    for _ in range(300):
        damaged = bytearray(data)
        for place in rng.integers(len(data), size=rng.integers(1, 5)):
            damaged[place] = rng.integers(256)
        try:
            arrays = read(bytes(damaged))
        except ModelError as error:
            messages.append(str(error))
        else:
            assert sum(int(np.size(array)) for array in arrays.values()) < 10**4
    assert 50 < len(messages) < 300
    assert not any("\n" in message for message in messages)
