"""Names of the built-in models by the SHA-256 of their files, for messages about their banks."""

from __future__ import annotations

from typing import Final

__all__ = ["BUILTIN_SHA256", "builtin_name", "shown_sha256"]

BUILTIN_SHA256: Final = {
    "phash": "e6ac11869c96420f0336b805b27559b1191c51641721f07cd1ff13b7e39b6417",
    "phash-256": "ca66faedee1b407abc004fbd585c1d8f55bd060503a12a40879da1b51d237ab1",
    "lite0": "d373b4022ed0c44e9e2e797c9a7b8c53e00b704c1948e163cb8fc00407a60407",
    "lite0-256": "607d4da0f147813e549adf3a42ac845ca5b898bc5acd2b295c4fedae5f0dbded",
}
"""SHA-256 of each built-in model. They never change, as banks name them: another version of a model
is another entry, here and in `hashkit.runtimes.builtin.BUILTIN_MODELS`."""

_SHOWN_DIGITS: Final = 12


def builtin_name(sha256: str) -> str | None:
    """Name of the built-in model whose file has this SHA-256; None if there is none."""
    return next((name for name, digest in BUILTIN_SHA256.items() if digest == sha256), None)


def shown_sha256(sha256: str) -> str:
    """A model in a message: the name of a built-in one, otherwise the start of its SHA-256."""
    name = builtin_name(sha256)
    if name is not None:
        return f"the built-in model {name}"
    return f"the model of SHA-256 {sha256[:_SHOWN_DIGITS]}" if sha256 else "an unknown model"
