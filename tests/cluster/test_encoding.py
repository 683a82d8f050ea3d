"""Shards that are encoded by tasks equal those that one machine makes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from cli_samples import break_image, write_class_folders
from inline_engine import InlineEngine

import hashkit
from hashkit.bank.reader import Bank
from hashkit.cluster import tasks
from hashkit.cluster.encode_jobs import EncodeWork
from hashkit.cluster.encoding import encode_on_cluster, task_resources
from hashkit.cluster.engine import LostError, Resources
from hashkit.errors import BankMismatchError, ClusterError
from hashkit.runtimes.builtin import model_path
from hashkit.runtimes.settings import RuntimeSettings
from hashkit.workflow.encoding import EncodeOptions
from hashkit.workflow.reporter import NoteList
from hashkit.workflow.shard_plans import ImagesToShard

ONE = Resources()
PHASH = model_path("phash")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    names = write_class_folders(folder, 3)
    break_image(folder / names[4])
    return folder


def work_in(folder: Path) -> EncodeWork:
    return EncodeWork(folder, PHASH, RuntimeSettings(device="cpu"), EncodeOptions())


def encode(engine, folder: Path, photos: Path, n_shards: int = 4):
    notes = NoteList()
    wanted = ImagesToShard(str(photos))
    return encode_on_cluster(engine, work_in(folder), wanted, n_shards, ONE, notes), notes


def test_codes_and_names_equal_those_of_one_machine(photos, tmp_path):
    reports, notes = encode(InlineEngine(), tmp_path / "set", photos)
    hashkit.encode(str(photos), PHASH, tmp_path / "one.h5", device="cpu")
    with hashkit.BankSet.open(tmp_path / "set") as banks, Bank.open(tmp_path / "one.h5") as one:
        assert len(banks) == len(reports) == 4
        assert b"".join(bank.codes.tobytes() for bank in banks) == one.codes.tobytes()
        assert [name for bank in banks for name in bank.names] == list(one.names)
    assert sum(report.n_skipped for report in reports) == 1
    assert any("1 image skipped" in line for line in notes.lines)
    again, _ = encode(InlineEngine(), tmp_path / "set", photos)
    assert all(report.was_complete for report in again)


def test_a_lost_shard_is_encoded_again_with_a_note(photos, tmp_path):
    class OneIsLostOnce(InlineEngine):
        n_lost = 0

        def result(self, call):
            result = super().result(call)
            path = getattr(getattr(result, "report", None), "path", Path())
            if path.name == "shard-00002.h5" and not self.n_lost:
                self.n_lost += 1
                raise LostError("the node died")
            return result

    reports, notes = encode(OneIsLostOnce(), tmp_path, photos)
    assert [report.was_complete for report in reports] == [False, False, True, False]
    (line,) = [line for line in notes.lines if "was lost" in line]
    assert line == (
        "warning: a process or node of the cluster was lost; shard 3 goes on in another process, "
        "from the last committed rows"
    )


def test_a_failed_shard_is_a_one_line_error_and_the_others_are_kept(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(tasks, "_RETRY_SECONDS", (0.0, 0.0))

    class OneIsLost(InlineEngine):
        def result(self, call):
            result = super().result(call)
            if getattr(getattr(result, "report", None), "path", Path()).name == "shard-00002.h5":
                raise LostError("the node died")
            return result

    notes = NoteList()
    with pytest.raises(ClusterError, match=r"1 of 4 shards failed, first shard 3 \(its process"):
        encode_on_cluster(OneIsLost(), work_in(tmp_path), ImagesToShard(str(photos)), 4, ONE, notes)
    failed = [line for line in notes.lines if " failed: " in line]
    assert failed == [
        "warning: shard 3 of 4 failed: its process or node was lost, several times: the node died"
    ]
    assert sum("shard 3 goes on" in line for line in notes.lines) == 2
    _, notes = encode(InlineEngine(), tmp_path, photos)
    assert not any(" failed: " in line for line in notes.lines)


def test_another_model_is_refused_before_shards_are_made(photos, tmp_path):
    encode(InlineEngine(), tmp_path, photos)
    other = dataclasses.replace(work_in(tmp_path), model=model_path("phash-256"))
    with pytest.raises(
        BankMismatchError, match="expected shards made with the n_bits 64, found 256"
    ):
        encode_on_cluster(InlineEngine(), other, ImagesToShard(str(photos)), 4, ONE)


def test_a_task_takes_a_gpu_and_its_share_of_the_cpus_where_there_are_gpus():
    engine = InlineEngine()
    assert task_resources(engine, "auto") == Resources(cpus=1)
    with pytest.raises(ClusterError, match="expected a cluster with GPUs, found 0"):
        task_resources(engine, "cuda", gpus=1)
    engine.n_cpus, engine.n_gpus = 64, 8
    assert task_resources(engine, "auto") == Resources(cpus=8, gpus=1)
    assert task_resources(engine, "cuda", gpus=0.5) == Resources(cpus=4, gpus=0.5)
    assert task_resources(engine, "cpu") == Resources(cpus=1)
