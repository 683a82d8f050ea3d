"""Adding and removing images over HTTP, what is refused, and what a killed server leaves."""

from __future__ import annotations

import concurrent.futures

import numpy as np
import pytest
from PIL import Image
from served_album import TOKEN, WRITER, client_of, encoder, make_album, picture

import hashkit
from hashkit.bank.editor import BankEditor
from hashkit.datasets.sets import open_image_set
from hashkit.errors import BankLockedError, ConfigError
from hashkit.server.limits import ServerLimits
from hashkit.server.writable import token_of
from hashkit.workflow.sync import sync


@pytest.fixture
def bank(tmp_path):
    return make_album(tmp_path, 3)


def names(bank):
    with hashkit.Bank.open(bank) as opened:
        gone = np.zeros(len(opened), bool) if opened.deleted is None else opened.deleted
        return [name for name, is_gone in zip(opened.names, gone, strict=True) if not is_gone]


def test_an_upload_is_found_shown_and_removed(tmp_path, bank):
    album = tmp_path / "album"
    with client_of(bank, writable=album) as client:
        made = client.post("/images?name=new/a cat.png", content=picture(7), headers=WRITER)
        assert made.status_code == 201
        row = made.json()["row"]
        assert made.json() == {"name": "new/a cat.png", "row": 3, "code": made.json()["code"]}
        hit = client.post("/search?k=1", content=picture(7)).json()["hits"][0]
        assert (hit["row"], hit["distance"], hit["name"]) == (row, 0, "new/a cat.png")
        assert client.get(f"/rows/{row}/image").content == picture(7)
        again = client.post("/images?name=new/a cat.png", content=picture(8), headers=WRITER)
        assert again.status_code == 409
        assert client.delete("/images/new/a cat.png", headers=WRITER).status_code == 204
        assert client.delete("/images/new/a cat.png", headers=WRITER).status_code == 404
        hit = client.post("/search?k=1", content=picture(7)).json()["hits"][0]
        assert hit["row"] != row
        assert client.get(f"/rows/{row}/thumbnail").status_code == 404
    assert sorted(path.name for path in album.rglob("*.png")) == ["0.png", "1.png", "2.png"]
    assert names(bank) == ["0.png", "2.png", "sub/1.png"]


@pytest.mark.end_to_end
def test_a_sync_finds_nothing_to_do_for_uploads(tmp_path, bank):
    with client_of(bank, writable=tmp_path / "album") as client:
        client.post("/images?name=x.png", content=picture(7), headers=WRITER)
    status = (tmp_path / "album" / "x.png").stat()
    with hashkit.Bank.open(bank) as opened:
        files = opened.files
        assert (files.sizes[3], files.mtimes_ns[3]) == (status.st_size, status.st_mtime_ns)
        assert opened.verify() is None


@pytest.mark.end_to_end
def test_many_uploads_at_once_each_get_their_row(tmp_path):
    bank, folder = tmp_path / "new.h5", tmp_path / "uploads"
    with client_of(bank, writable=folder) as client:

        def add(n):
            return client.post(f"/images?name={n % 10}.png", content=picture(n), headers=WRITER)

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(add, range(20)))
    made = [answer.json() for answer in answers if answer.status_code == 201]
    assert sorted(answer.status_code for answer in answers) == [201] * 10 + [409] * 10
    with hashkit.Bank.open(bank) as opened:
        assert sorted(opened.names) == [f"{n}.png" for n in range(10)]
        for one in made:
            stored = encoder().encode(folder / one["name"])[0]
            assert np.array_equal(opened.codes[one["row"]], stored)
            assert (opened.names[one["row"]], stored.tobytes().hex()) == (one["name"], one["code"])


WRONG_NAMES = [
    *("../x.png", "/x.png", "a//x.png", "a/../x.png", ".x.png", ".git/x.png", "x.png/", "a\\x.png"),
    *(
        "x",
        "x.exe",
        "x.svg",
        "a\0.png",
        "a\n.png",
        "c:x.png",
        "con.png",
        "COM\u00b9.png",
        "lpt1 .tar.png",
        "a\u200b.png",
        " x.png",
        "x.png.",
        "%ff.png",
    ),
    *("a" * 300 + ".png", "a/" * 600 + "x.png", "\u202egnp.x.png", "a\u3164.png"),
]


