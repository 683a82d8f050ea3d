"""The help and docs/cli.md have the commands and options that exist, and no others."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from cli_samples import COMMANDS, check_parses, shell_lines, succeed
from looped import looped

from hashkit.cli.flags import FLAGS
from hashkit.runs.config import TrainConfig

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")


def options(command: str) -> list:
    """Options of a command, `--help` left out."""
    return [param for param in COMMANDS[command].params if param.param_type_name == "option"]


def flags(command: str) -> set[str]:
    """Long options of a command, negative forms included."""
    found = {
        flag
        for option in options(command)
        for flag in [*option.opts, *option.secondary_opts]
        if flag.startswith("--")
    }
    return found - {"--help"}


def examples(command: str) -> list[str]:
    """The lines of a command's help under Examples."""
    shown = succeed(f"{command} --help").stdout
    _, _, after = shown.partition("Example")
    return [line.strip() for line in after.splitlines() if line.strip().startswith("hashkit ")]


def section(command: str) -> str:
    """The part of the page that is about a command."""
    found = re.search(rf"^## hashkit {command}\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert found, f"docs/cli.md has no section '## hashkit {command}'"
    return found[1]


def test_the_commands_are_these():
    assert list(COMMANDS) == [
        "train",
        "export",
        "encode",
        "sync",
        "dedup",
        "search",
        "serve",
        "evaluate",
        "bench",
        "index",
        "convert",
        "delete",
        "verify",
        "info",
        "doctor",
        "compile",
    ]


@looped("command", COMMANDS)
def test_every_command_has_help_with_examples_that_parse(command):
    shown = examples(command)
    assert shown
    for line in shown:
        check_parses(line)
    assert any(line.startswith(f"hashkit {command}") for line in shown)


def test_every_option_says_what_it_is():
    for command in COMMANDS:
        for param in COMMANDS[command].params:
            if param.name != "help":
                assert param.help, (command, param.name)
                assert param.help.endswith("."), (command, param.name)


def test_a_wrong_example_would_be_noticed():
    for line in ("hashkit train --no-such-option", "hashkit fly", "hashkit search --row x"):
        with pytest.raises(AssertionError):
            check_parses(line)


def test_every_setting_of_training_has_a_flag():
    known = flags("train")
    assert "--size" in known
    for field in {one.name for one in dataclasses.fields(TrainConfig)} - {"height", "width"}:
        flag = FLAGS.get(field, "--" + field.replace("_", "-"))
        assert flag in known
        (option,) = [option for option in options("train") if flag in option.opts]
        assert option.name == field
        assert option.default is None, flag  # so that only what was given is a setting


def test_the_overview_names_every_command():
    shown = succeed("--help").stdout
    for command in COMMANDS:
        assert re.search(rf"^\s*{command} ", shown.replace("│", " "), re.MULTILINE)
    assert "..." not in shown.partition("Commands:")[2]  # no sentence is cut off


def test_the_version_is_printed():
    import hashkit

    assert succeed("--version").stdout == f"hashkit {hashkit.__version__}\n"


def test_the_page_has_a_section_for_each_command_and_no_other():
    assert re.findall(r"^## hashkit (\S+)$", PAGE, re.MULTILINE) == list(COMMANDS)


def test_every_example_of_the_page_parses():
    lines = shell_lines(PAGE)
    assert len(lines) > 15
    for line in lines:
        check_parses(line)
    for command in COMMANDS:
        assert shell_lines(section(command)), command


VALUES = {
    *(
        "BITS",
        "BITS,...",
        "FILE",
        "FOLDER",
        "I/N",
        "IMAGE",
        "IMAGES",
        "MODEL",
        "N",
        "N,...",
        "NAME",
    ),
    *("NAME,...", "NAME=N", "PATH", "PIXELS", "ROWS", "SECONDS", "TEXT", "URL", "X"),
    *("X,...",),
    "module:FILE.py:NAME",
    "move=FOLDER",
}
"""What the help calls the value of an option."""

SEVERAL_MEANINGS = {"--bits", "--k", "--labels", "--network"}
"""Options that take one value in one command, and another or several in another."""


def test_options_name_their_values_in_the_same_words():
    words: dict[str, set[str]] = {}
    for command in COMMANDS:
        for option in options(command):
            if not option.is_flag and option.name != "help":
                assert option.metavar in VALUES, f"{command} {option.opts}"
                words.setdefault(max(option.opts, key=len), set()).add(option.metavar)
    several = {flag for flag, names in words.items() if len(names) > 1}
    assert several == SEVERAL_MEANINGS
