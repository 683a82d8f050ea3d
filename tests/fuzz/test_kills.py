"""The script that kills commands finds half files, wrong rows and leftovers, and goes on."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from killing import forks
from killing.leftovers import contents_of, damage_in, lost_pictures, wrong_rows
from killing.scenes import SCENES

from hashkit import CodeSet, save_codes

SCRIPT = Path(__file__).with_name("kills.py")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks and kills as Linux does")


@pytest.fixture
def folder(tmp_path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    codes = CodeSet(np.arange(40, dtype=np.uint8).reshape(20, 2), 16, np.arange(20) % 2)
    for name in ("a.h5", "a.npz", "a.parquet"):
        save_codes(folder / name, codes)
    (folder / "a.json").write_text(json.dumps({"step": 1, "seconds": 2.0}))
    (folder / "a.jsonl").write_text('{"step": 1}\n{"step": 2}\n')
    (folder / "a.html").write_text("<html>x</html>\n")
    return folder


def test_a_whole_folder_has_no_damage(folder):
    assert damage_in(folder) == []
    assert wrong_rows(folder, contents_of(folder)) == []


@pytest.mark.parametrize("name", ["a.h5", "a.npz", "a.parquet", "a.json", "a.html"])
def test_half_a_file_under_a_final_name_is_found(folder, name):
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: len(data) // 2])
    (fault,) = damage_in(folder)
    assert fault.startswith(f"{name}: ")


def test_half_a_line_at_the_end_is_allowed_and_another_is_found(folder):
    (folder / "a.jsonl").write_text('{"step": 1}\n{"st')
    assert damage_in(folder) == []
    (folder / "a.jsonl").write_text('{"st\n{"step": 1}\n')
    assert len(damage_in(folder)) == 1


def test_rows_that_differ_are_found(folder):
    reference = contents_of(folder)
    codes = CodeSet(np.arange(1, 21, dtype=np.uint8).reshape(10, 2), 16, np.arange(10) % 2)
    save_codes(folder / "a.h5", codes, overwrite=True)
    (fault,) = wrong_rows(folder, reference)
    assert "10 rows that differ from the first of 20" in fault


def test_pictures_and_uploads_that_are_lost_are_found(folder):
    (folder / "photos").mkdir()
    (folder / "photos" / "a.png").write_text("a")
    before = contents_of(folder)
    (folder / "photos" / "a.png").rename(folder / "b.png")
    assert lost_pictures(folder, before) == []
    (folder / "b.png").write_text("b")
    assert lost_pictures(folder, before) == ["photos/a.png: its content is lost"]
    save_codes(folder / "uploads.h5", CodeSet(np.zeros((1, 2), np.uint8), 16, names=["x.png"]))
    (folder / "answered.log").write_text("POST x.png\nPOST y.png\nDELETE y.png\n")
    assert "x.png: an upload" in lost_pictures(folder, {})[0]
    (folder / "uploads").mkdir()
    (folder / "uploads" / "x.png").write_text("x")
    assert lost_pictures(folder, {}) == []
    (folder / "uploads" / "y.png").write_text("y")
    assert "y.png: is there" in lost_pictures(folder, {})[0]


def test_leftovers_are_found_but_times_and_locks_are_not(folder):
    reference = contents_of(folder)
    (folder / "a.h5.lock").write_text("")
    (folder / "a.json").write_text(json.dumps({"step": 1, "seconds": 9.0}))
    assert contents_of(folder) == reference
    (folder / "a.json").write_text(json.dumps({"step": 2, "seconds": 9.0}))
    assert contents_of(folder) != reference


def test_the_time_limit_of_the_script_is_no_kill(tmp_path, monkeypatch):
    monkeypatch.setattr(forks, "_TIMEOUT_SECONDS", 0.05)
    folder, before = tmp_path / "work", "import time; time.sleep(60)"
    folder.mkdir()
    with pytest.raises(forks.OverTimeError, match="that this script allows"):
        forks.command_in_process(["info"], folder, before=before)
    assert forks.command_in_process(["info"], folder, 0.05, before)[0] is None


def test_every_command_that_writes_has_a_scene():
    commands = {scene.command.split()[0] for scene in SCENES.values()}
    reading = {"compile", "doctor", "info", "verify"}  # Numba writes its own cache
    from cli_samples import COMMANDS

    assert commands == set(COMMANDS) - reading


@pytest.mark.end_to_end
@pytest.mark.slow
def test_killed_commands_leave_whole_files_and_the_script_goes_on(tmp_path):
    names = ["convert-to-npz", "delete", "encode-append"]
    for n_kills in (3, 6):
        options = [word for name in names for word in ("--scene", name)]
        ended = subprocess.run(
            [sys.executable, SCRIPT, *options, "--kills", str(n_kills), "--folder", tmp_path],
            capture_output=True,
            text=True,
        )
        assert ended.returncode == 0, ended.stderr
        lines = (tmp_path / "kills.jsonl").read_text().splitlines()
        results = [json.loads(line) for line in lines]
        assert sum(one["killed"] for one in results) >= n_kills
        assert [one["problems"] for one in results if one["problems"]] == []
    cases = [one["case"] for one in results if one["scene"] == "delete"]
    assert cases == list(range(len(cases)))
    shutil.rmtree(tmp_path)
