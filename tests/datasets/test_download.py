from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import socket
from pathlib import Path

import published_sets
import pytest
from file_server import CONTENT, PART, remote, serving

from hashkit.datasets import cifar, download, mnist
from hashkit.datasets.download import RemoteFile, fetch
from hashkit.errors import DownloadError
from hashkit.files.private import held
from hashkit.files.writing import file_digest

MIB = 1 << 20


@pytest.fixture
def server(monkeypatch):
    with serving(monkeypatch) as server:
        yield server


def test_a_file_is_downloaded_once_with_progress(server, tmp_path):
    calls = []
    path = fetch(remote(server), tmp_path / "new", progress=lambda *call: calls.append(call))
    assert path.read_bytes() == CONTENT
    assert calls[-1] == ("file.bin", len(CONTENT), len(CONTENT))
    assert [done for _, done, _ in calls] == sorted({done for _, done, _ in calls})
    assert fetch(remote(server), tmp_path / "new") == path
    assert server.requests == [None]
    assert [entry.name for entry in path.parent.iterdir()] == ["file.bin"]


def test_sha256_digests_are_understood(server, tmp_path):
    digest = hashlib.sha256(CONTENT).hexdigest()
    good = RemoteFile("file.bin", f"{server.url}/file.bin", f"sha256:{digest}")
    path = fetch(good, tmp_path)
    assert file_digest(path, "sha256") == digest


def test_a_cut_connection_is_resumed_where_it_stopped(server, tmp_path):
    server.cuts = [300_000, 200_000]
    path = fetch(remote(server), tmp_path)
    assert path.read_bytes() == CONTENT
    assert server.requests == [None, "bytes=300000-", "bytes=500000-"]


def test_a_later_call_continues_a_partial_download(server, tmp_path):
    server.cuts = [1000, 1000, 1000]
    with pytest.raises(
        DownloadError, match=r"cut after 3,000 of 1,280,000 bytes.*save it as"
    ) as info:
        fetch(remote(server), tmp_path)
    assert "\n" not in str(info.value)
    assert (tmp_path / PART).read_bytes() == CONTENT[:3000]
    assert not (tmp_path / "file.bin").exists()
    assert fetch(remote(server), tmp_path).read_bytes() == CONTENT
    assert server.requests[-1] == "bytes=3000-"


def test_a_server_without_ranges_starts_again(server, tmp_path):
    server.has_ranges = False
    server.cuts = [300_000]
    assert fetch(remote(server), tmp_path).read_bytes() == CONTENT
    assert server.requests == [None, "bytes=300000-"]


def test_a_server_that_does_not_send_the_length(server, tmp_path):
    server.has_length = False
    calls = []
    path = fetch(remote(server), tmp_path, progress=lambda *call: calls.append(call))
    assert path.read_bytes() == CONTENT
    assert calls[-1] == ("file.bin", len(CONTENT), None)


def test_a_complete_part_is_not_downloaded_again(server, tmp_path):
    (tmp_path / PART).write_bytes(CONTENT)
    assert fetch(remote(server), tmp_path).read_bytes() == CONTENT


def test_a_part_longer_than_the_file_is_replaced(server, tmp_path):
    server.has_ranges = False
    (tmp_path / PART).write_bytes(b"x" * (len(CONTENT) + 5))
    assert fetch(remote(server), tmp_path).read_bytes() == CONTENT
    assert len(server.requests) == 1


@pytest.mark.parametrize("n_bytes", [1000, len(CONTENT), len(CONTENT) + 5])
def test_a_part_of_another_file_is_replaced(server, tmp_path, n_bytes):
    (tmp_path / PART).write_bytes(b"x" * n_bytes)
    assert fetch(remote(server), tmp_path).read_bytes() == CONTENT
    assert server.requests == [f"bytes={n_bytes}-", None]


