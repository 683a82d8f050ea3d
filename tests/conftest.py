from __future__ import annotations

import functools
import sys

import pytest
from hypothesis import settings

# A busy machine may take any time over an example; what a property says does not depend on it.
settings.register_profile("hashkit", deadline=None)
settings.load_profile("hashkit")


@pytest.fixture(autouse=True, scope="session")
def _one_torch_thread():
    """Keep torch to one thread: on tiny tensors more cost time, and some sums change with them.

    Torch is not imported for it; by now every test module that needs it has done so.
    """
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _operators_of_the_exporter_are_compiled_once():
    """Keep what torch.onnx makes anew for each export, in a third of a small one's time.

    It is a list of 500 operators in onnxscript, the same every time. Where no test module imports
    the exporter, nothing is imported for it.
    """
    if "hashkit.exporters.onnx_export" not in sys.modules:
        yield
        return
    from torch.onnx._internal.exporter._registration import onnxscript_apis as onnxscript

    with pytest.MonkeyPatch.context() as patch:
        operators = functools.cache(onnxscript.get_torchlib_ops)
        patch.setattr(onnxscript, "get_torchlib_ops", operators)
        yield


@pytest.fixture
def tiny_network(monkeypatch):
    """Let settings name the network of training_samples.py, for one test."""
    from training_samples import TINY, add_network

    add_network(monkeypatch, "tiny", TINY)
