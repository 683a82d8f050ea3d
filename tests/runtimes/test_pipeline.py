from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from looped import looped
from pipeline_samples import (
    BAD,
    HEIGHT,
    N_IMAGES,
    WIDTH,
    contents,
    encode,
    expected_codes,
    good_rows,
)
from slow_encode import source_of
from small_models import photographs

from hashkit.bank.reader import Bank
from hashkit.datasets.decoding import Fault
from hashkit.datasets.imageset import ImageSet
from hashkit.errors import (
    ConfigError,
    DatasetError,
    ImageError,
)
from hashkit.runtimes.encoder import Encoder
from hashkit.runtimes.faults import FaultLog, SkippedImage, faults_path, read_faults
from hashkit.runtimes.pipeline import EncodeProgress, encode_to_bank


@looped(("batch_size", "n_workers"), [(1, 1), (3, 2), (16, 3), (64, 2), (None, None)])
def test_bank_holds_the_usable_images_in_order(
    encoder: Encoder,
    folder: ImageSet,
    tmp_path: Path,
    batch_size: int | None,
    n_workers: int | None,
) -> None:
    path, rows = tmp_path / "bank.h5", good_rows(folder)
    report = encode(encoder, folder, path, batch_size=batch_size, n_workers=n_workers)

    with Bank.open(path) as bank:
        assert bank.is_complete
        assert list(bank.names) == [folder.names[row] for row in rows]
        np.testing.assert_array_equal(bank.codes, expected_codes(folder, rows))
        np.testing.assert_array_equal(bank.labels, folder.labels[rows])
        assert bank.class_names == ("temple", "flower")
        assert bank.header.model_sha256 == encoder.model_sha256
        assert bank.header.provider == "CPUExecutionProvider"
        assert bank.header.source == source_of(folder)
        assert len(np.unique(bank.codes, axis=0)) > 10, "equal codes would hide a wrong order"
    assert report.n_images == N_IMAGES
    assert (report.n_rows, report.n_encoded) == (len(rows), len(rows))
    assert (report.n_resumed, report.n_skipped) == (0, len(BAD))


@pytest.mark.parametrize("batch_size", [1, 16, 64])
def test_the_bank_knows_the_files_of_its_images(
    encoder: Encoder, folder: ImageSet, tmp_path: Path, batch_size: int
) -> None:
    path = tmp_path / "bank.h5"
    encode(encoder, folder, path, batch_size=batch_size)
    with Bank.open(path) as bank:
        assert bank.files is not None
        for row, name in enumerate(bank.names):
            assert folder.root is not None
            file = folder.root / name
            assert bank.files.sizes[row] == file.stat().st_size
            assert bank.files.mtimes_ns[row] == file.stat().st_mtime_ns
            digest = hashlib.blake2b(file.read_bytes(), digest_size=16).digest()
            assert bank.files.digests[row].tobytes() == digest


def test_images_in_memory_have_no_files(encoder: Encoder, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, HEIGHT, WIDTH, 3), dtype=np.uint8)
    encode(encoder, ImageSet("made", list("abcde"), pixels=pixels), tmp_path / "bank.h5")
    with Bank.open(tmp_path / "bank.h5") as bank:
        assert bank.files is None


def test_skipped_images_are_listed_with_the_reason(
    encoder: Encoder, folder: ImageSet, tmp_path: Path
) -> None:
    path = tmp_path / "bank.h5"
    report = encode(encoder, folder, path, batch_size=16)
    assert report.faults_path == tmp_path / "bank.h5.faults.jsonl"
    lines = [json.loads(line) for line in report.faults_path.read_text().splitlines()]
    assert [(line["row"], line["reason"]) for line in lines] == list(BAD.items())
    assert [line["name"] for line in lines] == [folder.names[row] for row in BAD]
    assert all(line["message"] for line in lines)
    assert [fault.row for fault in read_faults(path)] == list(BAD)
    assert json.loads(json.dumps(report.to_dict()))["n_skipped"] == len(BAD)


def test_progress_counts_every_image(encoder: Encoder, folder: ImageSet, tmp_path: Path) -> None:
    seen: list[EncodeProgress] = []
    encode(encoder, folder, tmp_path / "bank.h5", batch_size=16, progress=seen.append)
    assert [p.n_done for p in seen] == [0, 16, 32, 48, N_IMAGES]
    assert [p.n_skipped for p in seen] == [0, 1, 3, 3, 4]
    assert {(p.n_total, p.n_resumed) for p in seen} == {(N_IMAGES, 0)}


