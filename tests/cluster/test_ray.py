"""Searches on a Ray cluster: its nodes killed and stopped, it answers what one machine does."""

from __future__ import annotations

import contextlib
import os
import signal
import time

import numpy as np
import pytest
from cli_samples import fail, start, succeed
from sharded_banks import N_BITS, write_banks

import hashkit
from hashkit.cluster.searching import search_groups
from hashkit.workflow.reporter import NoteList

pytestmark = pytest.mark.cluster

LOST = {f"a process {what}; asking another one" for what in ("was lost", "does not answer")}


@pytest.fixture(scope="module")
def banks(tmp_path_factory):
    return write_banks(tmp_path_factory.mktemp("banks"))


class Asking:
    """Repeats one search, and checks each answer."""

    def __init__(self, groups, one):
        self._groups, self._codes = groups, one.codes[:16]
        self._expected = hashkit.search(self._codes, one, top_k=10)

    def seconds(self) -> float:
        began = time.monotonic()
        found = search_groups(self._groups, self._codes, N_BITS, top_k=10)
        np.testing.assert_array_equal(found.rows, self._expected.rows)
        np.testing.assert_array_equal(found.distances, self._expected.distances)
        return time.monotonic() - began


@contextlib.contextmanager
def groups_on(cluster, shards, n_replicas, notes):
    from hashkit.cluster.groups import ShardGroups
    from hashkit.cluster.ray_engine import RayEngine

    with (
        contextlib.closing(RayEngine(cluster.address, notes)) as engine,
        ShardGroups(engine, shards, n_groups=2, n_replicas=n_replicas, reporter=notes) as groups,
    ):
        yield groups


def wait_for_spares(groups):
    """Wait until each process has loaded kernels, which it was asked to do first."""
    for replicas in groups._replicas:
        for actor in replicas._actors:
            replicas._engine.wait([actor.call("ready")], 60)


def test_the_json_of_a_search_equals_that_of_one_machine(nodes, banks):
    _, shards = banks
    banks_given = " ".join(f"--bank {shard.path}" for shard in shards)
    asked = f"search --row 3 --row 150 --name photo-012.png {banks_given} --json"
    where = f"--cluster ray --address {nodes.address} --replicas 2"
    for settings in ("--k 20", "--radius 4 --label bee --exclude-self"):
        here = succeed(f"{asked} {settings}")
        assert here.json["queries"][0]["hits"]
        assert succeed(f"{asked} {settings} {where}").stdout == here.stdout


@pytest.mark.slow  # test_groups.py and test_duplicates.py do the same without Ray
def test_the_json_of_evaluate_and_dedup_equals_that_of_one_machine(nodes, banks, tmp_path):
    one, shards = banks
    where = f"--cluster ray --address {nodes.address}"
    given = " ".join(str(shard.path) for shard in shards)
    here = succeed(f"evaluate {one.path} {one.path} --json")
    assert succeed(f"evaluate {one.path} {given} --json {where}").stdout == here.stdout
    succeed(f"convert {one.path} {tmp_path}/set --shards 3")
    here = succeed(f"evaluate {tmp_path}/set {tmp_path}/set --json")
    assert succeed(f"evaluate {tmp_path}/set {tmp_path}/set --json {where}").stdout == here.stdout
    here = succeed(f"dedup {one.path} --json")
    assert succeed(f"dedup {one.path} --json {where}").stdout == here.stdout


def test_with_replicas_no_search_waits_long_for_a_killed_actor_or_a_stopped_node(nodes, banks):
    one, shards = banks
    notes = NoteList()
    with groups_on(nodes, shards, 2, notes) as groups:
        asking = Asking(groups, one)
        assert asking.seconds() < 5
        first, second = nodes.nodes
        wait_for_spares(groups)
        assert [len(node.workers("_Host")) for node in nodes.nodes] == [2, 2]
        os.kill(first.workers("_Host")[0], signal.SIGKILL)
        assert max(asking.seconds() for _ in range(5)) < 2
        second.stop()
        assert max(asking.seconds() for _ in range(5)) < 5
        second.go_on()
    assert notes.lines
    assert {line.rpartition(": ")[2] for line in notes.lines} <= LOST


@pytest.mark.slow
def test_with_replicas_no_search_waits_long_for_a_killed_node(nodes, banks):
    one, shards = banks
    with groups_on(nodes, shards, 2, NoteList()) as groups:
        asking = Asking(groups, one)
        asking.seconds()
        wait_for_spares(groups)
        nodes.nodes[0].kill()
        assert max(asking.seconds() for _ in range(5)) < 5


@pytest.mark.slow
def test_without_replicas_a_search_waits_until_ray_has_started_the_actor_again(nodes, banks):
    one, shards = banks
    with groups_on(nodes, shards, 1, NoteList()) as groups:
        asking = Asking(groups, one)
        asking.seconds()
        for node in nodes.nodes:
            for worker in node.workers("_Host"):
                os.kill(worker, signal.SIGKILL)
        assert asking.seconds() < 60


def test_a_missing_cluster_is_a_one_line_error(nodes, banks):
    asked = f"search --row 3 --bank {banks[0].path} --cluster ray"
    nowhere = fail(f"{asked} --address 127.0.0.1:1")
    assert "expected the head of a Ray cluster at 127.0.0.1:1, found none" in nowhere
    nowhere = fail(f"{asked} --address [::1]:1")
    assert "expected the head of a Ray cluster at [::1]:1, found none" in nowhere
    assert "must be one of ray, not 'dask'" in fail(asked.replace("ray", "dask"))
    assert "--replicas needs --cluster" in fail("search --row 3 --replicas 2")


@pytest.mark.slow
def test_a_wrong_token_is_a_one_line_error(nodes, banks, monkeypatch, tmp_path):
    """Ray tries it for 20 seconds."""
    asked = f"search --row 3 --bank {banks[0].path} --cluster ray"
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)
    # Ray reads the token once per process.
    _, refused = start(f"{asked} --address {nodes.address}", tmp_path).communicate()
    assert f"cannot join the Ray cluster at {nodes.address}: Failed to connect" in refused
    assert "with its token (RAY_AUTH_MODE=token" in refused
    assert len(refused.splitlines()) == 1
