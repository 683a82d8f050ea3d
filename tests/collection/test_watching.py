"""Changes of a folder that may vanish for a while, and the command that acts on them."""

import json
import signal
import time

import pytest
from albums import draw
from cli_samples import start

from hashkit.collection.watching import FolderWatch
from hashkit.workflow.watch import _is_own


def test_the_files_that_a_sync_writes_are_not_changes(tmp_path):
    bank = tmp_path / "album.h5"
    own = ("album.h5", "album.h5.lock", "album.h5.removed.jsonl", "album.next.h5", ".album.h5.x")
    private = ".album.h5.0123456789abcdef.hashkit-part"
    assert [_is_own(tmp_path / name, bank) for name in (*own, private)] == [True] * 4 + [
        False,
        True,
    ]
    assert not _is_own(tmp_path / "sub" / "album.h5", bank)


@pytest.mark.end_to_end
def test_a_change_and_a_vanished_folder_end_the_waiting(tmp_path):
    album = tmp_path / "album"
    draw(album / "0.png", 0)
    watch = FolderWatch(album, lambda path: not path.endswith(".h5"))
    started = time.monotonic()
    (album / "bank.h5").write_bytes(b"own")
    watch.wait(0.5)
    assert time.monotonic() - started >= 0.5
    draw(album / "1.png", 1)
    watch.wait(30)
    moved = album.rename(tmp_path / "moved")
    watch.wait(30)
    watch.wait(0.5)
    moved.rename(album)
    watch.wait(30)
    draw(album / "2.png", 2)
    watch.wait(30)
    assert time.monotonic() - started < 25  # not ended by the time


@pytest.mark.end_to_end
def test_the_command_follows_a_folder_until_it_is_stopped(tmp_path):
    album = tmp_path / "album"
    draw(album / "0.png", 0)
    process = start("sync album --model phash --watch --json", tmp_path)
    try:
        counts = []
        for seed in range(3):
            report = json.loads(process.stdout.readline())
            counts.append((report["added"], report["unchanged"]))
            draw(album / f"{seed + 1}.png", seed + 1)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 128 + signal.SIGINT
    finally:
        process.kill()
        errors = process.communicate()[1]
    assert counts == [(1, 0), (1, 1), (1, 2)]
    assert "are kept for the next run" in errors
    assert "Traceback" not in errors