def test_a_wrong_digest_keeps_nothing(server, tmp_path):
    with pytest.raises(DownloadError, match=r"does not have the published digest md5:.*save it as"):
        fetch(remote(server, content=b"other"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_server_errors_are_retried_and_refusals_are_not(server, tmp_path):
    server.statuses = [503, 500]
    assert fetch(remote(server), tmp_path).read_bytes() == CONTENT
    server.requests.clear()
    with pytest.raises(DownloadError, match=r"answered HTTP 404: download http.*gone.bin"):
        fetch(remote(server, name="gone.bin"), tmp_path)
    assert len(server.requests) == 1


def test_offline_the_message_names_the_url_and_the_target_file(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "_PAUSES_SECONDS", (0.0, 0.0))
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/file.bin"
        with pytest.raises(DownloadError) as info:
            fetch(RemoteFile("file.bin", url, "md5:0"), tmp_path)
    message = str(info.value)
    assert "\n" not in message
    assert f"download {url} yourself and save it as {tmp_path / 'file.bin'}" in message


def test_a_full_disk_is_reported_and_the_received_bytes_are_kept(server, tmp_path, monkeypatch):
    opened = Path.open

    class FullAfterOneMebibyte:
        def __init__(self, stream):
            self.stream = stream

        def __enter__(self):
            return self

        def __exit__(self, *args):
            self.stream.close()

        def __getattr__(self, name):
            return getattr(self.stream, name)

        def write(self, block):
            if self.stream.tell() + len(block) > MIB:
                raise OSError(errno.ENOSPC, "No space left on device")
            return self.stream.write(block)

    def open_almost_full(path, mode="r"):
        stream = opened(path, mode)
        return FullAfterOneMebibyte(stream) if path.name == PART and mode == "r+b" else stream

    monkeypatch.setattr(Path, "open", open_almost_full)
    with pytest.raises(DownloadError, match=r"disk of .* is full.*to continue the download"):
        fetch(remote(server), tmp_path)
    assert not (tmp_path / "file.bin").exists()
    monkeypatch.undo()
    n_kept = (tmp_path / PART).stat().st_size
    assert 0 < n_kept <= MIB
    assert fetch(remote(server), tmp_path).read_bytes() == CONTENT
    assert server.requests == [None, f"bytes={n_kept}-"]


def test_files_of_other_programs_stay(server, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(b"of a browser")
    fetch(remote(server), tmp_path)
    assert (tmp_path / "file.bin.part").read_bytes() == b"of a browser"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file.bin", "file.bin.part"]


@pytest.mark.skipif(os.name == "nt", reason="makes a link")
def test_a_link_is_not_followed(server, tmp_path):
    (tmp_path / "kept").write_bytes(b"of the user")
    (tmp_path / PART).symlink_to("kept")
    with pytest.raises(DownloadError, match="cannot be written into"):
        fetch(remote(server), tmp_path)
    assert (tmp_path / "kept").read_bytes() == b"of the user"


def test_two_processes_do_not_share_a_download(server, tmp_path):
    with (
        held(tmp_path / PART),
        pytest.raises(DownloadError, match="another process is downloading this file; wait"),
    ):
        fetch(remote(server), tmp_path)
    assert server.requests == []


def test_a_download_that_another_process_completes_is_used(server, tmp_path, monkeypatch):
    @contextlib.contextmanager
    def completed_meanwhile(path):
        with held(path):
            (tmp_path / "file.bin").write_bytes(CONTENT)
            yield

    monkeypatch.setattr(download, "held", completed_meanwhile)
    assert fetch(remote(server), tmp_path).read_bytes() == CONTENT
    assert server.requests == []
    assert [path.name for path in tmp_path.iterdir()] == ["file.bin"]


def test_a_folder_that_cannot_be_created_is_reported(server, tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(DownloadError, match=r"cannot be written into .*taken"):
        fetch(remote(server), tmp_path / "taken")


def test_cifar_is_downloaded_only_when_asked(server, tmp_path, monkeypatch):
    files = published_sets.cifar10_python_files()
    archive = published_sets.tar_gz("cifar-10-batches-py", files)
    server.files["/cifar.tar.gz"] = archive
    source = remote(server, archive, "cifar.tar.gz")
    small = download.dataclasses.replace(cifar.CIFAR10, python=source)
    assert len(cifar.open_cifar(small, tmp_path, download=True)) == 60
    assert len(cifar.open_cifar(small, tmp_path)) == 60
    assert server.requests == [None]


def test_mnist_downloads_what_is_missing(server, tmp_path):
    published_sets.write_mnist(tmp_path / "source")
    digests = []
    for stem in ("train-images", "train-labels", "t10k-images", "t10k-labels"):
        (path,) = (tmp_path / "source").glob(f"{stem}*")
        server.files[f"/{path.name}"] = path.read_bytes()
        digests.append(mnist.Published(stem, file_digest(path, "md5")))
    small = download.dataclasses.replace(mnist.MNIST, home=f"{server.url}/", files=tuple(digests))
    target = tmp_path / "target"
    assert len(mnist.open_mnist(small, target, download=True)) == 30
    (target / "t10k-labels-idx1-ubyte.gz").unlink()
    assert len(mnist.open_mnist(small, target, download=True)) == 30
    assert len(server.requests) == 5
