"""Bank sets of object stores: copied once, checked, and the same answers."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_samples import fail, succeed
from looped import looped
from set_samples import write_shards

import hashkit
from hashkit.bank_set.finishing import finish
from hashkit.bank_set.remote import RemoteShard, remote_shard
from hashkit.errors import BankError, ConfigError, MissingExtraError
from hashkit.files import remote
from hashkit.files.addresses import url_of
from hashkit.files.copying import copies_reported


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("HASHKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def copied(monkeypatch) -> list[str]:
    """Names of the files that were copied."""
    names: list[str] = []
    copy = remote.copy_remote

    def counted(url, target, check, moved):
        names.append(url.rpartition("/")[2])
        copy(url, target, check, moved)

    monkeypatch.setattr("hashkit.bank_set.remote.copy_remote", counted)
    return names


def address(folder: Path) -> str:
    return f"file://{folder}"


@looped(
    ("path", "url"),
    [
        ("s3://bucket/a/set/", "s3://bucket/a/set"),
        (Path("s3://bucket/set"), "s3://bucket/set"),
        (Path("file:///data/set"), "file:///data/set"),
        ("gs://b", "gs://b"),
        ("/data/s3:/x", None),
        ("s3", None),
    ],
)
def test_an_address_is_told_from_a_path(path, url):
    assert url_of(path) == url


def test_a_set_at_an_address_answers_as_in_its_folder_and_is_copied_once(tmp_path, copied):
    folder = write_shards(tmp_path / "photos")
    here = hashkit.BankSet.open(folder)
    there = hashkit.BankSet.open(address(folder))
    assert there.manifest == here.manifest
    assert sorted(copied) == [shard.file for shard in here.manifest.shards]
    codes = here[2].codes[:3]
    found, expected = (hashkit.search(codes, one, top_k=7) for one in (there, here))
    np.testing.assert_array_equal(found.rows, expected.rows)
    np.testing.assert_array_equal(found.distances, expected.distances)
    hashkit.BankSet.open(address(folder))
    assert len(copied) == 3

    # A row is deleted where the set was made: only that shard is copied again.
    hashkit.delete_rows(folder, [here.n_rows - 1])
    assert hashkit.BankSet.open(address(folder)).n_deleted == 1
    assert len(copied) == 4
    assert there.n_deleted == 0, "an open set does not change"


def test_a_process_of_another_machine_copies_one_shard(tmp_path, cache, copied):
    folder = write_shards(tmp_path / "photos")
    bank = hashkit.BankSet.open(address(folder))[2]
    shard = remote_shard(bank.path)
    assert isinstance(shard, RemoteShard)
    assert shard.url == f"{address(folder)}/{bank.path.name}"
    del copied[:]
    shutil.rmtree(cache)
    with hashkit.Bank.open(shard.local()) as found:
        assert found.identity == bank.identity
    assert copied == [bank.path.name]
    assert remote_shard(folder / bank.path.name) is None


def test_files_that_do_not_match_the_manifest_are_refused(tmp_path, cache):
    folder = write_shards(tmp_path / "photos")
    name = "shard-00002.h5"
    whole = (folder / name).read_bytes()

    def refused() -> str:
        with pytest.raises(BankError) as caught:
            hashkit.BankSet.open(address(folder))
        assert not list(cache.glob("shards/*.part")), "no part is left"
        text = str(caught.value)
        assert text.startswith(address(folder))
        return text

    with hashkit.Bank.open(folder / name) as bank:
        codes, names = bank.codes.tobytes(), bank.names[0].encode()
    for column, place in (("codes", whole.index(codes)), ("names", whole.index(names))):
        (folder / name).write_bytes(whole[:place] + b"00" + whole[place + 2 :])
        expected = "rows of the digest" if column == "codes" else "an undamaged copy, found names"
        assert f"expected {expected}" in refused()
    (folder / name).write_bytes(whole[:-1])
    assert f"expected a file of {len(whole):,} bytes, found one of {len(whole) - 1:,}" in refused()
    (folder / name).unlink()
    assert "found no such file: upload it, and the manifest of the set after it" in refused()
    (folder / name).write_bytes(whole)
    manifest = json.loads((folder / "bankset.json").read_text())
    (folder / "bankset.json").write_text(json.dumps(manifest | {"format_version": 2}))
    assert "expected format version 1, found 2" in refused()
    (folder / "bankset.json").unlink()
    assert "expected the folder of a bank set, found no bankset.json there" in refused()


def test_the_cache_has_a_limit_and_drops_the_least_recently_used(tmp_path, cache, monkeypatch):
    first, second = (write_shards(tmp_path / name) for name in ("a", "b"))
    with monkeypatch.context() as fresh:  # the cache has no folder yet
        fresh.setenv("HASHKIT_CACHE_GB", "0.000001")
        with pytest.raises(BankError, match=r"found a limit of 1.0 KB: set HASHKIT_CACHE_GB"):
            hashkit.BankSet.open(address(first))
    n_bytes = sum(shard.bytes for shard in hashkit.BankSet.open(address(first)).manifest.shards)
    for path in cache.glob("shards/*.h5"):
        os.utime(path, (0, 0))
    monkeypatch.setenv("HASHKIT_CACHE_GB", f"{n_bytes * 1.5 / 1e9:.9f}")
    hashkit.BankSet.open(address(second))
    kept = [path.stat().st_size for path in cache.glob("shards/*.h5")]
    assert n_bytes <= sum(kept) <= n_bytes * 1.5
    monkeypatch.setenv("HASHKIT_CACHE_GB", "0.000001")
    finish(second)
    with pytest.raises(BankError, match=r"found a limit of 1.0 KB: set HASHKIT_CACHE_GB"):
        hashkit.BankSet.open(address(first))
    monkeypatch.setenv("HASHKIT_CACHE_GB", "much")
    with pytest.raises(ConfigError, match="expected a number of gigabytes above 0, found 'much'"):
        hashkit.BankSet.open(address(first))


def test_commands_read_addresses_and_never_write_to_them(tmp_path):
    folder = write_shards(tmp_path / "photos")
    url = address(folder)
    assert succeed(f"info {url} --json").json["paths"][0]["n_rows"] == 17
    succeed(f"verify {url}")
    succeed(f"convert {url} {tmp_path}/one.h5")
    for command in (
        f"delete {url} --rows 1",
        f"encode --finish {url}",
        f"encode {tmp_path} --model phash --shards 2 --out s3://bucket/set",
        f"encode {tmp_path} --model phash --shards 2 --out s3://bucket/set --cluster ray",
        f"convert {tmp_path}/one.h5 s3://bucket/one.h5",
        f"convert {tmp_path}/one.h5 s3://bucket/set --shards 2",
    ):
        assert "an address of an object store, which is only read" in fail(command)


def test_a_missing_package_is_a_one_line_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(MissingExtraError, match=r"an address of gs:// needs gcsfs.*'\.\[gcs\]'"):
        hashkit.BankSet.open("gs://bucket/set")
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(MissingExtraError, match=r"needs fsspec.*'\.\[cluster\]'"):
        hashkit.BankSet.open("file:///data/set")


def test_an_interrupted_copy_ends_soon_and_continues_with_the_missing_shards(tmp_path, copied):
    folder = write_shards(tmp_path / "photos", [range(n, n + 3) for n in range(0, 18, 3)])
    n_bytes = sum(path.stat().st_size for path in folder.glob("*.h5"))
    told = []

    def interrupt(url, done, total):
        told.append((url, total))
        if len(told) > 2:
            raise KeyboardInterrupt

    with copies_reported(interrupt), pytest.raises(KeyboardInterrupt):
        hashkit.BankSet.open(address(folder))
    assert set(told) == {(address(folder), n_bytes)}
    assert len(list((tmp_path / "cache" / "shards").iterdir())) == 2
    copied.clear()
    shown = succeed(f"info {address(folder)}").stderr
    assert f"copying {address(folder)}: " in shown
    assert len(copied) == 4
    assert "copying" not in succeed(f"info {address(folder)}").stderr


@pytest.mark.end_to_end
@pytest.mark.filterwarnings("default")  # warnings of the server's packages
def test_a_set_on_s3(tmp_path, monkeypatch, copied):
    server = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    folder = write_shards(tmp_path / "photos")
    here = hashkit.BankSet.open(folder)
    try:
        import s3fs

        store = s3fs.S3FileSystem(skip_instance_cache=True)
        store.mkdir("bucket")
        for path in [*folder.glob("*.h5"), folder / "bankset.json"]:
            store.put_file(str(path), f"bucket/a/photos/{path.name}")
        there = hashkit.BankSet.open("s3://bucket/a/photos/")
        assert there.manifest == here.manifest
        np.testing.assert_array_equal(there[2].codes, here[2].codes)
        hashkit.BankSet.open("s3://bucket/a/photos")
        assert len(copied) == 3
        hashkit.delete_rows(folder, [0])
        for name in ("shard-00000.h5", "bankset.json"):
            store.put_file(str(folder / name), f"bucket/a/photos/{name}")
        assert hashkit.BankSet.open("s3://bucket/a/photos").n_deleted == 1
        with pytest.raises(BankError, match=r"found no bankset.json there"):
            hashkit.BankSet.open("s3://bucket/nothing")
    finally:
        server.stop()
    with pytest.raises(
        BankError, match=r"cannot be read from the object store .* check the address"
    ):
        hashkit.BankSet.open("s3://bucket/a/photos")
