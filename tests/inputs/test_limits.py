from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from cli_samples import fail, hashkit, succeed
from looped import looped

import hashkit as package
from hashkit.cli.limit_option import parse_limits
from hashkit.errors import ConfigError
from hashkit.inputs.limits import LIMITS, Limits, TooLargeError, check_limit, limits, set_limits

PAGE = (Path(__file__).parents[2] / "docs" / "trust.md").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def _restored():
    before = dataclasses.asdict(limits())
    yield
    set_limits(**before)


def test_a_limit_is_changed_and_restored():
    before = set_limits(json_bytes=5)
    assert before == Limits()
    assert limits() == dataclasses.replace(before, json_bytes=5)
    assert set_limits(**dataclasses.asdict(before)).json_bytes == 5
    assert limits() == before
    assert package.set_limits is set_limits


@looped("value", [0, -1, 1.5, True, "5"])
def test_a_limit_is_a_whole_number(value):
    with pytest.raises(ConfigError, match="`json_bytes` must be a whole number from 1, not"):
        set_limits(json_bytes=value)
    assert limits() == Limits()


def test_the_message_says_how_to_raise_the_limit():
    set_limits(array_bytes=1000)
    check_limit("array_bytes", 1000, "the array", "a.npz")
    check_limit("array_bytes", 2000, "the array", "a.npz", on_disk=2000)
    with pytest.raises(TooLargeError) as caught:
        check_limit("array_bytes", 1001, "the array", "a.npz", on_disk=7)
    assert caught.value.filename == "a.npz"
    assert caught.value.strerror == (
        "the array has 1,001 bytes, more than the 1,000 allowed; if you trust it, raise the limit "
        "with `hashkit.set_limits(array_bytes=1001)`"
    )


def test_every_command_takes_limits(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    said = fail(f"info {tmp_path} --limit json-bytes=1")
    assert "the file has 2 bytes, more than the 1 allowed; if you trust it, raise the" in said
    assert "limit with --limit json-bytes=2" in said
    assert limits() == Limits()
    for command in package_commands():
        assert "--limit NAME=N" in succeed(f"{command} --help").stdout
    assert hashkit("doctor --limit").exit_code == 2


def package_commands():
    from cli_samples import COMMANDS

    return COMMANDS


@looped(
    ("text", "message"),
    [
        ("json=5", "expected NAME=N with a NAME of image-pixels, .*, found 'json=5'"),
        ("json-bytes", "expected a whole number from 1 after =, found 'json-bytes'"),
        ("json-bytes=0", "expected a whole number from 1"),
        ("json-bytes=-5", "expected a whole number from 1"),
        ("json-bytes=1e9", "expected a whole number from 1"),
        ("json-bytes=" + "9" * 5000, "expected a whole number from 1"),
        ("json-bytes=²", "expected a whole number from 1"),
    ],
)
def test_a_wrong_limit_is_a_one_line_error(text, message):
    with pytest.raises(ConfigError, match=message):
        parse_limits([text])


def test_the_page_lists_all_limits():
    rows = [line for line in PAGE.splitlines() if line.startswith("| `")]
    for field in dataclasses.fields(Limits):
        name = f"`{field.name.replace('_', '-')}`"
        row = next(row for row in rows if row.startswith(f"| {name} |"))
        assert row.split(" | ")[1] == f"{field.default:,}"
    assert set(LIMITS) == {field.name for field in dataclasses.fields(Limits)}
