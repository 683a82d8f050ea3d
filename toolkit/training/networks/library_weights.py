"""Loading weights of other libraries: nothing in a file of weights is run."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Final

__all__ = ["no_analytics", "only_tensors"]

_ONLY_TENSORS: Final = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
_ANYTHING: Final = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"


@contextlib.contextmanager
def only_tensors() -> Iterator[None]:
    """Let ``torch.load`` unpickle only tensors, whatever the library that calls it asks for.

    Torchvision's weights are pickles, and torchvision would run what they name.
    """
    before = {name: os.environ.pop(name, None) for name in (_ONLY_TENSORS, _ANYTHING)}
    os.environ[_ONLY_TENSORS] = "1"
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def no_analytics() -> None:
    """Keep the Hugging Face libraries, when they are imported, from reporting their use."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
