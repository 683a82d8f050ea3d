"""Commands on a bank set print what they print for one bank of the same rows."""

from __future__ import annotations

import json
import shutil

import pytest
from bank_samples import rows_of
from cli_samples import fail, succeed, write_class_folders
from cli_samples import hashkit as hashkit_command
from set_samples import set_of

import hashkit
from hashkit.bank_set.reader import BankSet


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


def test_encode_does_not_write_a_bank_in_place_of_a_set(banks):
    folder = banks[1]
    for flag in ("", "--append", "--overwrite"):
        error = fail(f"encode {folder.parent} --model phash --out {folder} {flag}")
        assert f"{folder}: expected a bank or a new name, found a bank set" in error


def test_info_of_a_set_lists_only_the_shards_that_differ(tmp_path):
    codes = hashkit.CodeSet(rows_of(range(60))[0], 20)
    _, several = set_of(tmp_path, codes, 5)
    succeed(f"delete {several} --rows 3")
    shown = succeed(f"info {several}").stdout
    assert [line for line in shown.splitlines() if "shard-" in line and "row deleted" in line]
    assert shown.count("shard-") == 1
    (facts,) = succeed(f"info {several} --json").json["paths"]
    assert facts["n_unlabelled"] == facts["n_rows"] - 1  # deleted rows do not count
    assert {shard["state"] for shard in facts["shards"]} == {"complete"}


def test_info_of_an_unfinished_set_says_how_to_continue(tmp_path):
    names = write_class_folders(tmp_path / "photos", 2)
    command = f"encode {tmp_path / 'photos'} --model phash --device cpu --out {tmp_path / 'set'}"
    shown = succeed(f"{command} --shard 2/3 --labels none").stderr
    assert "encoding shard 2 of 3: 2 of 2 images, " in shown
    (facts,) = succeed(f"info {tmp_path / 'set'} --json").json["paths"]
    assert [one["state"] for one in facts["shards"]] == ["missing", "complete", "missing"]
    assert facts["n_images_left"] == len(names) - facts["shards"][1]["n_done"] > 0
    shown = succeed(f"info {tmp_path / 'set'}").stdout
    assert "3: 1 complete, 2 not begun" in shown
    assert facts["next"] in shown
    succeed(facts["next"].removeprefix("hashkit ") + " --device cpu")
    assert hashkit.BankSet.open(tmp_path / "set").n_rows == len(names)


def test_a_bank_is_cut_and_joined(banks, tmp_path):
    one, _ = banks
    cut, joined = tmp_path / "cut", tmp_path / "joined.h5"
    shown = json.loads(succeed(f"convert {one} {cut} --shards 3 --json").stdout)
    assert shown["n_rows"] == 51
    assert shown["n_bytes"] == sum(path.stat().st_size for path in cut.iterdir())
    succeed(f"convert {cut} {joined}")
    found, expected = hashkit.Bank.open(joined), hashkit.Bank.open(one)
    assert found.codes.tolist() == expected.codes.tolist()
    assert list(found.names) == list(expected.names)
    assert "exists already" in fail(f"convert {one} {cut} --shards 3")
    assert "found a folder without bankset.json" in fail(f"search --row 1 --bank {tmp_path}")
    (tmp_path / "joined").mkdir()
    assert f"the bank of its images may be {joined}" in fail(f"index {tmp_path / 'joined'}")


def test_rows_are_deleted_by_number_and_by_name(banks, tmp_path):
    folder = shutil.copytree(banks[1], tmp_path / "set")
    (name,) = rows_of([58])[1]
    shown = succeed(f"delete {folder} --rows 3,12-13 --name {name} --json").json
    assert shown["rows"] == [3, 12, 13, 50]
    assert (shown["n_changed"], shown["n_rows"], shown["n_deleted"]) == (4, 51, 4)
    assert BankSet.open(folder).joined().deleted.nonzero()[0].tolist() == shown["rows"]
    assert "no row named" in fail(f"delete {folder} --name none.png")


def test_dedup_and_index_of_a_set_are_those_of_one_bank(banks):
    one, several = banks
    expected = succeed(f"dedup {one} --radius 4 --json").json
    found = succeed(f"dedup {several} --radius 4 --json").json
    assert found | {"source": expected["source"]} == expected
    built = succeed(f"index {several} --json").json["indexes"]
    assert [entry["n_rows"] for entry in built] == [10, 10, 10, 10, 11]
    command = "search --row 30 --row 3 --radius 8 --json --bank"
    with_index = succeed(f"{command} {several} --engine index").json
    assert with_index == succeed(f"{command} {one} --engine scan").json
    assert any(len(query["hits"]) > 1 for query in with_index["queries"])


def test_verify_names_the_damaged_shard_and_the_one_that_was_changed(banks, tmp_path):
    folder = shutil.copytree(banks[1], tmp_path / "set")
    shown = succeed(f"verify {folder} --json").json
    kinds = [check["kind"] for check in shown["checks"]]
    assert kinds == ["bank set", *["code bank"] * 5]
    shutil.copy(folder / "shard-00001.h5", folder / "shard-00004.h5")
    with (folder / "shard-00002.h5").open("r+b") as file:
        at = file.read().index(hashkit.Bank.open(folder / "shard-00002.h5").codes.tobytes())
        file.seek(at)
        file.write(b"\xff")
    outcome = hashkit_command(f"verify {folder} --json")
    assert outcome.exit_code == 1
    faults = [len(check["faults"]) for check in outcome.json["checks"]]
    assert faults == [2, 0, 0, 1, 0, 0]
    changed, other = (fault["message"] for fault in outcome.json["checks"][0]["faults"])
    assert "shard-00002.h5: expected rows of the digest" in changed
    assert "shard-00004.h5: expected the shard of identity" in other
