"""Files written whole or not at all: names, modes, links, leftovers and failures."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hashkit.files import private as private_files
from hashkit.files.private import held, is_private_name, private_folder, remove_leftovers
from hashkit.files.writing import append_whole, write_whole, written_whole

posix = pytest.mark.skipif(os.name == "nt", reason="modes, links and locks of POSIX")

HOLDER = """
import sys
from pathlib import Path
from hashkit.files.writing import written_whole
from hashkit.files.private import held, private_folder

make = {"folder": private_folder, "file": written_whole, "held": held}[sys.argv[2]]
with make(Path(sys.argv[1])) as part:
    print(part and part.name, flush=True)
    sys.stdin.read()
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def target(tmp_path):
    path = tmp_path / "out.bin"
    path.write_bytes(b"earlier")
    return path


@pytest.fixture
def umask():
    before = os.umask(0o027)
    yield 0o027
    os.umask(before)


def test_a_file_has_its_name_only_when_it_is_complete(tmp_path):
    target = tmp_path / "new.bin"
    with written_whole(target) as part:
        assert part.parent == tmp_path
        assert is_private_name(part.name, "new.bin")
        part.write_bytes(b"content")
        assert not target.exists()
    assert target.read_bytes() == b"content"
    assert names(tmp_path) == ["new.bin"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_whatever_fails_leaves_the_earlier_file(target, error):
    def fail(part):
        part.write_bytes(b"half")
        raise error

    with pytest.raises(error), written_whole(target) as part:
        fail(part)
    assert target.read_bytes() == b"earlier"
    assert names(target.parent) == ["out.bin"]


def test_a_writer_that_makes_the_file_again_is_followed(target):
    with written_whole(target) as part:
        part.unlink()
        part.write_bytes(b"made again")
    assert target.read_bytes() == b"made again"


def test_two_writers_never_share_a_file(target):
    with written_whole(target) as first:
        with written_whole(target) as second:
            assert first != second
            first.write_bytes(b"first" * 1000)
            second.write_bytes(b"second")
        assert target.read_bytes() == b"second"
    assert target.read_bytes() == b"first" * 1000
    assert names(target.parent) == ["out.bin"]


@pytest.mark.parametrize("suffix", [".part", ".tmp", ".new"])
def test_files_and_folders_of_the_user_beside_it_stay(target, suffix):
    beside = target.with_name(target.name + suffix)
    beside.mkdir()
    (beside / "of the user").write_bytes(b"kept")
    hidden = target.with_name(f".{target.name}{suffix}")
    hidden.write_bytes(b"kept too")
    write_whole(target, b"new")
    assert (beside / "of the user").read_bytes() == b"kept"
    assert hidden.read_bytes() == b"kept too"
    assert target.read_bytes() == b"new"


@pytest.mark.parametrize("length", [40, 41, 255])
def test_every_name_that_the_file_system_takes_can_be_written(tmp_path, length):
    target = tmp_path / ("n" * length)
    with written_whole(target) as part:
        assert is_private_name(part.name, target.name)
        assert not is_private_name(part.name, target.name[:-1])
        part.write_bytes(b"content")
    assert names(tmp_path) == [target.name]


@posix
def test_modes(tmp_path, umask):
    target = tmp_path / "file"
    write_whole(target, b"new")
    assert mode(target) == 0o666 & ~umask
    for kept in (0o600, 0o640, 0o666, 0o755):
        target.chmod(kept)
        with written_whole(target) as part:
            assert mode(part) == 0o600  # nobody else reads it before it has its mode
            part.write_bytes(b"again")
        assert mode(target) == kept


@posix
@pytest.mark.skipif(os.name != "nt" and os.geteuid() != 0, reason="only root gives files away")
def test_the_owner_stays(target):
    os.chown(target, 12345, 23456)
    write_whole(target, b"new")
    assert (target.stat().st_uid, target.stat().st_gid) == (12345, 23456)


@posix
def test_a_group_that_cannot_be_kept_is_not_replaced_by_another(target, monkeypatch):
    def refused(*_):
        raise PermissionError(errno.EPERM, "not permitted")

    target.chmod(0o664)
    status = os.stat_result((0o100664, 0, 0, 1, 12345, 23456, 0, 0, 0, 0))
    monkeypatch.setattr("hashkit.files.writing._replaceable", lambda _: status)
    monkeypatch.setattr("os.fchown", refused)
    write_whole(target, b"new")
    assert mode(target) == 0o644


@posix
@pytest.mark.parametrize("is_relative", [True, False])
def test_the_file_that_a_link_names_is_replaced(tmp_path, target, is_relative):
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "link"
    link.symlink_to("../out.bin" if is_relative else target)
    write_whole(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert names(tmp_path / "links") == ["link"]


@posix
def test_a_link_to_nothing_gets_its_file(tmp_path):
    (tmp_path / "link").symlink_to("later")
    write_whole(tmp_path / "link", b"new")
    assert (tmp_path / "later").read_bytes() == b"new"


@posix
def test_a_link_under_the_private_name_is_not_followed(target, monkeypatch):
    victim = target.with_name("victim")
    victim.write_bytes(b"of the user")
    numbers = iter(["0" * 16, "1" * 16])
    monkeypatch.setattr("secrets.token_hex", lambda _: next(numbers))
    target.with_name(f".out.bin.{'0' * 16}.hashkit-part").symlink_to(victim)
    write_whole(target, b"new")
    assert victim.read_bytes() == b"of the user"
    assert target.read_bytes() == b"new"


# What cannot be written


def refused(path: Path) -> OSError:
    """Error of writing to a path, which must come before any content is made."""
    with pytest.raises(OSError) as caught, written_whole(path):  # noqa: PT011 - checked by callers
        pytest.fail("the path was accepted")
    assert caught.value.filename == str(path)
    return caught.value


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("folder", errno.EISDIR),
        ("missing/file", errno.ENOENT),
        ("out.bin/file", errno.ENOTDIR),
        pytest.param("n" * 300, errno.ENAMETOOLONG, marks=posix),
        pytest.param("loop", errno.ELOOP, marks=posix),
        pytest.param("pipe", errno.EINVAL, marks=posix),
        pytest.param("device", errno.EINVAL, marks=posix),
    ],
)
def test_a_path_that_cannot_be_written_is_refused_first(tmp_path, target, name, number):
    (tmp_path / "folder").mkdir()
    if os.name != "nt":
        (tmp_path / "loop").symlink_to("loop")
        (tmp_path / "device").symlink_to("/dev/null")
        os.mkfifo(tmp_path / "pipe")
    before = names(tmp_path)
    assert refused(tmp_path / name).errno == number
    assert names(tmp_path) == before
    assert target.read_bytes() == b"earlier"