def test_names_that_lead_elsewhere_are_refused(tmp_path, bank):
    (tmp_path / "album" / "out").symlink_to(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with client_of(bank, writable=tmp_path / "album") as client:
        for name in [*WRONG_NAMES, "out/x.png"]:
            given = name if name == "%ff.png" else httpx_quoted(name)
            answer = client.post(f"/images?name={given}", content=picture(9), headers=WRITER)
            assert answer.status_code == 422, (name, answer.text)
        answer = client.post("/images", content=picture(9), headers=WRITER)
        assert answer.status_code == 400
        for name in ("..%2Falbum.h5", "../album.h5", "out/album.h5"):
            assert client.delete(f"/images/{name}", headers=WRITER).status_code == 404
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_that_is_gone_or_became_a_link_takes_and_loses_nothing(tmp_path, bank):
    album, elsewhere = tmp_path / "album", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "0.png").write_bytes(b"of somebody else")
    with client_of(bank, writable=album) as client:
        album.rename(tmp_path / "moved")
        for link in (False, True):
            if link:
                album.symlink_to(elsewhere)
            made = client.post("/images?name=x.png", content=picture(7), headers=WRITER)
            assert (made.status_code, made.headers["Retry-After"]) == (503, "30")
            assert "replaced by a link" in made.json()["error"]
            assert client.delete("/images/0.png", headers=WRITER).status_code == 503
        assert [path.name for path in elsewhere.iterdir()] == ["0.png"]
        album.unlink()
        (tmp_path / "moved").rename(album)
        made = client.post("/images?name=x.png", content=picture(7), headers=WRITER)
        assert made.status_code == 201
    assert names(bank) == ["0.png", "2.png", "sub/1.png", "x.png"]


def test_names_that_some_systems_do_not_tell_apart_are_one_name(tmp_path, bank):
    album = tmp_path / "album"
    with client_of(bank, writable=album) as client:

        def add(name):
            given = {"name": name}
            answer = client.post("/images", params=given, content=picture(9), headers=WRITER)
            return answer.status_code, answer.json().get("error", "")

        assert add("gr\u00fcn.png")[0] == 201
        before = sorted(album.rglob("*"))
        for name, words in (
            *(("gru\u0308n.png", "some systems"), ("GR\u00dcN.PNG", "some systems")),
            *(("Sub/1.png", "'sub/1.png'"), ("gr\u00fcn.png", "already")),
            ("0.png/x.png", "expected '0.png' to be a folder"),
        ):
            status, error = add(name)
            assert (status, words in error) == (409, True), (name, error)
        assert sorted(album.rglob("*")) == before
        assert client.delete("/images/0.PNG", headers=WRITER).status_code == 404


def httpx_quoted(name):
    from urllib.parse import quote

    return quote(name, safe="")


def test_only_clients_with_the_token_may_write(tmp_path, bank):
    with client_of(bank, writable=tmp_path / "album") as client:
        for given in ({}, {"Authorization": "Bearer x"}, {"Authorization": f"Basic {TOKEN}"}):
            for method, path in (("POST", "/images?name=x.png"), ("DELETE", "/images/0.png")):
                answer = client.request(method, path, content=picture(9), headers=given)
                assert answer.status_code == 401
                assert answer.headers["www-authenticate"] == "Bearer"
        lower = {"Authorization": f"bearer {TOKEN}"}
        assert client.delete("/images/0.png", headers=lower).status_code == 204
    for token in ("", "short", "sixteen letters and spaces", "sixteen-letters-ü"):
        with pytest.raises(ConfigError, match="HASHKIT_TOKEN"):
            token_of({"HASHKIT_TOKEN": token})


@pytest.mark.end_to_end
def test_an_upload_that_cannot_be_used_leaves_nothing(tmp_path, bank):
    before = sorted(tmp_path.rglob("*"))
    limits = ServerLimits(max_bytes=5_000)
    with client_of(bank, writable=tmp_path / "album", limits=limits) as client:
        for body, status in ((b"hello", 415), (picture(9)[:-300], 422), (bytes(5_001), 413)):
            answer = client.post("/images?name=x.png", content=body, headers=WRITER)
            assert answer.status_code == status
    assert sorted(tmp_path.rglob("*")) == before
    assert len(names(bank)) == 3


