"""The site has every page, every public name and every command; a drift is an error."""

from __future__ import annotations

import importlib
import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from cli_samples import COMMANDS
from looped import looped

import hashkit

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
sys.path.insert(0, str(DOCS / "hooks"))

import command_options  # noqa: E402
import site_pages  # noqa: E402

CLI_PAGE = (DOCS / "cli.md").read_text(encoding="utf-8")
STABILITY = (DOCS / "stability.md").read_text(encoding="utf-8")
OBJECT = re.compile(r"^::: (\S+)$", re.MULTILINE)


def nav_pages() -> list[str]:
    """Pages of the site's navigation, in its order."""

    class Loader(yaml.SafeLoader):
        """A loader that passes over tags of Python objects."""

    Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    found: list[str] = []

    def collect(entry: object) -> None:
        if isinstance(entry, str):
            found.append(entry)
        elif isinstance(entry, dict):
            for value in entry.values():
                collect(value)
        else:
            for value in entry:
                collect(value)

    collect(yaml.load(text, Loader)["nav"])  # noqa: S506 - a subclass of the safe loader
    return found


def reference_objects() -> set[str]:
    """Objects that the pages of the reference name."""
    pages = sorted((DOCS / "reference").glob("*.md"))
    return {name for page in pages for name in OBJECT.findall(page.read_text(encoding="utf-8"))}


def stable_names() -> dict[str, list[str]]:
    """Names by module, of the table in docs/stability.md; ``all`` stands for `__all__`."""
    rows = re.findall(r"^\| `(hashkit[\w.]*)` \| (.*) \|$", STABILITY, re.MULTILINE)
    return {
        module: importlib.import_module(module).__all__
        if names == "all"
        else re.findall(r"`(\w+)`", names)
        for module, names in rows
    }


# Pages


def test_the_navigation_has_every_page_once():
    pages = {
        path.relative_to(DOCS).as_posix()
        for path in DOCS.rglob("*.md")
        if "results" not in path.relative_to(DOCS).parts[:-1]
    }
    listed = nav_pages()
    assert len(listed) == len(set(listed))
    assert set(listed) == pages | set(site_pages.ROOT_PAGES.values())


def test_every_page_of_the_root_is_on_the_site():
    assert set(site_pages.ROOT_PAGES) == {path.name for path in ROOT.glob("*.md")}


@looped(
    ("uri", "text", "expected"),
    [
        ("index.md", "[a](docs/cli.md#x) [b](LICENSE)", "[a](cli.md#x) b"),
        ("index.md", "[![p](docs/images/w.png)](docs/web.md)", "[![p](images/w.png)](web.md)"),
        ("cli.md", "[a](metrics.md) [b](#c) [c](https://d.e/f)", None),
        ("cli.md", "[a](../README.md) [b](../toolkit/codes.py)", "[a](index.md) b"),
        ("reference/search.md", "[a](../cli.md#hashkit-search)", None),
        ("contributing.md", "[a](ARCHITECTURE.md) [b](README.md#c)", None),
    ],
)
def test_links_of_the_repository_become_those_of_the_site(uri, text, expected):
    if uri == "contributing.md":
        expected = "[a](architecture.md) [b](index.md#c)"
    assert site_pages.site_links(text, uri) == (expected or text)


# Python


def test_every_public_name_is_in_the_reference():
    assert {f"hashkit.{name}" for name in hashkit.__all__} <= reference_objects()


def test_every_object_of_the_reference_exists_and_is_stable():
    stable = {f"{module}.{name}" for module, names in stable_names().items() for name in names}
    for name in reference_objects():
        parent, _, attribute = name.rpartition(".")
        is_module = f"{name}." in {key[: len(name) + 1] for key in stable}
        assert is_module or hasattr(importlib.import_module(parent), attribute), name
        assert is_module or name in stable, name


def test_the_stable_names_are_the_public_ones_and_exist():
    names = stable_names()
    assert names["hashkit"] == hashkit.__all__
    assert len(names) > 8
    for module, listed in names.items():
        assert listed, module
        assert set(listed) <= set(importlib.import_module(module).__all__), module


def test_every_stable_name_is_in_the_reference():
    shown = reference_objects()
    for module, listed in stable_names().items():
        assert module in shown or {f"{module}.{name}" for name in listed} <= shown, module


def test_the_versions_agree():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    releases = re.findall(r"^## \[(\d\S*)\] - (\d{4}-\d\d-\d\d)$", changes, re.MULTILINE)
    assert project["version"] == hashkit.__version__ == citation["version"] == releases[0][0]
    assert str(citation["date-released"]) == releases[0][1]
    assert citation["license"] == project["license"]


# Commands


def test_the_tables_of_a_command_have_every_option_with_its_help():
    for command in COMMANDS:
        tables = command_options.option_tables(command)
        rows = [line.strip("| ").split(" | ") for line in tables.splitlines()]
        flags = [flag for row in rows for flag in re.findall(r"`(--[\w-]+)", row[0])]
        params = [param for param in COMMANDS[command].params if param.name != "help"]
        known = [
            flag
            for param in params
            for flag in [*param.opts, *param.secondary_opts]
            if flag.startswith("--")
        ]
        assert flags == known
        for param in params:
            assert param.help.replace("|", "\\|") in tables


def test_the_tables_give_defaults_and_kinds_of_values():
    train = command_options.option_tables("train")
    assert "| `--bits BITS,...` | `48` |" in train
    assert "| `--seed N` | `0` |" in train
    assert "| `--cutout X` | `0.25` |" in train
    assert "| `--nesterov`, `--no-nesterov` | yes |" in train
    assert "| `--precision NAME` | `fp32` |" in command_options.option_tables("export")
    search = command_options.option_tables("search")
    assert "| `--num-workers N` | one per core |" in search
    assert "| `BANK...` | required |" in command_options.option_tables("index")


def test_the_page_is_filled_with_the_tables_of_every_command():
    filled = command_options.fill_in(CLI_PAGE)
    assert "<!-- options:" not in filled
    for command in COMMANDS:
        assert command_options.option_tables(command) in filled
        section = filled.partition(f"\n## hashkit {command}\n")[2].partition("\n## ")[0]
        assert command_options.option_tables(command) in section


def test_a_command_without_a_mark_is_an_error():
    with pytest.raises(ValueError, match="expected one mark"):
        command_options.fill_in(CLI_PAGE.replace("<!-- options: info -->", ""))
    with pytest.raises(ValueError, match="expected one mark"):
        command_options.fill_in(CLI_PAGE + "\n<!-- options: info -->\n")


# Paths that pages name


def test_files_named_by_the_guide_for_contributors_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    folders = "toolkit|exporters|runtimes|datasets|tests|docs|examples|.ci|.github"
    named = set(re.findall(rf"`((?:{folders})/[\w./-]*)`", text))
    assert len(named) > 20
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_dictionaries_named_by_the_guide_for_contributors_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([A-Z][A-Z_]{5,})`", text))
    assigned = {
        name
        for folder in ("toolkit", "exporters", "runtimes", "datasets")
        for path in (ROOT / folder).rglob("*.py")
        for name in re.findall(
            r"^([A-Z][A-Z_]+)(?:: .+?)? = ", path.read_text("utf-8"), re.MULTILINE
        )
    }
    assert {"NETWORKS", "FORMATS"} <= named
    assert named - assigned <= {"DRY_RUN", "CIFAR10", "SUBJECTS", "SCENES"}
