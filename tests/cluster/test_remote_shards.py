"""Shards of an object store: each node copies those of its own groups."""

from __future__ import annotations

import shutil

from set_samples import write_shards

import hashkit
from hashkit.cluster.shard_group import ShardFile


def test_a_node_copies_a_shard_that_the_driver_has_opened(tmp_path, monkeypatch):
    folder = write_shards(tmp_path / "photos")
    monkeypatch.setenv("HASHKIT_CACHE", str(tmp_path / "driver"))
    bank = hashkit.BankSet.open(f"file://{folder}")[2]
    file = ShardFile.of(bank)
    monkeypatch.setenv("HASHKIT_CACHE", str(tmp_path / "node"))
    shutil.rmtree(tmp_path / "driver")
    with file.open() as opened:
        assert opened.identity == bank.identity
        assert opened.path.is_relative_to(tmp_path / "node")
    assert len(list((tmp_path / "node" / "shards").glob("*.h5"))) == 1, "no other shard is copied"