@pytest.mark.end_to_end
def test_a_bank_that_cannot_be_written_leaves_no_file(tmp_path, bank, monkeypatch):
    with client_of(bank, writable=tmp_path / "album") as client:

        def full(*_, **__):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(BankEditor, "apply", full)
        answer = client.post("/images?name=x.png", content=picture(9), headers=WRITER)
        assert answer.status_code == 507
    assert not (tmp_path / "album" / "x.png").exists()


@pytest.mark.end_to_end
def test_the_next_start_adds_uploads_that_a_killed_server_left(tmp_path, bank):
    album = tmp_path / "album"
    (album / "late.png").write_bytes(picture(7))
    (album / "broken.png").write_bytes(b"no image")
    hashkit.delete_rows(bank, [0])
    with client_of(bank, writable=album) as client:
        assert (
            client.post("/search?k=1", content=picture(7)).json()["hits"][0]["name"] == "late.png"
        )
    assert names(bank) == ["2.png", "sub/1.png", "late.png"]  # what was deleted stays deleted


@pytest.mark.end_to_end
def test_a_sync_after_uploads_changes_nothing(tmp_path):
    bank, folder = tmp_path / "new.h5", tmp_path / "uploads"
    with client_of(bank, writable=folder) as client:
        for seed in range(3):
            client.post(f"/images?name=a/{seed}.png", content=picture(seed), headers=WRITER)
        client.delete("/images/a/1.png", headers=WRITER)
    report = sync(folder, bank, encoder())
    counts = report.added, report.changed, report.moved, report.removed, report.unchanged
    assert counts == (0, 0, 0, 0, 2)


@pytest.mark.end_to_end
def test_uploads_are_labelled_as_the_bank_labels(tmp_path):
    for seed, label in enumerate(("cat", "dog")):
        path = tmp_path / "album" / label / f"{seed}.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(picture(seed))
    bank = tmp_path / "album.h5"
    hashkit.encode(open_image_set(str(tmp_path / "album")), encoder(), bank).close()
    with client_of(bank, writable=tmp_path / "album") as client:
        for name, label in (("dog/new.png", "dog"), ("new.png", None)):
            seed = len(name)
            client.post(f"/images?name={name}", content=picture(seed), headers=WRITER)
            hit = client.post("/search?k=1", content=picture(seed)).json()["hits"][0]
            assert (hit["name"], hit["label"]) == (name, label)
        found = client.post("/search?label=dog", content=picture(0)).json()["hits"]
        assert {hit["name"] for hit in found} == {"dog/1.png", "dog/new.png"}


def test_a_server_locks_the_bank(tmp_path, bank):
    with client_of(bank, writable=tmp_path / "album"), pytest.raises(BankLockedError):
        BankEditor.open(bank)
    BankEditor.open(bank).close()
    Image.new("RGB", (8, 8)).save(tmp_path / "elsewhere.png")
    with pytest.raises(ConfigError, match="the folder of the bank's images"):
        client_of(bank, writable=tmp_path / "other").__enter__()


def test_a_bank_that_replaces_another_takes_the_uploads(tmp_path, bank):
    album = tmp_path / "album"
    same, other = tmp_path / "same.h5", tmp_path / "other.h5"
    hashkit.encode(album, encoder(), same).close()
    make_album(tmp_path / "elsewhere", 2).replace(other)
    with client_of(bank, writable=album) as client:
        assert client.post("/images?name=a.png", content=picture(7), headers=WRITER).is_success
        same.replace(bank)
        assert client.post("/images?name=b.png", content=picture(8), headers=WRITER).is_success
        assert client.delete("/images/0.png", headers=WRITER).status_code == 204
        assert names(bank) == ["2.png", "sub/1.png", "b.png"]
        for step, words in ((lambda: other.replace(bank), "other images"), (bank.unlink, "gone")):
            step()
            before = sorted(album.rglob("*"))
            added = client.post("/images?name=c.png", content=picture(9), headers=WRITER)
            removed = client.delete("/images/2.png", headers=WRITER)
            for answer in (added, removed):
                assert answer.status_code == 503
                assert words in answer.json()["error"]
                assert str(tmp_path) not in answer.text
            assert sorted(album.rglob("*")) == before