@posix
@pytest.mark.parametrize("what", ["file", "folder"])
def test_what_may_not_be_written_is_refused_first(target, monkeypatch, what):
    if what == "file":
        monkeypatch.setattr("os.access", lambda *_, **__: False)  # as for users other than root
    else:
        target.parent.chmod(0o500)
        if os.geteuid() == 0:
            pytest.skip("root writes into any folder")
    try:
        assert refused(target).errno == errno.EACCES
    finally:
        target.parent.chmod(0o700)
    assert target.read_bytes() == b"earlier"


@pytest.mark.end_to_end
@posix
@pytest.mark.parametrize("write", [write_whole, append_whole])
def test_a_disk_that_gets_full_loses_nothing(target, write):
    code = """
import resource, signal, sys
from pathlib import Path
from hashkit.files.writing import append_whole, write_whole

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    globals()[sys.argv[2]](Path(sys.argv[1]), bytes(5000))
except OSError as error:
    print(error.errno, error.filename)
"""
    command = [sys.executable, "-c", code, str(target), write.__name__]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split(maxsplit=1) == [str(errno.EFBIG), f"{target}\n"]
    assert target.read_bytes() == b"earlier"
    assert names(target.parent) == ["out.bin"]


def test_errors_about_other_files_keep_their_name(target):
    with pytest.raises(FileNotFoundError) as caught, written_whole(target):
        Path("elsewhere").read_bytes()
    assert caught.value.filename == "elsewhere"


