"""Who may import whom, and what the tree may not contain."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from house import (
    FOLDERS,
    MODULES,
    ROOT,
    Import,
    all_imports,
    circles_of,
    drawing,
    floors_of,
    imports_of,
    module_graph,
    room_graph,
    room_of,
    tree_of,
)
from looped import looped

import hashkit

FLOORS = (
    {"distribution", "messages", "signals"},
    {"errors"},
    {"inputs"},
    {"_version", "files", "meter", "overlap"},
    {"codes", "kernels", "manifest", "model_names", "rows_digest", "threads"},
    {"codesets", "imaging", "machine"},
    {"preprocess"},
    {"bank", "baselines", "multi_index", "runs"},
    {"bank_set"},
    {"datasets", "evaluation", "formats", "retrieval"},
    {"runtimes"},
    {"features"},
    {"training"},
    {"exporters", "report"},
    {"collection"},
    {"workflow"},
    {"cluster", "server"},
    {"cli"},
)
"""Rooms from the ground up. A room imports rooms of lower floors alone."""

FLOOR_OF = {room: number for number, floor in enumerate(FLOORS) for room in floor}

# Packages that only some rooms, or some modules of a room, may import; nothing else may, not even
# lazily.
CONFINED = {
    "torch": {"training", "exporters"},
    "safetensors": {"features", "runs", "training"},
    "torchvision": {"training"},
    "timm": {"training"},
    "onnx": {"exporters", "features", "runtimes"},
    "onnxscript": {"exporters"},
    "onnxruntime": {"runtimes", "exporters"},
    "openvino": {"runtimes"},
    "typer": {"cli"},
    "rich": {"cli"},
    "h5py": {"formats.matlab", "bank"},
    "pydantic": {"report"},
    "pydantic_core": {"inputs.schema"},
    "filelock": {"bank", "files.locking"},
    "PIL": {
        "collection",
        "exporters.web",
        "features.views",
        "imaging",
        "preprocess",
        "report.gallery",
        "runtimes",
    },
    "sklearn": {"datasets", "baselines"},
    "numba": {"kernels"},
    "pillow_heif": {"imaging"},
    "llvmlite": {"kernels"},
    "faiss": {"formats"},
    "fsspec": {"files.remote"},
    "lance": {"formats.lance"},
    "pyarrow": {"formats", "inputs.pyarrow_import"},
    "jinja2": {"report"},
    "h11": {"server"},
    "ray": {"cluster.ray_engine"},
    "wandb": {"training"},
    "prometheus_client": {"server"},
    "starlette": {"server"},
    "uvicorn": {"server"},
    "watchfiles": {"collection.watching"},
}

ALWAYS = {"numpy", *CONFINED}


@functools.cache
def every_import() -> list[Import]:
    """Every import of the package, read once and only where these tests run."""
    return all_imports()


def wrong_direction(one: Import) -> bool:
    """Whether an import goes up, or sideways into another room."""
    if one.module == "hashkit" or one.top != "hashkit":
        return False
    if one.target == "hashkit":  # `hashkit.Bank` inside the package would hide a direction
        return True
    here, there = room_of(one.module), room_of(one.target)
    return here != there and FLOOR_OF[there] >= FLOOR_OF[here]


def out_of_bounds(one: Import) -> bool:
    """Whether an import is of a package that is confined to other places."""
    if one.top not in CONFINED:
        return False
    return not any(f"{one.module}.".startswith(f"hashkit.{place}.") for place in CONFINED[one.top])


# Directions


def test_the_floors_hold_every_room_once():
    assert sum(map(len, FLOORS)) == len(FLOOR_OF)
    assert set(FLOOR_OF) == {room_of(module) for module in MODULES if module != "hashkit"}


def test_nothing_imports_upwards():
    assert [one for one in every_import() if wrong_direction(one)] == []


def test_packages_stay_where_they_belong():
    assert [one for one in every_import() if out_of_bounds(one)] == []


def test_nothing_else_is_imported_than_what_is_declared():
    allowed = {"hashkit", *ALWAYS, *sys.stdlib_module_names}
    assert {one.top for one in every_import()} <= allowed


def test_the_folders_are_never_imported_by_their_bare_names():
    bare = re.compile(rf"^\s*(?:from|import) (?:{'|'.join(FOLDERS)})\b.*$", re.MULTILINE)
    assert bare.search("def f():\n    from runtimes.encoder import Encoder")
    tests = sorted((ROOT / "tests").rglob("*.py"))
    assert len(tests) > 100
    assert [bare.findall(path.read_text(encoding="utf-8")) for path in tests] == [[]] * len(tests)
    assert [one for one in every_import() if one.top in FOLDERS] == []


def test_no_circles_between_rooms_or_modules():
    """Imports inside functions and for types alone count, too."""
    assert circles_of(room_graph(every_import())) == []
    assert circles_of(module_graph(every_import())) == []


def test_a_circle_would_be_noticed():
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}
    assert circles_of(graph) == [["b", "c"]]
    assert floors_of(graph) == [["b", "c"], ["a"], ["d"]]
    assert circles_of({"a": {"b"}, "b": set()}) == []


def test_the_house_can_be_printed():
    printed = drawing(room_graph(every_import())).splitlines()
    assert " 0 circles" in printed[0]
    assert "  meter -> nothing" in printed


@looped(
    ("module", "line"),
    [
        ("hashkit.codes", "from hashkit.bank.reader import Bank"),
        ("hashkit.workflow.models", "def f():\n    from hashkit.cli.console import note"),
        ("hashkit.runs.config", "from hashkit.training.losses import LOSSES"),
        ("hashkit.bank.layout", "from hashkit import Bank"),
        ("hashkit.datasets.sets", "from hashkit.training.augment import augment"),
        ("hashkit.runtimes.encoder", "from hashkit.training import model"),
        ("hashkit.retrieval.search", "import hashkit.formats"),
        (
            "hashkit.evaluation.evaluator",
            "def f():\n    from hashkit.datasets.sets import open_image_set",
        ),
        ("hashkit.codesets", "if TYPE_CHECKING:\n    from hashkit.bank.reader import Bank"),
    ],
)
def test_a_wrong_direction_would_be_noticed(module, line):
    (one,) = imports_of(module, ast.parse(line), "somewhere")
    assert wrong_direction(one)


@looped(
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
    (one,) = imports_of(module, ast.parse(line), "somewhere")
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
        "BankSet",
        "BankWriter",
        "CodeSet",
        "Duplicates",
        "Encoder",
        "HashkitError",
        "Manifest",
        "MultiIndex",
        "Neighbours",
        "Pair",
        "Ranking",
        "Report",
        "Run",
        "SyncReport",
        "__version__",
        "add",
        "codes",
        "delete_rows",
        "encode",
        "encode_shards",
        "errors",
        "evaluate",
        "export",
        "find_duplicates",
        "open_codes",
        "pairs",
        "restore_rows",
        "resume",
        "save_codes",
        "search",
        "set_limits",
        "sync",
        "train",
        "warm_up",
    ]
    assert dir(hashkit) == sorted(hashkit.__all__)
    for name in hashkit.__all__:
        assert getattr(hashkit, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = hashkit.nothing


def test_every_module_says_what_it_is_and_gives():
    for module, path in MODULES.items():
        tree = tree_of(path)
        assert ast.get_docstring(tree), module
        assigned = [
            target.id
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        ]
        empty_package = path.name == "__init__.py" and len(tree.body) <= 2
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
    """Parts of a text that may not be in the tree."""
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
