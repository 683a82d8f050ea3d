"""A server, or somebody in between, cannot redirect a download, fill the disk, or stall it."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import urllib.request

import pytest
from file_server import CONTENT, PART, remote, serving
from looped import looped

from hashkit.datasets import download
from hashkit.datasets.cifar import CIFAR10, CIFAR100
from hashkit.datasets.download import RemoteFile, check_present, fetch
from hashkit.datasets.mnist import FASHION_MNIST, MNIST
from hashkit.errors import DownloadError

PUBLISHED = [
    *(file for cifar in (CIFAR10, CIFAR100) for file in (cifar.python, cifar.binary)),
    *(mnist.remote_file(one.stem) for mnist in (MNIST, FASHION_MNIST) for one in mnist.files),
]


@looped("file", PUBLISHED, ids=lambda file: file.url.rpartition("/")[2])
def test_published_files_have_https_a_sha256_and_a_size(file):
    assert file.url.startswith("https://")
    assert len(file.sha256) == 64
    assert 1000 < file.n_bytes == file.most_bytes < 2**28


@pytest.fixture
def server(monkeypatch):
    with serving(monkeypatch) as server:
        yield server


def redirected(url: str, target: str):
    handler = download._SafeRedirects()
    request = urllib.request.Request(url)  # noqa: S310 - nothing is opened
    return handler.redirect_request(request, None, 302, "Found", {}, target)


@looped("target", ["http://a/b", "ftp://a/b", "file:///etc/passwd", "HTTP://a/b"])
def test_https_leads_to_https_alone(target):
    assert redirected("https://a/b", "https://c/d").full_url == "https://c/d"
    with pytest.raises(DownloadError, match="which is not https: nothing was downloaded"):
        redirected("https://a/b", target)


def test_http_may_lead_to_https():
    assert redirected("http://a/b", "https://c/d").full_url == "https://c/d"
    assert redirected("http://a/b", "http://c/d").full_url == "http://c/d"
    with pytest.raises(DownloadError, match="which is not http or https"):
        redirected("http://a/b", "ftp://c/d")


def test_a_redirect_is_followed_by_a_download(server, tmp_path, monkeypatch):
    def lead_away(handler):
        handler.send_response(302)
        handler.send_header("Location", "ftp://127.0.0.1/file.bin")
        handler.end_headers()

    monkeypatch.setattr(server, "answer", lead_away)
    with pytest.raises(DownloadError, match=r"leads to ftp://127\.0\.0\.1/file\.bin"):
        fetch(remote(server), tmp_path)


@pytest.mark.parametrize("scheme", ["file", "ftp", "data"])
def test_only_http_and_https_are_opened(scheme, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "_PAUSES_SECONDS", (0.0, 0.0))
    (tmp_path / "secret").write_text("x")
    url = {"file": f"file://{tmp_path}/secret", "ftp": "ftp://a/b", "data": "data:,x"}[scheme]
    with pytest.raises(DownloadError, match="unknown url type"):
        fetch(RemoteFile("a", url, "md5:x"), tmp_path / "into")


@pytest.mark.parametrize("has_length", [True, False])
@pytest.mark.parametrize("n_bytes", [1000, len(CONTENT) - 1])
def test_more_than_the_published_size_is_not_stored(server, tmp_path, has_length, n_bytes):
    server.has_length = has_length
    file = dataclasses.replace(remote(server), n_bytes=n_bytes)
    with pytest.raises(DownloadError, match=f"has at most {n_bytes:,}: it was not stored"):
        fetch(file, tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert len(server.requests) == 1


def test_a_size_that_is_not_known_has_a_limit_too(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "_MOST_BYTES", 5000)
    with pytest.raises(DownloadError, match="has at most 5,000"):
        fetch(remote(server), tmp_path)


def test_a_kept_part_that_is_too_large_is_begun_again(server, tmp_path):
    (tmp_path / PART).write_bytes(b"x" * (len(CONTENT) + 1))
    file = dataclasses.replace(remote(server), n_bytes=len(CONTENT))
    assert fetch(file, tmp_path).read_bytes() == CONTENT
    assert server.requests == [None]


def test_a_server_that_is_too_slow_is_given_up(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "_PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(download, "_SLOWEST", 1e15)
    with pytest.raises(DownloadError, match=r"bytes in 0 s\): run again to continue"):
        fetch(remote(server), tmp_path)


# Files that are there already


def test_both_digests_must_match(server, tmp_path):
    good = hashlib.sha256(CONTENT).hexdigest()
    file = dataclasses.replace(remote(server), sha256=good, n_bytes=len(CONTENT))
    path = fetch(file, tmp_path)
    assert fetch(file, tmp_path) == path
    for other in (
        dataclasses.replace(file, sha256="0" * 64),
        dataclasses.replace(file, digest="md5:" + "0" * 32),
        dataclasses.replace(file, n_bytes=5),
    ):
        with pytest.raises(DownloadError, match=r"is not the published file: it has .*delete it"):
            fetch(other, tmp_path)
        with pytest.raises(DownloadError, match=r"does not have the published digest|at most 5"):
            fetch(other, tmp_path / "new")
        assert path.read_bytes() == CONTENT


def test_a_changed_file_is_noticed(server, tmp_path, caplog):
    path = fetch(remote(server), tmp_path)
    path.write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(DownloadError, match="is not the published file: it has the MD5"):
        fetch(remote(server), tmp_path)
    with caplog.at_level(logging.WARNING):
        check_present(remote(server), path, is_required=False)
    assert "is not the published file: it has the MD5" in caplog.text


@pytest.mark.parametrize("is_asked", [True, False])
def test_image_sets_check_their_files(tmp_path, caplog, is_asked):
    """An archive that somebody changed is refused with download=True, and reported otherwise."""
    import published_sets

    from hashkit.datasets.cifar import open_cifar
    from hashkit.datasets.mnist import open_mnist

    archive = published_sets.tar_gz("cifar-10-batches-py", published_sets.cifar10_python_files())
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(archive)
    published_sets.write_mnist(tmp_path)
    for open_set in (
        lambda: open_cifar(CIFAR10, tmp_path, download=is_asked),
        lambda: open_mnist(MNIST, tmp_path, download=is_asked),
    ):
        caplog.clear()
        if is_asked:
            with pytest.raises(DownloadError, match="is not the published file"):
                open_set()
        else:
            open_set()
            assert "is not the published file" in caplog.text
