"""Every value from a file is read through `hashkit.inputs`, so no reader can forget a check."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator

from house import MODULES, tree_of
from looped import looped

READERS = {
    "json.load": set(),
    "json.loads": {
        "hashkit.inputs.json_text",
        # Messages between a process and one that it started, both of the same program:
        "hashkit.runtimes.measuring.process",
        "hashkit.runtimes.measuring.worker",
    },
    "np.load": {
        # Large arrays that this process wrote, mapped:
        "hashkit.runtimes.measuring.measuring",
        "hashkit.runtimes.answers",
    },
    "np.loadtxt": set(),
    "np.genfromtxt": set(),
    "np.fromfile": set(),
    "pickle.load": set(),
    "pickle.loads": set(),
    "struct.unpack": {"hashkit.inputs.binary", "hashkit.imaging.jpeg"},
}
"""Functions that read without checks, and the modules that may call them."""


def calls(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """The functions that a module calls by a dotted name, with their lines."""
    for node in ast.walk(tree):
        function = node.func if isinstance(node, ast.Call) else None
        if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
            yield f"{function.value.id}.{function.attr}", function.lineno


@functools.cache
def callers() -> dict[str, set[str]]:
    """Modules by the functions that they call."""
    found: dict[str, set[str]] = {}
    for module, path in MODULES.items():
        for called, _ in calls(tree_of(path)):
            found.setdefault(called, set()).add(module)
    return found


@looped("name", READERS)
def test_unchecked_readers_are_called_where_they_belong(name: str) -> None:
    assert callers().get(name, set()) == READERS[name]


def test_a_call_would_be_noticed() -> None:
    assert list(calls(ast.parse("import json\nx = json.loads(text)['a']\n"))) == [("json.loads", 2)]
