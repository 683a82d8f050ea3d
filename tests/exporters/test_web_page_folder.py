"""How a page replaces another in a folder that may hold files of the user."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
from looped import looped

from hashkit.errors import ConfigError
from hashkit.exporters.web import page_folder
from hashkit.exporters.web.page_folder import check_target, replaced_page
from hashkit.files.private import held

FILES = ["bank/codes.bin", "index.html"]


def write_page(site: Path, text: str, thumbnails=("0.jpg",), files=FILES) -> None:
    """A small page, every file of which has the same text."""
    with replaced_page(site) as part:
        fill(part, text, thumbnails, files)


def fill(part: Path, text: str, thumbnails=("0.jpg",), files=FILES) -> None:
    for name in [*files, *(f"bank/thumbnails/{name}" for name in thumbnails)]:
        (part / name).parent.mkdir(parents=True, exist_ok=True)
        (part / name).write_text(text)
    manifest = {"hashkit_web": 1, "files": list(files), "text": text}
    (part / "manifest.json").write_text(json.dumps(manifest))


def content(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


def texts(site: Path, *others: str) -> set[str]:
    """The texts of all files of a page, which are the same if it is whole."""
    found = {text for name, text in content(site).items() if name not in (*others, "manifest.json")}
    return found | {json.loads((site / "manifest.json").read_text())["text"]}


@pytest.fixture
def site(tmp_path):
    write_page(tmp_path / "site", "one")
    return tmp_path / "site"


def test_a_page_appears_whole(tmp_path):
    site = tmp_path / "deep" / "site"
    with replaced_page(site) as part:
        fill(part, "one")
        assert not site.exists()
    assert texts(site) == {"one"}
    assert [path.name for path in site.parent.iterdir()] == ["site"]


def test_files_of_the_user_stay(site):
    own = {
        ".git/config": "git",
        "CNAME": "example.org",
        "bank/notes.txt": "notes",
        "bank/thumbnails/mine.jpg": "picture",
        ".site.part/file": "of another program",
    }
    for name, text in own.items():
        (site / name).parent.mkdir(exist_ok=True)
        (site / name).write_text(text)
    beside = site.with_name("site.part")
    beside.mkdir()
    (beside / "kept").touch()
    write_page(site, "two", thumbnails=())
    found = content(site)
    assert own.items() <= found.items()
    assert found.keys() - own.keys() == {*FILES, "manifest.json"}
    assert texts(site, *own) == {"two"}
    assert (beside / "kept").exists()


def test_files_of_the_earlier_page_are_removed(site):
    write_page(site, "two", thumbnails=("1.jpg", "2.jpg"), files=["index.html", "deep/new.js"])
    assert content(site).keys() == {
        "index.html",
        "deep/new.js",
        "manifest.json",
        "bank/thumbnails/1.jpg",
        "bank/thumbnails/2.jpg",
    }
    write_page(site, "three", thumbnails=(), files=["index.html"])
    assert content(site).keys() == {"index.html", "manifest.json"}
    assert sorted(path.name for path in site.iterdir()) == ["bank", "index.html", "manifest.json"]


def test_a_manifest_cannot_name_files_outside_of_the_folder(site, tmp_path):
    outside = tmp_path / "outside"
    outside.write_text("kept")
    (site / ".git").write_text("kept")
    (site / "link").symlink_to(tmp_path)
    names = ["../outside", str(outside), "link/outside", ".git", "a\0b", "x" * 5000, "\ud800", 7]
    (site / "manifest.json").write_text(json.dumps({"hashkit_web": 1, "files": names}))
    write_page(site, "two")
    assert outside.read_text() == (site / ".git").read_text() == "kept"
    assert texts(site, ".git", "link/outside") == {"two"}


@looped("manifest", [None, "[]", "{", '{"name": "my app"}', "[" * 100_000])
def test_a_folder_of_something_else_is_refused(tmp_path, manifest):
    (tmp_path / "index.html").write_text("of the user")
    if manifest is not None:
        (tmp_path / "manifest.json").write_text(manifest)
    with pytest.raises(ConfigError, match="is not a page written by hashkit: choose another"):
        write_page(tmp_path, "page")
    assert (tmp_path / "index.html").read_text() == "of the user"


@pytest.mark.skipif(os.name == "nt", reason="makes a link")
def test_a_link_to_the_folder_stays(site, tmp_path):
    (tmp_path / "link").symlink_to("site")
    write_page(tmp_path / "link", "two")
    assert (tmp_path / "link").is_symlink()
    assert texts(site) == {"two"}


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / f".site.{'0' * 16}.hashkit-part").mkdir()  # left by a killed process
    write_page(tmp_path / "site", "one")
    assert texts(tmp_path / "site") == {"one"}
    assert not list((tmp_path / "site").glob(".*"))


class _KilledError(BaseException):
    pass


@pytest.mark.parametrize("n_moved", range(4))
def test_a_kill_never_leaves_a_mixture_that_counts_as_a_page(site, monkeypatch, n_moved):
    replace, n_calls = Path.replace, 0

    def killed(path, target):
        nonlocal n_calls
        n_calls += 1
        if n_calls > n_moved:
            raise _KilledError
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(_KilledError):
        write_page(site, "two")
    monkeypatch.undo()
    if n_moved:
        assert json.loads((site / "manifest.json").read_text())["hashkit_web"] == 0
    else:
        assert texts(site) == {"one"}
    check_target(site)
    write_page(site, "three")
    assert texts(site) == {"three"}
    assert content(site).keys() == {*FILES, "manifest.json", "bank/thumbnails/0.jpg"}


@pytest.mark.parametrize("where", ["index.html", "bank"])
def test_a_page_that_cannot_be_written_fails_before_the_earlier_one_is_touched(site, where):
    before = content(site) if where == "index.html" else None
    if where == "index.html":
        (site / where).unlink()
        (site / where).mkdir()
        before = content(site)
    else:
        for path in sorted((site / "bank").rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
        (site / "bank").rmdir()
        (site / "bank").write_text("of the user")
        before = content(site)
    with pytest.raises(OSError, match=str(site / where)):
        write_page(site, "two")
    assert content(site) == before


def test_ctrl_c_while_files_are_moved_comes_too_late(site, monkeypatch):
    class Pool(page_folder.ThreadPoolExecutor):
        def submit(self, *arguments):
            future = super().submit(*arguments)
            result = future.result

            def interrupted_once():
                future.result = result
                raise KeyboardInterrupt

            future.result = interrupted_once
            return future

    monkeypatch.setattr(page_folder, "ThreadPoolExecutor", Pool)
    write_page(site, "two")
    assert texts(site) == {"two"}


def test_the_error_for_a_full_disk_names_the_file_of_the_page(site):
    with pytest.raises(OSError, match="No space left") as caught, replaced_page(site) as part:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(part / "model.onnx"))
    assert caught.value.filename == str(site / "model.onnx")
    assert texts(site) == {"one"}


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot hold a folder")
def test_a_page_that_another_process_moves_is_refused(site):
    with (
        held(site),
        pytest.raises(ConfigError, match="another process is writing this page; wait"),
    ):
        write_page(site, "two")
    assert texts(site) == {"one"}


def test_two_concurrent_pages_leave_the_whole_page_of_the_last(tmp_path):
    site = tmp_path / "site"
    with replaced_page(site) as part:
        fill(part, "one", thumbnails=("0.jpg", "1.jpg"))
        write_page(site, "two", thumbnails=("2.jpg",))
    assert texts(site) == {"one"}
    assert content(site).keys() == {
        *FILES,
        "manifest.json",
        "bank/thumbnails/0.jpg",
        "bank/thumbnails/1.jpg",
    }
