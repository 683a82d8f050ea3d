"""Subjects of a collection and of a page: lists and journals that commands keep beside them."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import numpy as np

from fuzzing.json_mutations import mutate_json_lines, mutate_json_text
from fuzzing.subject import Subject

sys.path.append(str(Path(__file__).parents[2] / "support"))

__all__ = ["COLLECTION_SUBJECTS"]

_N_ROWS = 40


def _removed_rows(folder: Path) -> Subject:
    lines = [{"bank": "a" * 32, "rows": [1, 5, 39]}, {"bank": "b" * 32, "rows": []}]
    seed = b"".join(json.dumps(one).encode() + b"\n" for one in lines)
    return Subject(folder / "a.h5.removed.jsonl", [seed], _read_removed, [mutate_json_lines])


def _read_removed(path: Path, rng: random.Random) -> None:
    from hashkit.collection.removals import RemovedRows

    bank_path = path.with_name("a.h5")
    found = RemovedRows(bank_path, "a" * 32)
    is_deleted = np.arange(_N_ROWS) % 2 == 1
    before = found.mask(is_deleted)
    assert not before[~is_deleted].any()
    if rng.random() < 0.5:
        found.tidy(is_deleted)
    else:
        found.add([2, 3])
    after = RemovedRows(bank_path, "a" * 32).mask(is_deleted)
    assert (before <= after).all()


def _journal(folder: Path) -> Subject:
    """A journal of `hashkit dedup`, in the state in which a kill leaves the folders."""
    from hashkit.files.moving import blake2b_of

    home, moved, outside = folder / "photos", folder / "moved", folder / "outside"
    for place in (home, moved, outside):
        place.mkdir()
    names = ("there", "back", "both")
    entries = []
    for name in names:
        path = folder / name
        path.write_text(name)
        entry = {"source": str(home / name), "target": str(moved / name)}
        entries.append(entry | {"digest": blake2b_of(path).hex()})
        path.unlink()
    seed = json.dumps({"hashkit_dedup": 1, "moves": entries}).encode()

    def read(path: Path, _: random.Random) -> None:
        from hashkit.collection.moving import undo_moves

        (outside / "empty").write_text("")
        for one in (*home.rglob("*"), *moved.rglob("*")):
            if one.is_file() and one != path:
                one.unlink()
        for name in names:
            (moved / name).write_text(name)
        for name in ("back", "both"):
            (home / name).write_text(name)
        (moved / "back").unlink()
        if not all(one.startswith(str(folder)) for one in _sources(path)):
            return  # undoing would move files elsewhere
        undo_moves(path)
        assert (outside / "empty").exists()
        left = {one.read_bytes() for one in folder.rglob("*") if one.is_file() and one != path}
        assert left >= {name.encode() for name in names}, "a picture is lost"

    return Subject(moved / "hashkit-dedup.json", [seed], read, [mutate_json_text])


def _sources(path: Path) -> list[str]:
    """Absolute paths to which the moves of a journal would go back."""
    try:
        moves = json.loads(path.read_bytes())["moves"]
        return [text for one in moves if (text := str(one["source"])).startswith("/")]
    except (ValueError, TypeError, KeyError, RecursionError):
        return []


def _page_manifest(folder: Path) -> Subject:
    """The manifest of an earlier page, whose files a new page replaces."""
    page = folder / "page"
    files = ["index.html", "page/page.js", "bank/codes.bin"]
    seeds = [
        json.dumps({"hashkit_web": 1, "title": "a", "files": files}).encode(),
        json.dumps({"hashkit_web": 0, "files": files}).encode(),
        json.dumps({"hashkit_web": 1, "n_rows": 3}).encode(),
    ]

    def read(path: Path, _: random.Random) -> None:
        from hashkit.exporters.web.page_folder import replaced_page

        (folder / "outside").write_text("of the user")
        (page / "CNAME").write_text("of the user")
        for name in files:
            (page / name).parent.mkdir(parents=True, exist_ok=True)
            (page / name).write_text("earlier")
        with replaced_page(page) as part:
            (part / "index.html").write_text("new")
            (part / "manifest.json").write_text('{"hashkit_web": 1, "files": ["index.html"]}')
        assert (page / "index.html").read_text() == "new"
        assert (folder / "outside").exists()

    page.mkdir()
    return Subject(page / "manifest.json", seeds, read, [mutate_json_text])


def _web_package(folder: Path) -> Subject:
    from made_up_runtime import write_runtime

    package = write_runtime(folder / "npm")
    seed = (package / "package.json").read_bytes()

    def read(path: Path, _: random.Random) -> None:
        from hashkit.exporters.web.runtime import find_runtime

        find_runtime(path.parent)

    return Subject(package / "package.json", [seed], read, [mutate_json_text])


def _bank_set(folder: Path) -> Subject:
    from set_samples import write_shards

    banks = write_shards(folder / "set")
    seed = (banks / "bankset.json").read_bytes()

    def read(path: Path, rng: random.Random) -> None:
        from hashkit import BankSet, search
        from hashkit.bank_set.finishing import finish

        if rng.random() < 0.2:
            finish(path.parent)
        with BankSet.open(path.parent) as found:
            assert found.n_rows == 17
            search(found[0].codes, found, top_k=3)

    return Subject(banks / "bankset.json", [seed], read, [mutate_json_text])


COLLECTION_SUBJECTS = {
    "bank-set": _bank_set,
    "removed-rows": _removed_rows,
    "dedup-journal": _journal,
    "page-manifest": _page_manifest,
    "web-package": _web_package,
}
