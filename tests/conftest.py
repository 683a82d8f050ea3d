from __future__ import annotations

import functools
import gc
import os
import re
import sys
from pathlib import Path

import pytest
from hypothesis import settings

# Tests that import ONNX Runtime directly send no telemetry either.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# Each core runs one process of tests: more threads wait for each other, which costs CPU time.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

# No deadline: on a busy machine an example may take any time. A fifth of the usual number of
# examples keeps the suite fast; a test that needs more says so.
settings.register_profile("hashkit", deadline=None, max_examples=20)
settings.load_profile("hashkit")


# The mark of a whole file, alone or first in a list.
WHOLE_FILE_MARKED = re.compile(r"^pytestmark = \[?\s*pytest\.mark\.end_to_end\b", re.MULTILINE)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out files with no selected test: each process would import them and what they import.

    Files named on the command line are always collected.
    """
    chosen = config.option.markexpr
    if collection_path.suffix != ".py" or "end_to_end" not in chosen:
        return None
    text = collection_path.read_text(encoding="utf-8")
    if chosen.startswith("end_to_end and "):
        return "end_to_end" not in text or None
    if chosen.startswith("not end_to_end and "):
        return WHOLE_FILE_MARKED.search(text) is not None or None
    return None


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Keep the garbage collector off objects that imports create: those of torch cost 100 ms."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


@pytest.fixture(autouse=True, scope="session")
def _without_fsync():
    """Make fsync do nothing, as it protects from power cuts only.

    A new bank waits for it four times, up to 10 ms each. Processes that tests start do fsync.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(autouse=True, scope="session")
def _one_torch_thread():
    """Keep torch at one thread: more are slower on tiny tensors, and change some sums.

    With two, each waits for the other in a loop; a test that loaded a model to measure left its
    process with as many as there are CPUs. Torch is not imported here; the test modules that need
    it have already imported it.
    """
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "set_num_threads", lambda _: None)
        yield


@pytest.fixture(autouse=True, scope="session")
def _operators_of_the_exporter_are_compiled_once():
    """Cache the list of 500 onnxscript operators that torch.onnx builds again for each export.

    Building it takes a third of the time of a small export. Nothing is imported here if no test
    module imports the exporter.
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
    """Register the network of training_samples.py as ``tiny`` for one test."""
    from training_samples import TINY, add_network

    add_network(monkeypatch, "tiny", TINY)
