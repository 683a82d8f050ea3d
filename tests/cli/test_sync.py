"""``hashkit sync`` on the command line."""

import json

import pytest
from albums import draw
from cli_samples import fail, succeed

from hashkit.errors import ConfigError
from hashkit.workflow.sync import bank_of_folder


def test_json_and_the_paths_in_messages(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for seed in range(3):
        draw(tmp_path / "album" / f"{seed}.png", seed)
    (tmp_path / "album" / "broken.png").write_bytes(b"no image")
    assert "--model" in fail("sync album")
    outcome = succeed("sync album --model phash --json")
    report = json.loads(outcome.stdout)
    counts = {name: report[name] for name in ("added", "changed", "moved", "removed", "unchanged")}
    assert counts == {"added": 3, "changed": 0, "moved": 0, "removed": 0, "unchanged": 0}
    assert [(one["name"], one["reason"]) for one in report["faults"]] == [("broken.png", "broken")]
    assert report["seconds"] > 0
    assert "album.h5: 3 added" in outcome.stderr
    facts = json.loads(succeed("info album.h5 --json").stdout)["paths"][0]
    assert (facts["is_complete"], facts["n_images_left"]) == (None, None)  # `info` cannot tell
    album = tmp_path / "album"
    assert f"`hashkit sync {album} --bank album.h5 --dry-run`" in succeed("info album.h5").stdout
    for seed in range(3):
        (tmp_path / "album" / f"{seed}.png").unlink()
    assert "--allow-removals" in fail("sync album/ --json")
    assert json.loads(succeed("sync album --allow-removals --json").stdout)["removed"] == 3
    assert "choose one" in fail("sync album --watch --dry-run")


def test_a_mistyped_model_is_an_error_before_the_folder_is_listed(tmp_path):
    missing = tmp_path / "album"
    assert "found no such folder" in fail(f"sync {missing} --model phash")
    assert "lite-0: there is no such model file" in fail(f"sync {missing} --model lite-0")


def test_the_bank_of_a_folder_lies_beside_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert bank_of_folder(tmp_path / "a.b" / "photos.2024") == tmp_path / "a.b" / "photos.2024.h5"
    assert bank_of_folder(tmp_path.relative_to(tmp_path)).name == f"{tmp_path.name}.h5"
    with pytest.raises(ConfigError, match="name its bank"):
        bank_of_folder(tmp_path / "x" / "..")
