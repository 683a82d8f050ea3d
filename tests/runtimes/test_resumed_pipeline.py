"""Encoding goes on after an interruption, adds to a bank, or is refused."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL
import pytest
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
from slow_encode import N_IMAGES as N_SLOW
from slow_encode import numbered_set, source_of
from small_models import linear_model

from hashkit.bank.reader import Bank
from hashkit.datasets.imageset import ImageSet
from hashkit.errors import (
    BankLockedError,
    BankMismatchError,
)
from hashkit.runtimes.encoder import Encoder
from hashkit.runtimes.faults import read_faults
from hashkit.runtimes.pipeline import EncodeProgress


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
