"""What a server gives to nobody, and how it keeps answering whatever a client does."""

from __future__ import annotations

import io
import os
import threading
import time

import numpy as np
import pytest
from PIL import Image
from served_album import client_of, encoder, make_album, picture

import hashkit
from hashkit.bank.header import BankSource
from hashkit.bank.names import hash_names
from hashkit.bank.writer import BankWriter
from hashkit.server import pictures
from hashkit.server.gate import is_own_host
from hashkit.server.limits import ServerLimits


@pytest.fixture
def bank(tmp_path):
    return make_album(tmp_path, 3)


@pytest.fixture(scope="module")
def same_bank(tmp_path_factory):
    """A bank for tests that change nothing."""
    return make_album(tmp_path_factory.mktemp("served"), 3)


def hostile_bank(tmp_path, names):
    """A bank with the given names."""
    root = tmp_path / "album"
    source = BankSource("album", str(root), "", "all", None, len(names), hash_names(names, None))
    with hashkit.Bank.open(tmp_path / "album.h5") as opened:
        header = opened.header
    from dataclasses import replace

    path = tmp_path / "hostile.h5"
    header = replace(header, source=source, has_files=False)
    n_bytes = sum(len(name.encode()) for name in names)
    with BankWriter.create(path, header, n_rows=len(names), n_name_bytes=n_bytes) as writer:
        writer.write(np.zeros((len(names), 8), np.uint8), names, n_consumed=len(names))
        writer.complete()
    return path


def test_nothing_outside_the_folder_is_given_out(tmp_path, bank):
    secret = tmp_path / "secret.png"
    secret.write_bytes(picture(99))
    album = tmp_path / "album"
    (album / "text.png").write_text("a password")
    (album / "link.png").symlink_to(secret)
    (album / "folder").symlink_to(tmp_path)
    os.mkfifo(album / "pipe.png")
    names = ["../secret.png", str(secret), "text.png", "link.png", "folder/secret.png"]
    names += ["pipe.png", "sub", "missing.png", "sub/../../secret.png", "0.png"]
    with client_of(hostile_bank(tmp_path, names)) as client:
        for row in range(len(names) - 1):
            for kind in ("thumbnail", "image"):
                answer = client.get(f"/rows/{row}/{kind}")
                assert answer.status_code == 404, (names[row], answer.status_code)
        assert client.get(f"/rows/{len(names) - 1}/image").content == picture(0)


def test_a_link_to_the_image_that_was_encoded_is_followed(tmp_path, bank):
    (tmp_path / "elsewhere.png").write_bytes(picture(8))
    (tmp_path / "album" / "link.png").symlink_to(tmp_path / "elsewhere.png")
    hashkit.encode(tmp_path / "album", encoder(), bank, overwrite=True).close()
    with client_of(bank) as client:
        (row,) = [one["row"] for one in client.get("/rows").json()["rows"] if "link" in one["name"]]
        assert client.get(f"/rows/{row}/image").content == picture(8)
        (tmp_path / "elsewhere.png").write_bytes(picture(9))
        assert client.get(f"/rows/{row}/image").status_code == 404


def test_no_path_of_an_address_reaches_the_disk(same_bank):
    with client_of(same_bank) as client:
        for path in (
            *("/page/..%2f..%2f__init__.py", "/page/../album.h5", "/page//etc/passwd"),
            *("/rows/-1/image", "/rows/x/image", "/rows/%D9%A3/image"),
            *("/rows/" + "9" * 5000 + "/image", "/..%2falbum.h5", "/album.h5"),
        ):
            assert client.get(path).status_code in (404, 422), path


def test_pictures_have_no_metadata(tmp_path, bank, monkeypatch):
    exif = Image.Exif()
    exif[0x010E] = "a place"
    exif[0x0112] = 6
    for suffix, kind in ((".tif", "TIFF"), (".jpg", "JPEG")):
        (tmp_path / "album" / f"x{suffix}").write_bytes(picture(5, kind, side=400, exif=exif))
    bank.unlink()
    with hashkit.encode(tmp_path / "album", encoder(), bank) as opened:
        rows = [row for row, name in enumerate(opened.names) if name.startswith("x")]
    with client_of(bank) as client:
        tags = {}
        for row in rows:
            for kind, side in (("thumbnail", 256), ("image", 400)):
                made = client.get(f"/rows/{row}/{kind}")
                assert made.headers["content-type"] == "image/jpeg"
                assert b"a place" not in made.content
                assert max(Image.open(io.BytesIO(made.content)).size) == side
                tags[f"/rows/{row}/{kind}"] = made.headers["etag"]
        monkeypatch.setattr(pictures, "_as_jpeg", None)  # nothing is decoded for these answers
        for path, tag in tags.items():
            assert client.get(path, headers={"If-None-Match": tag}).status_code == 304


def test_a_site_that_points_its_name_here_gets_nothing(same_bank):
    with client_of(same_bank, allow_hosts=("photos.example.org",)) as client:
        for host, status in (
            *(("evil.example.org", 403), ("localhost.evil.org", 403), ("", 403)),
            *(("localhost:8000", 200), ("192.168.0.7", 200), ("[::1]:80", 200)),
            *(("Photos.Example.org", 200),),
        ):
            assert client.get("/about", headers={"Host": host}).status_code == status, host
        assert client.get("/healthz", headers={"Host": "anything"}).status_code == 200
    assert is_own_host("anything", ["*"])


def test_other_sites_read_answers_only_if_asked(same_bank):
    origin = {"Origin": "https://example.org"}
    with client_of(same_bank) as client:
        answer = client.get("/about", headers=origin)
        assert "access-control-allow-origin" not in answer.headers
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["x-content-type-options"] == "nosniff"
    with client_of(same_bank, allow_origins=("https://example.org",)) as client:
        answer = client.get("/about", headers=origin)
        assert answer.headers["access-control-allow-origin"] == "https://example.org"
        other = client.get("/about", headers={"Origin": "https://evil.org"})
        assert "access-control-allow-origin" not in other.headers


def test_too_many_requests_are_told_to_come_later(same_bank, monkeypatch):
    blocked, begun = threading.Event(), threading.Event()
    with client_of(same_bank, limits=ServerLimits(max_waiting=1, answer_seconds=20)) as client:
        run = type(encoder()).run

        def slow(*arguments):
            begun.set()
            assert blocked.wait(20)
            return run(*arguments)

        monkeypatch.setattr(type(encoder()), "run", slow)
        first = threading.Thread(
            target=client.post, args=("/search",), kwargs={"content": picture(0)}
        )
        first.start()
        assert begun.wait(20)
        answer = client.post("/search", content=picture(0))
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert client.get("/healthz").status_code == 200
        blocked.set()
        first.join()
        assert client.post("/search", content=picture(0)).status_code == 200


def test_an_answer_that_takes_too_long_is_given_up(same_bank, monkeypatch):
    with client_of(same_bank, limits=ServerLimits(answer_seconds=0.05)) as client:
        run = type(encoder()).run
        monkeypatch.setattr(type(encoder()), "run", lambda *a: (time.sleep(0.3), run(*a))[1])
        assert client.post("/search", content=picture(0)).status_code == 504
