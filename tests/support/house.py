"""Who imports whom: modules, the rooms they are in, and the arrows between rooms.

A room is a folder of the package, or a module at its top level. Imports inside functions and under
``TYPE_CHECKING`` count like all others.

    python tests/support/house.py
"""

from __future__ import annotations

import ast
import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

ROOT = Path(__file__).parents[2]

FOLDERS = {
    "toolkit": "hashkit",
    "exporters": "hashkit.exporters",
    "runtimes": "hashkit.runtimes",
    "datasets": "hashkit.datasets",
}
"""Packages by the folder that holds them."""

Graph: TypeAlias = Mapping[str, set[str]]
"""What each room, or each module, imports."""


@dataclasses.dataclass(frozen=True)
class Import:
    """One import statement: which module makes it, what it names, and where."""

    module: str
    target: str
    where: str

    @property
    def top(self) -> str:
        """The top-level package of the target."""
        return self.target.partition(".")[0]


def module_files(root: Path = ROOT) -> dict[str, Path]:
    """All modules of the package by their dotted name."""
    found = {}
    for folder, package in FOLDERS.items():
        for path in sorted((root / folder).rglob("*.py")):
            parts = path.relative_to(root / folder).with_suffix("").parts
            parts = parts[:-1] if parts[-1] == "__init__" else parts
            found[".".join([package, *parts])] = path
    return found


MODULES = module_files()


@functools.cache
def tree_of(path: Path) -> ast.Module:
    """The syntax tree of a module, parsed once per process; it must not be changed."""
    return ast.parse(path.read_text(encoding="utf-8"))


def imports_of(
    module: str, tree: ast.Module, where: str, modules: Mapping[str, Path] = MODULES
) -> list[Import]:
    """Every import of a module, in functions and under TYPE_CHECKING too."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{where}:{node.lineno}: a relative import"
            # `from hashkit.training import trainer` names a module; `... import Trainer` does not.
            targets = [
                full if (full := f"{node.module}.{alias.name}") in modules else str(node.module)
                for alias in node.names
            ]
        else:
            continue
        found += [Import(module, target, f"{where}:{node.lineno}") for target in targets]
    return found


def all_imports(modules: Mapping[str, Path] = MODULES) -> list[Import]:
    """Every import of all modules."""
    return [
        one
        for module, path in modules.items()
        for one in imports_of(module, tree_of(path), str(path), modules)
    ]


def room_of(module: str) -> str:
    """The room of a module: the part of its name after ``hashkit.``, up to the next dot."""
    return module.split(".")[1] if "." in module else module


def room_graph(imports: list[Import], room: Callable[[str], str] = room_of) -> Graph:
    """Which rooms each room imports; the package's own ``__init__`` counts as a room."""
    graph: dict[str, set[str]] = {}
    for one in imports:
        here = room(one.module)
        graph.setdefault(here, set())
        if one.top == "hashkit" and (there := room(one.target)) != here:
            graph[here].add(there)
            graph.setdefault(there, set())
    return graph


def module_graph(imports: list[Import]) -> Graph:
    """Which modules each module imports."""
    graph: dict[str, set[str]] = {module: set() for module in MODULES}
    for one in imports:
        if one.target in graph and one.target != one.module:
            graph[one.module].add(one.target)
    return graph


def circles_of(graph: Graph) -> list[list[str]]:
    """Groups of two or more names, each of which imports all others, directly or through others."""
    reached = {name: _reached_from(name, graph) for name in graph}
    groups = {
        tuple(sorted({name} | {other for other in reached[name] if name in reached[other]}))
        for name in graph
    }
    return sorted(list(group) for group in groups if len(group) > 1)


def _reached_from(start: str, graph: Graph) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        new = graph[waiting.pop()] - found
        found |= new
        waiting += new
    return found


def floors_of(graph: Graph) -> list[list[str]]:
    """Rooms by their longest chain of imports, shortest first; a circle shares one floor."""
    group_of = {name: (name,) for name in graph}
    for circle in circles_of(graph):
        group_of |= dict.fromkeys(circle, tuple(circle))
    below = {
        group: {group_of[other] for name in group for other in graph[name]} - {group}
        for group in group_of.values()
    }
    heights: dict[tuple[str, ...], int] = {}

    def height(group: tuple[str, ...]) -> int:
        if group not in heights:
            heights[group] = 1 + max(map(height, below[group]), default=-1)
        return heights[group]

    floors: list[list[str]] = [[] for _ in range(1 + max(map(height, below)))]
    for name in sorted(graph):
        floors[heights[group_of[name]]].append(name)
    return floors


def summary(graph: Graph, modules: Mapping[str, Path] = MODULES) -> str:
    """Counts of a house, its circles and its longest file."""
    lengths = {
        path: len(path.read_text(encoding="utf-8").splitlines()) for path in modules.values()
    }
    longest = max(lengths, key=lengths.__getitem__)
    circles = circles_of(graph)
    counts = (
        f"{len(graph)} rooms, {len(floors_of(graph))} floors, "
        f"{sum(map(len, graph.values()))} arrows, {len(circles)} circles, "
        f"longest file {longest.name} of {lengths[longest]} lines"
    )
    return "\n".join([counts, *("circle: " + ", ".join(circle) for circle in circles)])


def drawing(graph: Graph) -> str:
    """The house as text: its summary, and what each room imports, top floor first."""
    lines = [summary(graph)]
    for number, floor in reversed(list(enumerate(floors_of(graph)))):
        lines.append(f"\nfloor {number}")
        lines += [f"  {room} -> {', '.join(sorted(graph[room])) or 'nothing'}" for room in floor]
    return "\n".join(lines)


if __name__ == "__main__":
    print(drawing(room_graph(all_imports())))
