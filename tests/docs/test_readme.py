"""Commands on the pages parse, Python code compiles, and links work."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import numpy as np
import pytest
from cli_samples import check_parses, shell_lines, succeed, write_digit
from small_models import linear_model

from hashkit.runs.data_spec import DataSpec
from hashkit.runs.run import Run
from hashkit.runs.run_config import RunConfig

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path.relative_to(ROOT).as_posix() for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
)
PYTHON = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def anchors(text: str) -> set[str]:
    """Anchors of a page's headings, as on GitHub."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in headings}


def broken_links(page: str, text: str) -> list[str]:
    """Relative links of a page without a target file or heading."""
    broken = []
    for link in LINK.findall(text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        is_there = target.exists()
        if is_there and anchor:
            is_there = anchor in anchors(target.read_text(encoding="utf-8"))
        if not is_there:
            broken.append(link)
    return broken


def test_every_command_parses():
    for page in PAGES:
        for line in shell_lines(text_of(page)):
            check_parses(line)


def test_every_relative_link_works():
    broken = {page: broken_links(page, text_of(page)) for page in PAGES}
    assert {page: links for page, links in broken.items() if links} == {}


def test_all_python_compiles_and_its_imports_exist():
    blocks = [(page, block) for page in PAGES for block in PYTHON.findall(text_of(page))]
    for page, block in blocks:
        for node in ast.walk(ast.parse(block, page)):
            if isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] == "hashkit":
                module = importlib.import_module(node.module)
                for alias in node.names:
                    assert hasattr(module, alias.name), f"{page}: {node.module}.{alias.name}"
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "hashkit":
                assert hasattr(importlib.import_module("hashkit"), node.attr), node.attr


@pytest.mark.parametrize("page", ["README.md"])
def test_the_python_of_the_readme_runs(page, tmp_path, monkeypatch):
    blocks = PYTHON.findall(text_of(page))
    monkeypatch.chdir(tmp_path)
    run = Run.create(tmp_path / "runs", "a", RunConfig(data=DataSpec()))
    linear_model(run.model_path, height=8, width=8)
    succeed("encode")
    for path in run.path.iterdir():  # the page uses these names in the current folder
        path.replace(tmp_path / path.name)
    write_digit(3, tmp_path / "img.png")
    names: dict = {"np": np}
    for block in blocks:
        exec(compile(block, page, "exec"), names)  # noqa: S102


def test_commands_code_and_links_are_found():
    assert {"README.md", "docs/cli.md", "docs/datasets.md"} <= set(PAGES)
    assert sum(len(shell_lines(text_of(page))) for page in PAGES) > 20
    assert sum(len(PYTHON.findall(text_of(page))) for page in PAGES) > 3
    assert sum(len(LINK.findall(text_of(page))) for page in PAGES) > 10


def test_mistakes_are_detected():
    page = "see\n\n    hashkit train --bits 4 \\\n        --no-such\n\n```sh\n$ hashkit fly\n```\n"
    assert shell_lines(page) == ["hashkit fly", "hashkit train --bits 4          --no-such"]
    for line in shell_lines(page):
        with pytest.raises(AssertionError):
            check_parses(line)
    text = "[a](docs/none.md) [b](#nowhere) [c](README.md) [d](https://example.org/x)"
    assert broken_links("README.md", text) == ["docs/none.md", "#nowhere"]