@pytest.mark.parametrize("label_kind", ["none", "single", "multi"])
def test_sets_in_memory_and_every_kind_of_label(
    encoder: Encoder, tmp_path: Path, label_kind: str
) -> None:
    pixels = photographs(10, HEIGHT, WIDTH)
    labels = {"none": None, "single": np.arange(10) % 3, "multi": np.eye(3, dtype=np.uint8)}
    values = labels[label_kind]
    if label_kind == "multi":
        values = values[np.arange(10) % 3]
    names = [f"memory/{row}" for row in range(10)]
    classes = () if values is None else ("a", "b", "c")
    image_set = ImageSet("memory", names, pixels=pixels, labels=values, class_names=classes)
    report = encode(encoder, image_set, tmp_path / "bank.h5", batch_size=4)
    assert report.faults_path is None
    with Bank.open(tmp_path / "bank.h5") as bank:
        assert bank.header.label_kind == label_kind
        np.testing.assert_array_equal(bank.codes, expected_codes(image_set, list(range(10))))
        if values is None:
            assert bank.labels is None
        else:
            np.testing.assert_array_equal(bank.labels, values)


def test_strict_stops_at_the_first_fault_and_keeps_what_is_before(
    encoder: Encoder, folder: ImageSet, tmp_path: Path
) -> None:
    path = tmp_path / "bank.h5"
    with pytest.raises(ImageError, match=r"flower/007\.png.*\(image 7\)") as caught:
        encode(encoder, folder, path, batch_size=16, strict=True)
    assert caught.value.reason == "broken"
    with Bank.open(path) as bank:
        assert not bank.is_complete
        assert list(bank.names) == folder.names[:7]
        assert bank.n_consumed == 7
    report = encode(encoder, folder, path, batch_size=16)
    assert (report.n_resumed, report.n_skipped) == (7, 4)
    encode(encoder, folder, tmp_path / "whole.h5")
    assert contents(path) == contents(tmp_path / "whole.h5")


def test_a_set_without_usable_images_is_an_error(
    encoder: Encoder, folder: ImageSet, tmp_path: Path
) -> None:
    bad = folder.subset(np.array(list(BAD)))
    for _ in range(2):
        with pytest.raises(DatasetError, match=r"none of its 4 images.*faults\.jsonl"):
            encode(encoder, bad, tmp_path / "bank.h5")
    assert len(read_faults(tmp_path / "bank.h5")) == 4


def test_settings_are_checked_before_anything_is_written(
    encoder: Encoder, folder: ImageSet, tmp_path: Path
) -> None:
    path = tmp_path / "bank.h5"
    with pytest.raises(ConfigError, match="unknown mode 'new'; known: resume, append, overwrite"):
        encode(encoder, folder, path, mode="new")
    with pytest.raises(ConfigError, match="`batch_size` must be at least 1"):
        encode(encoder, folder, path, batch_size=0)
    with pytest.raises(ConfigError, match="`n_workers` must be at least 1"):
        encode(encoder, folder, path, n_workers=0)
    small = source_of(folder.subset(np.arange(3)))
    with pytest.raises(ConfigError, match="53 images of photos, found one of 3"):
        encode_to_bank(encoder, folder, path, source=small)
    assert list(tmp_path.iterdir()) == []


def test_the_fault_list_drops_entries_that_the_bank_has_not_committed(tmp_path: Path) -> None:
    bank = tmp_path / "bank.h5"
    faults = [SkippedImage(row, f"{row}.jpg", "broken", "not an image", 1) for row in (2, 5, 9)]
    earlier = SkippedImage(30, "30.jpg", "missing", "gone", 0)
    text = "".join(fault.to_json() + "\n" for fault in [earlier, *faults])
    faults_path(bank).write_text(text + '{"row": 11, "na')

    log = FaultLog(bank, source=1, n_consumed=6)

    assert log.n_skipped == 2
    assert read_faults(bank) == [earlier, *faults[:2]]
    log.add([Fault(9, "9.jpg", "broken", "not an image")])
    assert read_faults(bank) == [earlier, *faults]
    FaultLog(bank, source=0, n_consumed=0)
    assert not faults_path(bank).exists()
