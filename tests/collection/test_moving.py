from __future__ import annotations

import dataclasses
import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
from looped import looped
from PIL import Image

from hashkit.collection import moving
from hashkit.collection.duplicates import Duplicate, DuplicateGroup
from hashkit.collection.facts import read_facts
from hashkit.collection.moving import MoveReport, move_duplicates, undo_moves
from hashkit.errors import ConfigError, HashkitError


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """A folder of five small images, two of them in subfolders under one name."""
    rng = np.random.default_rng(0)
    for name in ("keep.png", "a/x.png", "b/x.png", "c.png", "X.png"):
        path = tmp_path / "album" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)).save(path)
    return tmp_path / "album"


def group(album: Path, names: list[str]) -> DuplicateGroup:
    facts = [read_facts(name, album / name)[0] for name in ["keep.png", *names]]
    return DuplicateGroup(facts[0], tuple(Duplicate(one, 1, "near") for one in facts[1:]))


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith("hashkit-dedup")
    }


def moved(album: Path, names: list[str]) -> MoveReport:
    return move_duplicates([group(album, names)], album.parent / "out")


@pytest.fixture(params=["links", "no links", "another file system", "another one, no links"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """File systems with and without hard links, and a target on another one."""
    link = os.link

    def refuse(source: Path, target: Path) -> None:
        if ".hashkit-part" not in str(source) and "another" in request.param:
            raise OSError(errno.EXDEV, "cross-device link", str(source))
        if "no links" in request.param:
            raise OSError(errno.EPERM, "no links here", str(source))
        link(source, target)

    monkeypatch.setattr(os, "link", refuse)
    return request.param


def test_what_was_moved_is_moved_back(album: Path, system: str) -> None:
    before = files(album)
    os.utime(album / "a/x.png", ns=(1, 2_000_000_123))
    out = album.parent / "out"
    (out / "b").mkdir(parents=True)
    (out / "b" / "x.png").write_bytes(b"somebody else's")
    report = moved(album, ["a/x.png", "b/x.png", "c.png"])
    assert report.faults == ()
    assert sorted(files(album)) == ["X.png", "keep.png"]
    assert sorted(files(out)) == ["a/x.png", "b/x (2).png", "b/x.png", "c.png"]
    assert (out / "a/x.png").stat().st_mtime_ns == 2_000_000_123
    undone = undo_moves(report.journal)
    assert (undone.restored, undone.n_unmoved, undone.faults) == (3, 0, ())
    assert files(album) == before
    assert files(out) == {"b/x.png": b"somebody else's"}
    assert not (out / "a").exists()
    again = undo_moves(report.journal)
    assert (again.restored, again.n_unmoved, again.faults) == (0, 3, ())


@pytest.mark.parametrize("n_moves", [0, 2])
def test_a_kill_between_two_files_loses_nothing(
    album: Path, n_moves: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files(album)
    done = 0

    def killed(*arguments: object) -> None:
        nonlocal done
        if done == n_moves:
            raise KeyboardInterrupt
        done += 1
        move_file(*arguments)

    move_file = moving.move_file
    monkeypatch.setattr(moving, "move_file", killed)
    with pytest.raises(KeyboardInterrupt):
        moved(album, ["a/x.png", "b/x.png", "c.png"])
    monkeypatch.setattr(moving, "move_file", move_file)
    out = album.parent / "out"
    (journal,) = out.glob("hashkit-dedup-*.json")
    assert len(files(album)) + len(files(out)) == 5
    assert undo_moves(journal).restored == n_moves
    assert files(album) == before
    assert files(out) == {}


@pytest.mark.parametrize("left", ["link", "copy", "empty"])
def test_a_kill_within_a_move_is_undone(album: Path, left: str) -> None:
    """The target is there and the source still is: both names, a whole copy, a reserved name."""
    before = files(album)
    report = moved(album, ["c.png"])
    source, target = report.moved[0]
    if left == "link":
        os.link(target, source)
    else:
        source.write_bytes(before["c.png"])
        if left == "empty":
            target.write_bytes(b"")
    undone = undo_moves(report.journal)
    assert (undone.restored, undone.n_unmoved, undone.faults) == (0, 1, ())
    assert files(album) == before
    assert files(album.parent / "out") == {}


def test_a_killed_move_is_finished_by_the_same_command(album: Path) -> None:
    source, out = album / "c.png", album.parent / "out"
    out.mkdir()
    os.link(source, out / "c.png")
    report = moved(album, ["c.png"])
    assert report.moved == ((source, out / "c.png"),)
    assert sorted(files(out)) == ["c.png"]
    assert not source.exists()


def test_files_that_changed_since_are_left_where_they_are(album: Path) -> None:
    found = group(album, ["a/x.png", "c.png", "X.png"])
    link = dataclasses.replace(found.duplicates[2].image, is_link=True)
    found = dataclasses.replace(
        found, duplicates=(*found.duplicates[:2], Duplicate(link, 1, "near"))
    )
    (album / "a/x.png").write_bytes(b"edited")
    before = files(album)
    report = move_duplicates([found], album.parent / "out")
    assert [name.name for name, _ in report.moved] == ["c.png"]
    assert "X.png: a link, not a file" in report.faults[0]
    assert "a/x.png: changed since it was compared" in report.faults[1]
    target = report.moved[0][1]
    target.write_bytes(b"edited too")
    undone = undo_moves(report.journal)
    assert undone.restored == 0
    assert undone.faults == (f"{target}: changed since it was moved; not moved back",)
    (album / "c.png").write_bytes(b"new")
    (fault,) = undo_moves(report.journal).faults
    assert "because another file is at" in fault
    assert files(album) == before | {"c.png": b"new"}
    # Without the image to keep, none of its duplicates moves.
    other = group(album, ["X.png"])
    (album / "keep.png").unlink()
    report = move_duplicates([other], album.parent / "out")
    assert report.moved == ()
    assert report.journal is None
    assert "its group is skipped" in report.faults[0]


@looped(
    ("text", "message"),
    [
        ("not json", "expected JSON"),
        ("{}", "hashkit_dedup"),
        (json.dumps({"hashkit_dedup": 9, "moves": []}), "version 1"),
        *(
            (json.dumps({"hashkit_dedup": 1, "moves": [one]}), "absolute paths")
            for one in (
                {"source": "x.png", "target": "/out/x.png", "digest": ""},
                {"source": "/album/x.png", "target": "/out/\0", "digest": ""},
                {"source": "/album/\ud800", "target": "/out/x.png", "digest": ""},
            )
        ),
        (None, "found no such file"),
    ],
)
def test_a_file_that_is_not_a_journal_is_refused(
    tmp_path: Path, text: str | None, message: str
) -> None:
    path = tmp_path / "journal.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(HashkitError, match=message):
        undo_moves(path)


def test_a_journal_takes_files_from_its_own_folder_alone(album: Path) -> None:
    report = moved(album, ["c.png"])
    before = files(album.parent)
    elsewhere = report.journal.rename(album.parent / "journal.json")
    assert undo_moves(elsewhere).restored == 1  # the folder is below it
    moved(album, ["c.png"])
    (album.parent / "other").mkdir()
    (fault,) = undo_moves(elsewhere.rename(album.parent / "other" / "journal.json")).faults
    assert "return the journal to the folder" in fault
    assert files(album.parent).keys() - before.keys() == {"other/journal.json"}


def test_paths_may_be_text_and_the_folder_of_the_images_is_refused(album: Path) -> None:
    groups = [group(album, ["a/x.png"])]
    for within in (album, album / "a", album / "new"):
        with pytest.raises(ConfigError, match="expected a folder outside"):
            move_duplicates(groups, str(within))
    report = move_duplicates(groups, str(album.parent / "out"))
    assert undo_moves(str(report.journal)).restored == len(report.moved) == 1
