"""How a command ends after an error, and what it prints where."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_samples import COMMANDS, fail, hashkit, start, succeed, write_digit
from looped import looped

from hashkit.bank.reader import Bank
from hashkit.cli import app as app_module
from hashkit.errors import HashkitError, MissingExtraError
from hashkit.workflow.extras import require

pytestmark = pytest.mark.usefixtures("place")


def usage(command: str) -> str:
    """Run a command whose line is wrong: exit 2, nothing on standard output."""
    outcome = hashkit(command)
    assert outcome.exit_code == 2
    assert outcome.stdout == ""
    assert "Traceback" not in outcome.stderr
    return outcome.stderr


@looped(
    "command",
    ["nothing", "train --no-such-option", "train --steps many", "search", "search --k 3",
     "search --query a --k 0", "search --query a --radius -1", "encode --batch-size 0",
     "encode --part some", "train --num-workers 0", "export a b", "--no-such-option"],
)  # fmt: skip
def test_a_wrong_command_line_is_a_usage_error(command):
    assert "Usage: hashkit" in usage(command)


def test_the_error_for_a_value_without_its_option_names_the_option():
    assert "argument(s) (a.jpg); give it with --query" in usage("search a.jpg")
    for command, option in app_module._FIRST_OPTIONS.items():
        assert any(option in one.opts for one in COMMANDS[command].params)


@pytest.mark.parametrize(
    "command",
    ["train --bits 8 --bits 16", "search --query a --k 1 --k 2", "train --nesterov --no-nesterov"],
)
def test_an_option_of_one_value_is_given_once(command):
    assert "expected the option once, found it 2 times" in usage(command)


def test_options_of_several_values_and_switches_may_be_repeated(banks):
    query = "search --query digits/0000 --query digits/0000 --k 1 --json --json"
    assert len(succeed(query).json["queries"]) == 2


def test_no_command_at_all_shows_the_help():
    outcome = hashkit("")
    assert outcome.exit_code == 2
    assert "\n  search " in outcome.stdout + outcome.stderr


@looped(
    "command", ["train --data nothing", "encode", "export --onnx", "evaluate", "search --query a"]
)
def test_with_json_an_error_prints_nothing_on_standard_output(command):
    # `fail` checks that standard output is empty.
    assert fail(f"{command} --json")


def test_json_is_the_only_thing_on_standard_output(banks):
    for command in ("encode", "evaluate", "search --query digits/0000", "search --query é.png"):
        if command.endswith("é.png"):
            write_digit(1, Path("é.png"))
        outcome = succeed(f"{command} --json")
        assert isinstance(outcome.json, dict)
        assert outcome.stdout.startswith("{\n")
        assert outcome.stdout.endswith("\n}\n")
        assert outcome.stdout.isascii()
    assert outcome.json["queries"][0]["query"] == "é.png"


def test_without_json_notes_are_not_on_standard_output(banks):
    assert succeed("encode").stdout == ""
    shown = succeed("search --query digits/0000 --k 2")
    assert "using the newest run" in shown.stderr
    assert "using the newest run" not in shown.stdout


def test_an_error_of_several_lines_is_printed_as_one(monkeypatch):
    def broken(*_args, **_kwargs):
        raise HashkitError("one\ntwo")

    monkeypatch.setattr("hashkit.workflow.models.find_run", broken)
    assert fail("export --onnx") == "error: one two"


def test_an_error_that_no_user_can_fix_is_raised_unchanged(monkeypatch):
    def broken(*_args, **_kwargs):
        raise ZeroDivisionError

    monkeypatch.setattr("hashkit.workflow.models.find_run", broken)
    with pytest.raises(ZeroDivisionError):
        hashkit("export --onnx")


def test_the_entry_point_ends_as_the_commands_do(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["hashkit", "evaluate"])
    with pytest.raises(SystemExit) as caught:
        app_module.run()
    assert caught.value.code == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == (
        f"error: there is no run below runs{os.sep}: `hashkit train` makes one; name codes "
        "with labels: hashkit evaluate QUERY DATABASE\n"
    )


def test_a_missing_extra_is_a_one_line_error_with_the_command():
    with pytest.raises(MissingExtraError) as caught:
        require("train", "hashkit train", "json", "no_such_package")
    assert str(caught.value) == (
        "hashkit train needs no_such_package, which is not installed: "
        "pip install '.[train]' (in a clone of hashkit)"
    )
    require("train", "hashkit train", "json", "sys")


@pytest.mark.end_to_end
def test_a_closed_pipe_ends_quietly_after_the_files_are_written(banks, tmp_path):
    table = tmp_path / "table.csv"
    command = f"evaluate {banks.queries_path} {banks.bank_path} --json --csv {table}"
    process = start(command, Path.cwd())
    process.stdout.close()
    stderr = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 141
    assert "Traceback" not in stderr
    assert "Exception ignored" not in stderr
    assert len(table.read_text(encoding="utf-8").splitlines()) == 2


def test_what_was_written_stays_after_an_error(banks):
    codes = np.array(Bank.open(banks.bank_path).codes)
    fail("encode --append --overwrite")
    fail("search --query nothing.png")
    assert np.array_equal(Bank.open(banks.bank_path).codes, codes)
    assert json.loads(banks.config_path.read_text())["data"]["data"] == "digits"
