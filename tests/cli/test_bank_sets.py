"""Commands on a bank set print what they print of one bank of the same rows."""

from __future__ import annotations

import json

import pytest
from bank_samples import rows_of
from cli_samples import fail, succeed
from set_samples import set_of

import hashkit


@pytest.fixture(scope="module")
def banks(tmp_path_factory):
    """A bank, and a set of five shards of the same rows."""
    codes, names, labels = rows_of(range(60))
    codes = hashkit.CodeSet(codes, 20, labels % 3, names, ("ant", "bee", "cat"))
    return set_of(tmp_path_factory.mktemp("banks"), codes, 5)


def test_search_and_evaluate_answer_as_on_one_bank(banks):
    one, several = banks
    for command in (
        "search --row 30 --row 3 --k 60 --json --bank",
        "search --name 37.png --radius 9 --exclude-self --json --bank",
        f"evaluate {one} --json",
    ):
        if "37" in command:
            name = rows_of([37])[1][0]
            command = command.replace("37.png", name)
        expected = json.loads(succeed(f"{command} {one}").stdout)
        found = json.loads(succeed(f"{command} {several}").stdout)
        assert found == expected


def test_info_of_a_set_adds_up_its_shards(banks):
    one, several = banks
    expected, found = json.loads(succeed(f"info {one} {several} --json").stdout)["paths"]
    same = ("bits", "n_rows", "n_deleted", "labels", "classes", "has_names", "model_sha256")
    assert {name: found[name] for name in same} == {name: expected[name] for name in same}
    assert [shard["first_row"] for shard in found["shards"]] == [0, 10, 20, 30, 40]
    assert "5, of 10 to 11 rows" in succeed(f"info {several}").stdout


def test_a_bank_is_cut_and_joined(banks, tmp_path):
    one, _ = banks
    cut, joined = tmp_path / "cut", tmp_path / "joined.h5"
    shown = json.loads(succeed(f"convert {one} {cut} --shards 3 --json").stdout)
    assert shown["n_rows"] == 51
    assert shown["n_bytes"] == sum(path.stat().st_size for path in cut.glob("*.h5"))
    succeed(f"convert {cut} {joined}")
    found, expected = hashkit.Bank.open(joined), hashkit.Bank.open(one)
    assert found.codes.tolist() == expected.codes.tolist()
    assert list(found.names) == list(expected.names)
    assert "exists already" in fail(f"convert {one} {cut} --shards 3")
    assert "found a folder without bankset.json" in fail(f"search --row 1 --bank {tmp_path}")
