"""Bank sets that are encoded shard by shard."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from albums import draw
from kept_reporter import Kept
from linear_models import linear_model

import hashkit
from hashkit.bank.names import hash_names
from hashkit.datasets.lists import open_list
from hashkit.datasets.slices.listings import FileListing
from hashkit.datasets.slices.opening import open_slice
from hashkit.datasets.slices.plan import read_plan
from hashkit.errors import BankError, BankMismatchError, ConfigError, DatasetError
from hashkit.inputs import text
from hashkit.runtimes.encoder import Encoder
from hashkit.runtimes.faults import read_faults
from hashkit.workflow import shard_job
from hashkit.workflow.encoding import EncodeOptions
from hashkit.workflow.shard_plans import ImagesToShard, plan_shards
from hashkit.workflow.shards import encode_all_shards, encode_shard, finish_shards
from hashkit.workflow.unfinished_set import unfinished_set_facts

OPTIONS = EncodeOptions(batch_size=2, n_workers=1)


@pytest.fixture
def album(tmp_path) -> Path:
    for seed in range(9):
        draw(tmp_path / "album" / ("ant" if seed % 3 else "bee") / f"{seed}.png", seed)
    (tmp_path / "album" / "ant" / "broken.png").write_bytes(b"no image")
    return tmp_path / "album"


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "set"


def shards_of(folder: Path) -> list[hashkit.Bank]:
    return [hashkit.Bank.open(path) for path in sorted(folder.glob("shard-*.h5"))]


def contents(banks: list[hashkit.Bank]) -> tuple[bytes, list[str], list[int]]:
    return (
        np.concatenate([bank.codes for bank in banks]).tobytes(),
        [name for bank in banks for name in bank.names],
        [label for bank in banks for label in np.asarray(bank.labels).tolist()],
    )


def test_a_set_has_the_rows_of_one_bank(album, out, encoder):
    whole = hashkit.encode(album, encoder, out.parent / "one.h5", labels="folders")
    wanted = ImagesToShard(album, labels="folders")
    reports = encode_all_shards(wanted, 3, out, encoder, OPTIONS)
    assert contents(shards_of(out)) == contents([whole])
    assert [report.n_images for report in reports] == [3, 3, 4]
    manifest = json.loads((out / "bankset.json").read_text())
    assert manifest["n_rows"] == 9
    assert manifest["class_names"] == ["ant", "bee"]
    assert {one["slice"]["list"] for one in manifest["shards"]} == {whole.sources[0].names_sha256}
    assert sum(report.n_skipped for report in reports) == 1
    (skipped,) = [one for bank in shards_of(out) for one in read_faults(bank.path)]
    assert skipped.name == "ant/broken.png"


def test_shards_are_made_in_any_order_and_the_manifest_last(album, out, encoder):
    wanted = ImagesToShard(album)
    for number in (2, 0):
        plan_shards(wanted, 3, out, encoder, OPTIONS)
        encode_shard(out, number, encoder, OPTIONS)
    with pytest.raises(BankError, match=r"shard-00001\.h5 is missing"):
        finish_shards(out)
    assert not (out / "bankset.json").exists()
    before = (out / "shard-00000.h5").read_bytes()
    assert encode_shard(out, 0, encoder, OPTIONS).was_complete
    encode_shard(out, 1, encoder, OPTIONS)
    assert finish_shards(out).n_rows == 9
    assert (out / "shard-00000.h5").read_bytes() == before
    assert not (out / "unfinished").exists()
    with pytest.raises(ConfigError, match="`shard` must be between 0 and 2, not 3"):
        encode_shard(out, 3, encoder, OPTIONS)
    (album / "bee" / "6.png").unlink()
    hashkit.sync(album, bank=out, model=encoder)  # from now on, a shard follows the folder
    manifest = finish_shards(out)
    assert (manifest.n_rows, manifest.shards[2].n_deleted) == (9, 1)
    files = sorted(path.name for path in out.iterdir())
    with pytest.raises(BankMismatchError, match="found a bank set without it, which follows"):
        encode_all_shards(wanted, 2, out, encoder, OPTIONS)
    assert sorted(path.name for path in out.iterdir()) == files


def test_an_interrupted_shard_continues_where_it_stopped(album, out, encoder):
    plan_shards(ImagesToShard(album), 1, out, encoder, OPTIONS)

    def interrupt(progress):
        if progress.n_done == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode_shard(out, 0, encoder, OPTIONS, progress=interrupt)
    assert not (out / "shard-00000.h5").exists()
    (shard,) = unfinished_set_facts(out)["shards"]
    assert (shard["state"], shard["n_done"], shard["n_images"]) == ("begun", 6, 10)
    report = encode_shard(out, 0, encoder, OPTIONS)
    assert unfinished_set_facts(out)["next"] == f"hashkit encode --finish {out}"
    assert (report.n_resumed, report.n_encoded, report.n_skipped) == (6, 3, 1)
    assert [one.name for one in read_faults(report.path)] == ["ant/broken.png"]


def test_one_shard_encoded_twice_at_once_is_published_once(album, out, encoder, monkeypatch):
    monkeypatch.setattr(shard_job, "_LOOK_SECONDS", 0.0)
    monkeypatch.setattr(shard_job, "_PATIENCE_SECONDS", 0.0)
    plan_shards(ImagesToShard(album), 1, out, encoder, OPTIONS)
    notes, others = Kept(), []

    def another(progress):
        if progress.n_done == 4:  # while this writer holds the bank, as one that hangs would
            others.append(encode_shard(out, 0, encoder, OPTIONS, notes))

    late = encode_shard(out, 0, encoder, OPTIONS, progress=another)
    (early,) = others
    assert (early.n_encoded, early.was_complete, late.was_complete) == (9, False, True)
    assert "another process encodes this shard" in notes.text
    assert "makes no progress" in notes.text
    assert len(shards_of(out)[0]) == 9
    assert [path for path in (out / "unfinished").iterdir() if path.suffix == ".h5"] == []


def test_shards_may_be_empty(out, encoder, tmp_path):
    draw(tmp_path / "0.png", 0)
    (tmp_path / "1.png").write_bytes(b"no image")
    (tmp_path / "list.txt").write_text("0.png\n1.png\n")
    encode_all_shards(ImagesToShard(tmp_path / "list.txt"), 4, out, encoder, OPTIONS)
    assert [len(bank) for bank in shards_of(out)] == [0, 1, 0, 0]
    assert json.loads((out / "bankset.json").read_text())["n_rows"] == 1


def test_arguments_that_differ_from_the_plan_are_refused(album, out, encoder, tmp_path):
    listed = tmp_path / "list.txt"
    listed.write_text("".join(f"album/bee/{n}.png\n" for n in (0, 3, 6)))
    wanted = ImagesToShard(listed)
    first = plan_shards(wanted, 2, out, encoder, OPTIONS)
    os.utime(listed, ns=(1, 1))  # read again, and found to be the same
    assert plan_shards(wanted, 2, out, encoder, OPTIONS) == first
    with pytest.raises(BankMismatchError, match="expected a bank set of 3 shards, found the plan"):
        plan_shards(wanted, 3, out, encoder, OPTIONS)
    with pytest.raises(BankMismatchError, match=r"found the plan of 3 images of .*list\.txt"):
        plan_shards(ImagesToShard(album), 2, out, encoder, OPTIONS)
    other = Encoder.load(linear_model(tmp_path / "o.onnx", height=8, width=8, seed=1), device="cpu")
    with pytest.raises(BankMismatchError, match=r"expected shards made with the model_sha256"):
        encode_shard(out, 0, other, OPTIONS)
    listed.write_text("album/bee/0.png\nalbum/bee/3.png\n")
    with pytest.raises(BankMismatchError, match="before it changed: name another folder"):
        plan_shards(wanted, 2, out, encoder, OPTIONS)
    again = dataclasses.replace(OPTIONS, mode="overwrite")
    encode_all_shards(wanted, 1, out, encoder, again)
    assert [len(bank) for bank in shards_of(out)] == [2]


def test_a_damaged_slice_or_shard_is_reported(album, out, encoder):
    plan_shards(ImagesToShard(album), 2, out, encoder, OPTIONS)
    slice_file = out / "slices" / "00001.jsonl"
    whole = slice_file.read_bytes()
    slice_file.write_bytes(whole.replace(b"bee", b"ant"))
    with pytest.raises(DatasetError, match=r"00001\.jsonl: expected the slice .* remove this file"):
        encode_shard(out, 1, encoder, OPTIONS)
    slice_file.unlink()  # as the message says
    plan_shards(ImagesToShard(album), 2, out, encoder, OPTIONS)
    assert slice_file.read_bytes() == whole
    encode_shard(out, 0, encoder, OPTIONS)
    shutil.copy(out / "shard-00000.h5", out / "shard-00001.h5")
    hashkit.encode(album / "bee", encoder, out / "shard-00001.h5", overwrite=True)
    with pytest.raises(BankMismatchError, match=r"shard-00001\.h5: expected the shard of images 5"):
        finish_shards(out)


def test_two_planners_write_equal_files(album, out, encoder, tmp_path):
    plans = [plan_shards(ImagesToShard(album), 3, tmp_path / name, encoder) for name in "ab"]
    assert plans[0] == plans[1]
    files = [sorted((tmp_path / name).rglob("*.json*")) for name in "ab"]
    assert [path.read_bytes() for path in files[0]] == [path.read_bytes() for path in files[1]]


@pytest.mark.parametrize(
    "lines",
    [
        "a.png 3\n\n# b.png 1\nb.png -1\n c d.png 0\n",
        "\ufeffa.png\r\nb.png\r\nc d.png\r\n",
        "file,ant,bee\na.png,0,1\n'c d.png',1,1\n",
        '"c d.png";2\r"a.png";0',
    ],
)
def test_a_streamed_list_is_that_of_open_list(tmp_path, monkeypatch, lines, encoder, out):
    for name in ("a.png", "b.png", "c d.png"):
        draw(tmp_path / name, 0)
    listed = tmp_path / "list.txt"
    listed.write_bytes(lines.replace("'", '"').encode())
    whole = open_list(listed)
    monkeypatch.setattr(text, "_BLOCK_BYTES", 5)
    plan = plan_shards(ImagesToShard(listed), 2, out, encoder)
    parts = [open_slice(out, plan, number) for number in range(2)]
    assert [name for part in parts for name in part.names] == whole.names
    assert plan.class_names == whole.class_names
    assert plan.list == hash_names(whole.names, whole.labels)
    if whole.labels is not None:
        found = np.concatenate([part.labels for part in parts])
        assert found.tolist() == whole.labels.tolist()
        assert found.dtype == whole.labels.dtype


def test_lists_that_cannot_be_planned(tmp_path, monkeypatch, encoder, out):
    draw(tmp_path / "a.png", 0)
    listed = tmp_path / "list.txt"
    listed.write_text("a.png\nb.png\na.png\n")
    with pytest.raises(DatasetError, match=r"expected each image once, found 'a\.png' twice"):
        plan_shards(ImagesToShard(listed), 2, out, encoder)
    assert read_plan(out) is None
    monkeypatch.setattr(text, "_BLOCK_BYTES", 3)
    monkeypatch.setattr(text, "_LONGEST_LINE", 2)
    with pytest.raises(DatasetError, match="expected lines of at most"):
        list(FileListing(listed, None).entries())
    monkeypatch.setattr(text, "_LONGEST_LINE", 9)
    listed.write_bytes(b"a.png\n\xe9.png\n")
    with pytest.raises(DatasetError, match="line 2: expected a list in UTF-8"):
        list(FileListing(listed, None).entries())
    listed.write_bytes(b"")
    with pytest.raises(DatasetError, match="found no lines"):
        plan_shards(ImagesToShard(listed), 2, out, encoder)
    with pytest.raises(ConfigError, match="found the named set digits"):
        ImagesToShard("digits")


def test_a_damaged_plan_is_removed_with_its_shards_alone(album, out, encoder):
    hashkit.encode_shards(album, encoder, out, 2)
    (out / "plan.json").write_text("{")
    with pytest.raises(DatasetError, match="encode all shards again with `overwrite=True`"):
        hashkit.encode_shards(album, encoder, out, 2)
    assert hashkit.encode_shards(album, encoder, out, 2, overwrite=True).manifest.n_rows == 9
    for path in out.glob("shard-*"):
        path.unlink()
    (out / "plan.json").write_text("{")
    with pytest.raises(DatasetError, match="remove it, and run the same command again"):
        read_plan(out)


def test_images_in_tars_have_the_codes_of_files(album, out, encoder, tmp_path):
    (tmp_path / "tars").mkdir()
    files = sorted(path for path in album.rglob("*.png"))
    for number in range(2):
        with tarfile.open(tmp_path / "tars" / f"{number}.tar", "w") as tar:
            for path in files[5 * number : 5 * number + 5]:
                tar.add(path, path.name)
    whole = hashkit.encode(album, encoder, tmp_path / "one.h5", labels="none")
    found = hashkit.encode_shards(tmp_path / "tars", encoder, out, 3, batch_size=2)
    assert found.manifest.n_rows == len(whole) == 9
    assert np.concatenate([bank.codes for bank in found]).tobytes() == whole.codes.tobytes()
    assert found[0].names[0] == "0.tar/1.png"
    (skipped,) = [one for bank in found for one in read_faults(bank.path)]
    assert (skipped.name, skipped.reason) == ("1.tar/broken.png", "broken")
    again = hashkit.encode_shards(tmp_path / "tars", encoder, out, 3)
    assert again.identity == found.identity
    one = hashkit.encode(tmp_path / "tars", encoder, tmp_path / "two.h5", batch_size=2)
    assert one.codes.tobytes() == whole.codes.tobytes()
    assert list(one.names) == [name for bank in found for name in bank.names]
    assert one.sources[0].names_sha256 == found.manifest.shards[0].slice.list
    with pytest.raises(ConfigError, match="`image_column` and `label_column` need Parquet"):
        hashkit.encode(tmp_path / "tars", encoder, tmp_path / "two.h5", image_column="a")
    with pytest.raises(ConfigError, match="`image_column` and `label_column` need Parquet"):
        hashkit.encode(album, encoder, tmp_path / "two.h5", label_column="a")
    with pytest.raises(ConfigError, match="`protocol` and `part` need a folder"):
        hashkit.encode(tmp_path / "tars" / "0.tar", encoder, tmp_path / "c.h5", part="queries")
    with pytest.raises(BankMismatchError, match=r"before it changed|another list"):
        hashkit.encode_shards(f"{tmp_path}/tars/0.tar", encoder, out, 3)


def test_labels_of_a_list_may_be_left_out(out, encoder, tmp_path):
    draw(tmp_path / "a.png", 0)
    (tmp_path / "list.txt").write_text("a.png 3\n")
    found = hashkit.encode_shards(tmp_path / "list.txt", encoder, out, 1, labels="none")
    assert found[0].labels is None
    assert found.class_names == ()
