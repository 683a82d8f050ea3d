"""Where kernels are kept, and that they are found where this process cannot write."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from numba.core import caching, config

from hashkit.kernels.cache import CACHES

pytestmark = pytest.mark.end_to_end

SOURCE = """
from hashkit.kernels.compiling import kernel

@kernel
def twice(number):
    return 2 * number
"""


@pytest.fixture
def twice(tmp_path):
    """A function that makes a kernel, calls it and returns its cache."""
    path = tmp_path / "source" / "doubling.py"
    path.parent.mkdir()
    path.write_text(SOURCE, encoding="utf-8")

    def make():
        spec = importlib.util.spec_from_file_location("doubling", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        assert module.twice(4) == 8
        return CACHES.pop()

    return make


def forbid_writing(monkeypatch):
    """Make all folders read-only, for root too."""

    def refuse(_):
        raise PermissionError(13, "Read-only file system")

    monkeypatch.setattr(caching._CacheLocator, "ensure_cache_path", refuse)


@pytest.mark.parametrize("given", [False, True])
def test_kept_kernels_are_found_where_nothing_can_be_written(twice, given, tmp_path, monkeypatch):
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "given") if given else "")
    first = twice()
    assert (first.n_loaded, first.n_compiled, first.is_kept) == (0, 1, True)
    expected = tmp_path / ("given" if given else "source/__pycache__")
    assert Path(first.found_in).is_relative_to(expected)
    forbid_writing(monkeypatch)
    second = twice()
    assert (second.n_loaded, second.n_compiled, second.is_new) == (1, 0, False)
    assert second.cache_path is None
    assert second.found_in == first.found_in


def test_kernels_work_where_none_are_kept_and_none_can_be_written(twice, monkeypatch):
    monkeypatch.setattr(config, "CACHE_DIR", "")
    forbid_writing(monkeypatch)
    alone = twice()
    assert (alone.n_loaded, alone.n_compiled, alone.is_kept) == (0, 1, False)
    assert alone.is_new


def test_damaged_kernels_are_compiled_again(twice, monkeypatch):
    monkeypatch.setattr(config, "CACHE_DIR", "")
    for path in Path(twice().found_in).glob("*.nbc"):
        path.write_bytes(path.read_bytes()[:20])
    again = twice()
    assert (again.n_loaded, again.n_compiled, again.is_kept) == (0, 1, True)
    assert twice().n_loaded == 1


def test_compile_leaves_no_kernel_out():
    script = (
        "import json, sys\n"
        "from numba.core.registry import CPUDispatcher\n"
        "from hashkit.workflow.warm_up import compile_kernels\n"
        "done = compile_kernels()\n"
        "modules = [m for m in list(sys.modules.values()) if 'hashkit.kernels' in m.__name__]\n"
        "used = [name for module in modules for name, value in vars(module).items()\n"
        "        if isinstance(value, CPUDispatcher) and value.signatures]\n"
        "print(json.dumps([used, done.folders]))"
    )
    output = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout
    used, folders = json.loads(output)
    wanted = set()
    for path in (Path(__file__).parents[2] / "toolkit").rglob("*.py"):
        if path.parent.name != "kernels":
            wanted |= kernels_imported(path)
    assert wanted > {"search_tables", "select_rows", "join_by_scan", "add_histograms"}
    assert sorted(wanted - set(used)) == []
    assert all(Path(folder).is_dir() for folder in folders)


def kernels_imported(path: Path) -> set[str]:
    """Names of the kernels that a module imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("hashkit.kernels."):
            module = importlib.import_module(node.module)
            names |= {one.name for one in node.names if hasattr(getattr(module, one.name), "stats")}
    return names


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    done = subprocess.run(
        [sys.executable, "-c", "from hashkit.cli import main; main()", "compile", "--json"],
        env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "file" / "below")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert "below, which cannot be written: set NUMBA_CACHE_DIR" in done.stderr.splitlines()[-1]
