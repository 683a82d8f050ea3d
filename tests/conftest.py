from __future__ import annotations

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


@pytest.fixture
def tiny_network(monkeypatch):
    """Let settings name the network of training_samples.py, for one test."""
    from training_samples import TINY

    from hashkit.training.networks import NETWORKS

    monkeypatch.setitem(NETWORKS, "tiny", TINY)
