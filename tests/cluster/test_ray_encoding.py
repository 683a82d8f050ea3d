"""Sets that a Ray cluster encodes equal those of one machine, whatever is killed meanwhile."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from cli_samples import start, succeed
from photo_sets import write_photos
from processes import wait_until

from hashkit.bank.reader import Bank
from hashkit.bank_set.reader import BankSet
from hashkit.files.private import is_private_name

pytestmark = pytest.mark.cluster

N_SHARDS = 12


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("set") / "photos"
    write_photos(folder, 240)
    return folder


@pytest.fixture(scope="module")
def one_machine(photos):
    """The bank of one machine."""
    path = photos.parent / "one.h5"
    succeed(f"encode {photos} --model phash --out {path} --device cpu")
    return Bank.open(path)


def command(photos: Path, out: Path, address: str) -> str:
    return (
        f"encode {photos} --model phash --shards {N_SHARDS} --out {out} --device cpu --json "
        f"--cluster ray --address {address}"
    )


def n_shards_of(folder: Path) -> int:
    return len(list(folder.glob("shard-*.h5")))


def assert_equal(folder: Path, one: Bank) -> None:
    with BankSet.open(folder) as banks:
        assert len(banks) == N_SHARDS
        assert b"".join(bank.codes.tobytes() for bank in banks) == one.codes.tobytes()
        assert [name for bank in banks for name in bank.names] == list(one.names)
    succeed(f"verify {folder}")
    assert not (folder / "unfinished").exists()
    assert not any(is_private_name(path.name) for path in folder.rglob("*"))


def test_a_node_killed_in_the_middle_costs_no_shard(nodes, photos, one_machine, tmp_path):
    out = tmp_path / "set"
    running = start(command(photos, out, nodes.address), tmp_path)
    wait_until(lambda: n_shards_of(out) >= 2)
    assert n_shards_of(out) < N_SHARDS
    nodes.nodes[0].kill()
    stdout, stderr = running.communicate(timeout=200)
    assert running.returncode == 0, stderr
    assert "failed" not in stderr
    assert "was lost; shard" in stderr
    assert len(json.loads(stdout)["banks"]) == N_SHARDS
    assert_equal(out, one_machine)


@pytest.mark.slow
def test_a_driver_that_was_killed_or_stopped_can_be_run_again(nodes, photos, one_machine, tmp_path):
    out = tmp_path / "set"
    for how in (signal.SIGKILL, signal.SIGINT):
        n_before = n_shards_of(out)
        running = start(command(photos, out, nodes.address), tmp_path)
        wait_until(lambda before=n_before: n_shards_of(out) > before)
        running.send_signal(how)
        _, stderr = running.communicate(timeout=100)
        assert running.returncode == (-signal.SIGKILL if how == signal.SIGKILL else 130), stderr
        assert "Traceback" not in stderr
        # Its tasks end with it.
        wait_until(lambda: not any(node.workers("encode_one_shard") for node in nodes.nodes))
        assert not (out / "bankset.json").exists()
    n_before = n_shards_of(out)
    assert n_before < N_SHARDS
    banks = succeed(command(photos, out, nodes.address)).json["banks"]
    assert sum(bank["was_complete"] for bank in banks) >= n_before
    assert_equal(out, one_machine)


@pytest.mark.slow
def test_two_drivers_at_once_make_one_set(nodes, photos, one_machine, tmp_path):
    out = tmp_path / "set"
    both = [start(command(photos, out, nodes.address), tmp_path) for _ in range(2)]
    ends = [one.communicate(timeout=200) for one in both]
    assert [one.returncode for one in both] == [0, 0], ends
    assert_equal(out, one_machine)