def test_a_write_that_fails_without_a_name_is_about_the_target(target):
    with (
        pytest.raises(OSError, match=r"No space left on device: .*out\.bin"),
        written_whole(target),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


# Leftovers


def left_by_a_killed_process(target: Path, kind: str = "file") -> Path:
    process = start_holder(target, kind)
    part = target.with_name(process.stdout.readline().strip())
    assert part.exists()
    process.kill()
    process.communicate()
    return part


def start_holder(target: Path, kind: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER, target, kind],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.end_to_end
@posix
def test_what_a_killed_process_left_is_removed_by_the_next(target):
    part = left_by_a_killed_process(target)
    write_whole(target.with_name("another"), b"")
    assert part.exists()
    write_whole(target, b"new")
    assert names(target.parent) == ["another", "out.bin"]


@pytest.mark.end_to_end
@posix
def test_what_a_living_process_writes_stays(target):
    process = start_holder(target, "file")
    part = target.with_name(process.stdout.readline().strip())
    write_whole(target, b"new")
    remove_leftovers(target)
    assert part.exists()
    process.communicate()  # ends its input, so that it completes the file
    assert process.returncode == 0
    assert target.read_bytes() == b""
    assert names(target.parent) == ["out.bin"]


@posix
def test_a_link_or_folder_with_a_private_name_is_not_a_leftover_file(target):
    victim = target.with_name("victim")
    victim.write_bytes(b"of the user")
    link = target.with_name(f".out.bin.{'0' * 16}.hashkit-part")
    link.symlink_to(victim)
    write_whole(target, b"new")
    assert victim.read_bytes() == b"of the user"
    assert link.is_symlink()


@pytest.mark.end_to_end
@posix
@pytest.mark.skipif(os.name != "nt" and os.geteuid() != 0, reason="only root gives files away")
def test_a_leftover_of_another_user_stays(target):
    part = left_by_a_killed_process(target)
    os.chown(part, 12345, 23456)
    write_whole(target, b"new")
    assert part.exists()


@posix
def test_a_file_that_is_removed_as_a_leftover_is_made_again(target, monkeypatch):
    """Another process may remove it between its creation and its lock."""
    lock, removed = private_files._lock, []

    def remove_first(handle):
        if not removed:
            (part,) = (path for path in target.parent.iterdir() if is_private_name(path.name))
            removed.append(part)
            part.unlink()
        return lock(handle)

    monkeypatch.setattr("hashkit.files.private._lock", remove_first)
    write_whole(target, b"new")
    assert target.read_bytes() == b"new"
    assert removed


# Two processes

WRITER = """
import sys
from pathlib import Path
import numpy as np
from hashkit.codesets import CodeSet
from hashkit.files.writing import write_whole
from hashkit.formats import save_codes

letter, folder = sys.argv[1], Path(sys.argv[2])
number = ord(letter)
codes = CodeSet(np.full((1000 + number, 2), number, np.uint8), 16, names=[letter] * (1000 + number))
sys.stdin.readline()
for _ in range(20):
    write_whole(folder / "plain", letter.encode() * 100_000)
    save_codes(folder / "codes.npz", codes, overwrite=True)
"""


@posix
@pytest.mark.end_to_end
def test_two_concurrent_writers_leave_the_whole_file_of_the_last(tmp_path):
    (tmp_path / "plain").write_bytes(b"a" * 100_000)
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, letter, tmp_path],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for letter in "ab"
    ]
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    seen = set()
    while any(writer.poll() is None for writer in writers):
        content = (tmp_path / "plain").read_bytes()
        assert len(content) == 100_000
        assert content == content[:1] * 100_000
        seen.add(content[:1])
        if (tmp_path / "codes.npz").exists():
            with np.load(tmp_path / "codes.npz") as archive:
                (number,) = set(archive["codes"].ravel().tolist())
                assert set(archive["names"].tolist()) == {chr(number)}
                assert len(archive["codes"]) == len(archive["names"]) == 1000 + number
    assert [writer.communicate()[1] for writer in writers] == ["", ""]
    assert seen == {b"a", b"b"}
    assert names(tmp_path) == ["codes.npz", "plain"]


# Appending


def test_lines_are_appended(tmp_path):
    path = tmp_path / "log"
    append_whole(path, b"one\n")
    append_whole(path, b"two\n", is_synced=True)
    assert path.read_bytes() == b"one\ntwo\n"


@posix
def test_lines_are_never_appended_to_a_pipe_or_a_device(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/null")
    for name in ("pipe", "device"):
        with pytest.raises(OSError) as caught:  # noqa: PT011 - its name is checked
            append_whole(tmp_path / name, b"line\n")
        assert caught.value.filename == str(tmp_path / name)


# Folders


def test_a_folder_is_private_until_it_is_renamed(tmp_path):
    target = tmp_path / "site"
    with private_folder(target) as part:
        assert is_private_name(part.name, "site")
        (part / "page").write_bytes(b"content")
        part.rename(target)
    assert names(tmp_path) == ["site"]
    with private_folder(target, target) as part:
        assert part.parent == target
        (part / "page").touch()
    assert names(target) == ["page"]


@pytest.mark.end_to_end
@posix
def test_a_folder_that_a_killed_process_left_is_removed_by_the_next(tmp_path):
    part = left_by_a_killed_process(tmp_path / "site", "folder")
    (part / "file").touch()
    living = start_holder(tmp_path / "site", "folder")
    kept = living.stdout.readline().strip()
    with private_folder(tmp_path / "site") as own:
        assert names(tmp_path) == sorted([kept, own.name])
    living.communicate()
    assert names(tmp_path) == []


# Files that one process at a time uses


@pytest.mark.parametrize("kind", ["file", "folder", "nothing"])
def test_a_held_path_is_refused_to_others(tmp_path, kind):
    path = tmp_path / "held"
    {"file": path.touch, "folder": path.mkdir, "nothing": lambda: None}[kind]()
    with held(path), pytest.raises(BlockingIOError, match="another process"), held(path):
        pytest.fail("it was held twice")
    with held(path):
        pass


def test_a_path_that_was_renamed_meanwhile_is_held_again_under_its_name(tmp_path, monkeypatch):
    """Another process may complete a file between its opening here and its lock."""
    path, lock, seen = tmp_path / "held", private_files._lock, []

    def rename_first(handle):
        if not seen:
            path.rename(tmp_path / "complete")
        seen.append(os.fstat(handle).st_ino)
        return lock(handle)

    monkeypatch.setattr("hashkit.files.private._lock", rename_first)
    with held(path):
        assert seen == [(tmp_path / "complete").stat().st_ino, path.stat().st_ino]


@posix
@pytest.mark.end_to_end
def test_a_killed_process_holds_nothing(tmp_path):
    process = start_holder(tmp_path / "held", "held")
    process.stdout.readline()
    with pytest.raises(BlockingIOError), held(tmp_path / "held"):
        pytest.fail("it was held twice")
    process.kill()
    process.communicate()
    with held(tmp_path / "held"):
        pass
