from __future__ import annotations

import dataclasses
import hashlib
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL
import pytest
from looped import looped
from numpy.typing import NDArray
from PIL import Image
from slow_encode import N_IMAGES as N_SLOW
from slow_encode import numbered_set, source_of
from small_models import linear_model, linear_weights, photographs

from hashkit.bank.reader import Bank
from hashkit.codes import binarize
from hashkit.datasets.decoding import Fault
from hashkit.datasets.imageset import ImageSet
from hashkit.errors import (
    BankLockedError,
    BankMismatchError,
    ConfigError,
    DatasetError,
    ImageError,
)
from hashkit.preprocess import load
from hashkit.runtimes.encoder import Encoder
from hashkit.runtimes.faults import FaultLog, SkippedImage, faults_path, read_faults
from hashkit.runtimes.pipeline import EncodeProgress, EncodeReport, encode_to_bank

HEIGHT, WIDTH, N_BITS, N_IMAGES = 4, 5, 12, 53
BAD = {7: "broken", 20: "missing", 21: "truncated", 52: "broken"}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    return Encoder.load(linear_model(tmp_path_factory.mktemp("model") / "m.onnx"), device="cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    """Photographs of several sizes and formats, in files; four cannot be used."""
    root = tmp_path_factory.mktemp("images")
    names = []
    for row, pixels in enumerate(photographs(N_IMAGES, 24, 31)):
        name = f"{'temple' if row % 2 == 0 else 'flower'}/{row:03d}.{('jpg', 'png')[row % 2]}"
        names.append(name)
        path = root / name
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels[: 12 + row % 12]).save(path)
        if BAD.get(row) == "broken":
            path.write_bytes(b"no image at all")
        elif BAD.get(row) == "truncated":
            path.write_bytes(path.read_bytes()[:-200])
        elif BAD.get(row) == "missing":
            path.unlink()
    labels = np.arange(N_IMAGES) % 2
    return ImageSet("photos", names, root=root, labels=labels, class_names=("temple", "flower"))


def encode(encoder: Encoder, image_set: ImageSet, path: Path, **settings: object) -> EncodeReport:
    return encode_to_bank(
        encoder,
        image_set,
        path,
        source=source_of(image_set),
        **settings,  # type: ignore[arg-type]
    )


def good_rows(image_set: ImageSet) -> list[int]:
    return [row for row in range(len(image_set)) if row not in BAD]


def expected_codes(image_set: ImageSet, rows: list[int]) -> NDArray[np.uint8]:
    """Codes, one image at a time, without runtime, threads or batches."""
    size, rule = (HEIGHT, WIDTH), "crop-bilinear"
    pixels = np.stack([load(image_set.source(row), size, rule).ravel() for row in rows])
    return binarize((pixels - 127.5) @ linear_weights(HEIGHT * WIDTH * 3, N_BITS))


def contents(path: Path) -> tuple[bytes, list[str], bytes]:
    with Bank.open(path) as bank:
        assert bank.is_complete
        assert bank.labels is not None
        return bank.codes.tobytes(), list(bank.names), bank.labels.tobytes()


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


class StopError(Exception):
    """Raised in the middle of a run."""


@pytest.mark.end_to_end
@pytest.mark.parametrize("error", [StopError, KeyboardInterrupt])
@pytest.mark.parametrize("stop_at", [0, 16, 32, 48])
def test_an_interrupted_run_keeps_its_rows_and_can_be_continued(
    encoder: Encoder,
    folder: ImageSet,
    tmp_path: Path,
    error: type[BaseException],
    stop_at: int,
) -> None:
    path = tmp_path / "bank.h5"

    def interrupt(progress: EncodeProgress) -> None:
        if progress.n_done == stop_at:
            raise error

    with pytest.raises(error):
        encode(encoder, folder, path, batch_size=16, progress=interrupt)
    with Bank.open(path) as bank:
        assert bank.n_consumed == stop_at
        assert not bank.is_complete
    seen: list[EncodeProgress] = []
    report = encode(encoder, folder, path, batch_size=5, progress=seen.append)

    assert report.n_resumed == stop_at
    assert report.n_encoded == len([row for row in good_rows(folder) if row >= stop_at])
    assert seen[0].n_skipped == len([row for row in BAD if row < stop_at])
    assert [fault.row for fault in read_faults(path)] == list(BAD), "none twice, none lost"
    encode(encoder, folder, tmp_path / "whole.h5")
    assert contents(path) == contents(tmp_path / "whole.h5")


def test_a_finished_bank_is_not_changed(
    encoder: Encoder, folder: ImageSet, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "bank.h5"
    encode(encoder, folder, path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir() if file.suffix != ".lock"}
    with caplog.at_level("INFO", "hashkit"):
        report = encode(encoder, folder, path)
    after = {file.name: file.read_bytes() for file in tmp_path.iterdir() if file.suffix != ".lock"}
    assert after == before
    assert report.was_complete
    assert (report.n_encoded, report.n_resumed, report.n_skipped) == (0, N_IMAGES, len(BAD))
    assert "complete: there is nothing to do" in caplog.text


def test_overwrite_starts_again_and_removes_old_faults(
    encoder: Encoder, folder: ImageSet, tmp_path: Path
) -> None:
    path = tmp_path / "bank.h5"
    encode(encoder, folder, path)
    good = folder.subset(np.array([3, 1, 2]))
    report = encode(encoder, good, path, mode="overwrite")
    assert (report.n_rows, report.faults_path, read_faults(path)) == (3, None, [])
    with Bank.open(path) as bank:
        assert list(bank.names) == [folder.names[row] for row in (3, 1, 2)]


def test_append_adds_a_second_set_and_its_faults(
    encoder: Encoder, folder: ImageSet, tmp_path: Path
) -> None:
    path = tmp_path / "bank.h5"
    first = folder.subset(np.arange(22))
    second = folder.subset(np.arange(22, N_IMAGES))
    encode(encoder, first, path, mode="append")

    def interrupt(progress: EncodeProgress) -> None:
        if progress.n_done == 16:
            raise StopError

    with pytest.raises(StopError):
        encode(encoder, second, path, mode="append", batch_size=16, progress=interrupt)
    report = encode(encoder, second, path, mode="append", batch_size=16)

    assert (report.n_resumed, report.n_skipped) == (16, 1)
    assert [(f.source, f.row) for f in read_faults(path)] == [(0, 7), (0, 20), (0, 21), (1, 30)]
    rows = good_rows(folder)
    with Bank.open(path) as bank:
        assert list(bank.names) == [folder.names[row] for row in rows]
        np.testing.assert_array_equal(bank.codes, expected_codes(folder, rows))
        assert bank.sources == (source_of(first), source_of(second))
    assert encode(encoder, second, path, mode="append").was_complete


def test_another_image_list_or_model_is_refused(
    encoder: Encoder, folder: ImageSet, tmp_path: Path
) -> None:
    path = tmp_path / "bank.h5"
    encode(encoder, folder, path)
    before = path.read_bytes()
    with pytest.raises(BankMismatchError):
        encode(encoder, folder.subset(np.arange(10)), path)
    relabelled = dataclasses.replace(folder, labels=1 - folder.labels)
    with pytest.raises(BankMismatchError):
        encode(encoder, relabelled, path)
    other = Encoder.load(linear_model(tmp_path / "other.onnx", seed=1), device="cpu")
    with pytest.raises(BankMismatchError):
        encode(other, folder, path)
    assert path.read_bytes() == before


def test_the_resampler_is_recorded_where_images_are_resized(
    encoder: Encoder, folder: ImageSet, tmp_path: Path
) -> None:
    encode(encoder, folder, tmp_path / "files.h5")
    assert Bank.open(tmp_path / "files.h5").header.resampler == f"Pillow {PIL.__version__}"
    for size, expected in (((HEIGHT, WIDTH), ""), ((9, 9), f"Pillow {PIL.__version__}")):
        pixels = np.zeros((3, *size, 3), np.uint8)
        images = ImageSet("memory", [f"m/{row}" for row in range(3)], pixels=pixels)
        encode(encoder, images, tmp_path / "memory.h5", mode="overwrite")
        assert Bank.open(tmp_path / "memory.h5").header.resampler == expected


def test_a_bank_of_another_pillow_is_continued_only_if_allowed(
    encoder: Encoder, folder: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bank.h5"
    some = folder.subset(np.arange(5))
    encode(encoder, some, path)
    monkeypatch.setattr(PIL, "__version__", "99.0.0")
    more = folder.subset(np.arange(8, 12))
    with pytest.raises(BankMismatchError, match="resampler"):
        encode(encoder, more, path, mode="append")
    assert len(Bank.open(path)) == 5
    encode(encoder, more, path, mode="append", allow_other_provider=True)
    assert Bank.open(path).header.resampler.endswith(", Pillow 99.0.0")


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


@pytest.mark.end_to_end
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=lambda s: s.name)
def test_a_killed_run_resumes_to_the_same_bank(
    encoder: Encoder, tmp_path: Path, number: signal.Signals
) -> None:
    model, path = linear_model(tmp_path / "m.onnx"), tmp_path / "killed.h5"
    script = Path(__file__).parents[1] / "support" / "slow_encode.py"
    process = subprocess.Popen(
        [sys.executable, script, model, path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        # Commits are one second (about 400 images) apart; this is between two of them.
        n_done = next(int(line) for line in process.stdout if int(line) >= 600)
        process.send_signal(number)
        process.stdout.read()
        errors = process.stderr.read()
    assert process.returncode == -number, errors
    with Bank.open(path) as bank:
        assert not bank.is_complete
        assert 0 < len(bank) < bank.n_consumed < N_SLOW
        n_consumed = bank.n_consumed
    if number == signal.SIGINT:
        assert n_consumed >= n_done, "Ctrl-C keeps all that is done"

    images = numbered_set()
    report = encode(encoder, images, path, batch_size=64)
    assert report.n_resumed == n_consumed
    encode(encoder, images, tmp_path / "whole.h5")

    assert contents(path) == contents(tmp_path / "whole.h5")
    assert read_faults(path) == read_faults(tmp_path / "whole.h5")
    assert [fault.row for fault in read_faults(path)] == list(range(3, N_SLOW, 10))


def test_a_bank_that_is_being_written_is_locked(
    encoder: Encoder, folder: ImageSet, tmp_path: Path
) -> None:
    path = tmp_path / "bank.h5"

    def second_writer(_: EncodeProgress) -> None:
        with pytest.raises(BankLockedError):
            encode(encoder, folder, path, mode="overwrite")

    encode(encoder, folder, path, progress=second_writer)
    assert len(contents(path)[1]) == len(good_rows(folder))


def test_encoding_does_not_read_the_bank_that_it_writes(
    encoder: Encoder, folder: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bank.h5"
    first, second = folder.subset(np.arange(22)), folder.subset(np.arange(22, N_IMAGES))

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the bank was opened for reading")

    with monkeypatch.context() as patch:
        patch.setattr(Bank, "open", refuse)
        encode(encoder, first, path)
        encode(encoder, second, path, mode="append")
    assert [(f.source, f.row) for f in read_faults(path)] == [(0, 7), (0, 20), (0, 21), (1, 30)]
