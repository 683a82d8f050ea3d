"""The reason why torch's exporter failed, with the layer that it failed at.

The exporter wraps the reason in texts about itself, which differ between versions. Reason and layer
are therefore taken from the chain of exceptions and from the frames where they were raised.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import FrameType
from typing import Final

from torch import fx, nn

from hashkit.messages.foreign_errors import root_message

__all__ = ["why_not_traced"]

_NO_ONNX_FUNCTION: Final = re.compile(r"No ONNX function found for <OpOverload\(op='([^']+)'")


def why_not_traced(error: Exception) -> str:
    """Why a network has no ONNX form, in one line: the operator or the error, and the layer."""
    chain = list(_chain(error))
    place = _failing_layer(chain)
    for one in chain:
        if found := _NO_ONNX_FUNCTION.search(str(one)):
            return f"torch's exporter has no ONNX form of the operator {found[1]}{place}"
        if type(one).__name__ == "GuardOnDataDependentSymNode":
            return f"a decision or a size depends on the values of an image{place}"
    return f"{root_message(error)}{place}"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An exception and those that caused it, the first cause last."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__


def _failing_layer(chain: list[BaseException]) -> str:
    """The innermost layer at which one of the exceptions was raised; empty if unknown."""
    for cause in reversed(chain):
        called = ""
        for frame in _frames(cause):
            for value in list(frame.f_locals.values()):
                if isinstance(value, fx.Node) and (layer := _layer(value)):
                    return layer
            module = frame.f_locals.get("self")
            if frame.f_code.co_name == "_call_impl" and _is_layer(module):
                called = f" (in {type(module).__name__})"
        if called:
            return called
    return ""


def _frames(error: BaseException) -> Iterator[FrameType]:
    """Frames of an exception, innermost last."""
    at = error.__traceback__
    while at is not None:
        yield at.tb_frame
        at = at.tb_next


def _layer(node: fx.Node) -> str:
    """Name and class of the layer of a node of the traced graph."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    if not stack:
        return ""
    name, kind = stack[-1]
    # The network is the attribute "model" of the module that is traced.
    name = str(name).removeprefix("model").removeprefix(".")
    kind = kind if isinstance(kind, str) else kind.__name__
    return f" (layer {name or 'network'}, {kind.rpartition('.')[2]})"


def _is_layer(value: object) -> bool:
    """Whether a value is a part of the network, and not of the exporter."""
    exporters = ("torch.export.", "torch.fx.", "torch._", "hashkit.exporters.")
    return isinstance(value, nn.Module) and not type(value).__module__.startswith(exporters)
