"""Duplicates whose near codes are found shard by shard equal those of one machine."""

from __future__ import annotations

import pytest
from inline_engine import InlineEngine
from sharded_banks import write_banks

import hashkit
from hashkit.cluster.duplicates import pairs_of_shards
from hashkit.errors import ConfigError
from hashkit.workflow.dedup import find_in_bank


def test_groups_equal_those_of_one_machine(tmp_path):
    one, shards = write_banks(tmp_path)
    expected = hashkit.find_duplicates(one, 1).to_dict()
    assert expected["n_duplicates"] > 10
    found = find_in_bank(one, lambda bits: pairs_of_shards(InlineEngine(), shards, bits), 1)
    assert found.to_dict() == expected


def test_more_pairs_than_can_be_grouped_are_refused(tmp_path, monkeypatch):
    _, shards = write_banks(tmp_path)
    monkeypatch.setattr("hashkit.workflow.near_codes._MAX_PAIRS", 5)
    with pytest.raises(ConfigError, match="at most 5 pairs of codes are near, found more within 3"):
        pairs_of_shards(InlineEngine(), shards, 3)
