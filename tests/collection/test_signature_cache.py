"""Signatures that are kept: only what has changed is read again."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from albums import draw

import hashkit
from hashkit.collection import folder_facts
from hashkit.collection.folder_facts import facts_and_signatures
from hashkit.collection.signature_cache import SignatureCache
from hashkit.collection.signatures import Signer


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HASHKIT_CACHE", str(tmp_path / "cache"))
    for seed in range(5):
        draw(tmp_path / "album" / f"{seed}.png", seed)
    (tmp_path / "album" / "broken.png").write_bytes(b"no image")
    return tmp_path / "album"


@pytest.fixture
def read_names(monkeypatch):
    """Names of the files that are read."""
    names, read_facts = [], folder_facts.read_facts

    def read(name, path):
        names.append(name)
        return read_facts(name, path)

    monkeypatch.setattr(folder_facts, "read_facts", read)
    return names


def signed(folder):
    named = [(path.name, path) for path in sorted(folder.iterdir())]
    cache = SignatureCache(folder, "")
    facts, signatures, faults = facts_and_signatures(named, Signer(None), 1, lambda _: None, cache)
    assert [(one.name, one.row) for one in faults] == [("broken.png", len(named) - 1)]
    return facts, signatures


def test_files_with_kept_signatures_are_not_read_again(folder, read_names):
    facts, signatures = signed(folder)
    assert read_names == [*(f"{seed}.png" for seed in range(5)), "broken.png"]
    for change in (None, "tail", "garbage"):
        path = SignatureCache(folder, "").path
        if change == "tail":  # of a process that was killed
            path.write_bytes(path.read_bytes()[:-9])
        elif change == "garbage":
            path.write_bytes(b"\xff not JSON\n")
        read_names.clear()
        facts_again, again = signed(folder)
        expected = {None: [], "tail": ["4.png"], "garbage": [f"{n}.png" for n in range(5)]}[change]
        assert read_names == [*expected, "broken.png"]
        assert facts_again == facts
        for name in ("hashes", "thumbnails"):
            assert np.array_equal(getattr(again, name), getattr(signatures, name))

    draw(folder / "2.png", 22)
    read_names.clear()
    changed, _ = signed(folder)
    assert read_names == ["2.png", "broken.png"]
    assert [one.name for one in changed] == [f"{seed}.png" for seed in range(5)]
    assert changed[2].file_digest != facts[2].file_digest


def test_an_interrupted_reading_is_continued(folder, read_names, monkeypatch):
    monkeypatch.setattr(folder_facts, "_BATCH", 2)
    sign, n_left = Signer.sign, [3]

    def dying(self, canvases):
        n_left[0] -= 1
        if n_left[0] == 0:
            raise KeyboardInterrupt
        return sign(self, canvases)

    monkeypatch.setattr(Signer, "sign", dying)
    with pytest.raises(KeyboardInterrupt):
        signed(folder)
    read_names.clear()
    n_left[0] = -1
    signed(folder)
    assert read_names == ["2.png", "3.png", "4.png", "broken.png"]


def test_a_cache_that_cannot_be_written_changes_nothing(folder, tmp_path):
    (tmp_path / "cache").write_bytes(b"a file, where a folder is needed")
    assert len(signed(folder)[0]) == 5


def test_equal_files_are_found_with_kept_signatures(folder, read_names):
    shutil.copy(folder / "3.png", folder / "a.png")
    signed(folder)
    (folder / "0.png").write_bytes((folder / "1.png").read_bytes())
    read_names.clear()
    found = hashkit.find_duplicates(folder, exact=True, num_workers=1)
    assert [[copy.image.name for copy in one.duplicates] for one in found.groups] == [
        ["0.png"],
        ["a.png"],
    ]
    assert read_names == ["0.png", "broken.png"]
