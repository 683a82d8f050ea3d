"""Groups of shards give the answers of one bank, from actors that know only their own rows."""

from __future__ import annotations

import json

import numpy as np
import pytest
from inline_engine import InlineEngine
from sharded_banks import N_BITS, write_banks

import hashkit
from hashkit.cluster.evaluating import evaluate_groups
from hashkit.cluster.grouping import group_bounds
from hashkit.cluster.groups import ShardGroups
from hashkit.cluster.searching import search_groups
from hashkit.errors import BankMismatchError, ClusterError
from hashkit.evaluation.settings import EvaluationSettings

RNG = np.random.default_rng(1)
CODES = np.packbits(RNG.random((9, N_BITS)) < 0.2, axis=1)


@pytest.fixture(scope="module")
def banks(tmp_path_factory):
    return write_banks(tmp_path_factory.mktemp("banks"))


def assert_same(found, expected):
    for name in ("distances", "rows", "asymmetric_distances"):
        ours, theirs = getattr(found, name, None), getattr(expected, name, None)
        assert (ours is None) == (theirs is None), name
        if ours is not None:
            np.testing.assert_array_equal(ours, theirs, name)
            assert ours.dtype == theirs.dtype


def test_answers_equal_those_of_one_bank(banks):
    one, shards = banks
    logits = np.where(np.unpackbits(CODES, axis=1)[:, :N_BITS], 1, -1) * RNG.random((9, N_BITS))
    where = RNG.random(len(one)) < 0.5
    left_out = [0, 130, len(one) - 1]
    kept = np.ones(len(one), np.bool_)
    kept[left_out] = False
    bees = one.labels == 1
    cases = [
        ({"top_k": 10}, {}),
        ({"top_k": 1000}, {}),
        ({"radius": 2}, {}),
        ({"radius": 3, "top_k": 4}, {}),
        ({"top_k": 5, "where": where}, {"where": where}),
        ({"top_k": 5, "where": kept}, {"left_out": left_out}),
        ({"top_k": 5, "where": kept & bees}, {"left_out": left_out, "labels": ["bee"]}),
        ({"top_k": 7, "logits": logits}, {"logits": logits}),
        ({"top_k": 7, "logits": logits, "oversample": 3}, {"logits": logits, "oversample": 3}),
    ]
    for n_groups in (1, 3):
        with ShardGroups(InlineEngine(), shards, n_groups=n_groups) as groups:
            for settings, ours in cases:
                given = {name: settings[name] for name in ("top_k", "radius") if name in settings}
                found = search_groups(groups, CODES, N_BITS, **given, **ours)
                expected = hashkit.search(CODES, one, **settings)
                assert_same(found, expected)
    many = hashkit.search(CODES, shards, top_k=10)
    with ShardGroups(InlineEngine(), shards) as groups:
        ours = search_groups(groups, CODES, N_BITS, top_k=10)
    np.testing.assert_array_equal(np.stack(ours.locate()), np.stack(many.locate()))


def test_shards_are_cut_into_groups_of_about_equal_size():
    assert group_bounds([5, 5, 5, 5], 2) == [(0, 2), (2, 4)]
    assert group_bounds([100, 1, 1, 1], 2) == [(0, 1), (1, 4)]
    assert group_bounds([1, 1, 1, 100], 3) == [(0, 2), (2, 3), (3, 4)]
    assert group_bounds([0, 0], 5) == [(0, 1), (1, 2)]
    assert group_bounds([3], 4) == [(0, 1)]


def test_a_lost_actor_between_the_two_rounds_is_replaced(banks, monkeypatch):
    """The second round searches again where the first one's hits are lost."""
    one, shards = banks
    monkeypatch.setattr("hashkit.retrieval.parts._ONE_ROUND_BYTES", 0)
    loaded = []
    monkeypatch.setattr("hashkit.workflow.warm_up.KERNELS.load", loaded.append)
    engine = InlineEngine()
    with ShardGroups(engine, shards, n_groups=2, n_replicas=2) as groups:
        part = groups.parts[0]
        count = part.count

        def count_and_kill(query, where):
            counts = count(query, where)
            engine.actors[0].kill()
            return counts

        monkeypatch.setattr(part, "count", count_and_kill)
        monkeypatch.setattr(part, "filtered", lambda *_: part)
        found = search_groups(groups, CODES, N_BITS, top_k=60)
        assert engine.actors[1].calls == ["warm_up", "answer"]
        assert N_BITS in loaded
    assert_same(found, hashkit.search(CODES, one, top_k=60))


def test_a_node_that_sees_other_rows_is_refused(tmp_path):
    _, shards = write_banks(tmp_path)
    hashkit.delete_rows(shards[0].path, [1])
    with pytest.raises(BankMismatchError, match="expected the bank that was opened, with 7 rows"):
        ShardGroups(InlineEngine(), shards)


def test_a_node_with_another_version_is_refused(banks, monkeypatch):
    monkeypatch.setattr("hashkit.cluster.groups.__version__", "9.9")
    with pytest.raises(ClusterError, match=r"expected hashkit 9\.9 on every node, found"):
        ShardGroups(InlineEngine(), banks[1])


def test_an_evaluation_equals_that_of_one_bank(banks):
    one, shards = banks
    done: list[int] = []
    for exclude_self in (False, True):
        # With itself as queries, whose rows are found again in other processes.
        queries = shards if exclude_self else [one]
        expected = hashkit.evaluate(one, one, exclude_self=exclude_self).to_dict()
        with ShardGroups(InlineEngine(), shards, n_groups=3) as groups:
            settings = EvaluationSettings(exclude_self=exclude_self)
            found = evaluate_groups(groups, queries, settings, lambda n, _: done.append(n))
        assert json.dumps(found.to_dict()) == json.dumps(expected)
        assert done[-1] == 2 * len(one)
