from __future__ import annotations

import itertools
import json
import threading
import time

import numpy as np
import pytest
from small_models import photographs

from hashkit.datasets.decoding import (
    DecodedBatch,
    Decoder,
    Fault,
    decode_batches,
    write_fault_report,
)
from hashkit.datasets.imageset import ImageSet
from hashkit.errors import ImageError

SIZE = (4, 5)


def memory_set(n_images: int) -> ImageSet:
    pixels = photographs(n_images, *SIZE)
    return ImageSet("m", [f"m/{row}" for row in range(n_images)], pixels=pixels)


def threads() -> list[str]:
    names = (thread.name for thread in threading.enumerate())
    return [name for name in names if name.startswith("hashkit-decode")]


class Numbered(ImageSet):
    """An image set whose sources are row numbers."""

    def source(self, row):
        return np.full((*SIZE, 3), row, np.uint8)


def numbered(n_images: int) -> ImageSet:
    images = memory_set(n_images)
    return Numbered(images.name, images.names, pixels=images.pixels)


def broken_rows(*rows: int):
    """A `prepare` for a numbered set that reports some images as broken."""

    def prepare(image):
        if image[0, 0, 0] in rows:
            raise ImageError(f"{image[0, 0, 0]} is no image", "broken")
        return image

    return prepare


def test_decoding_stays_at_most_three_batches_ahead():
    """Memory stays constant: decoding waits for a slow consumer."""
    prepared = []
    images = memory_set(100)

    def prepare(image):
        prepared.append(1)
        return np.asarray(image)

    stops = []
    for batch in decode_batches(images, prepare, SIZE, start=6, batch_size=10, n_workers=4):
        time.sleep(0.005)
        assert len(prepared) <= (batch.stop - 6) + 2 * 10
        np.testing.assert_array_equal(batch.pixels, images.pixels[batch.start : batch.stop])
        stops.append(batch.stop)
    assert stops == [16, 26, 36, 46, 56, 66, 76, 86, 96, 100]
    assert len(prepared) == 94


@pytest.mark.parametrize(("batch_size", "n_workers"), [(1, 5), (4, 6), (16, 3)])
def test_every_thread_has_an_image_to_decode(batch_size, n_workers):
    """The barrier opens only when all threads wait at it, even for small batches."""
    barrier = threading.Barrier(n_workers)
    images = memory_set(4 * n_workers)
    n_prepared = itertools.count()

    def prepare(image):
        if next(n_prepared) < n_workers:
            barrier.wait(timeout=10)
        return np.asarray(image)

    batches = decode_batches(
        images, prepare, SIZE, start=0, batch_size=batch_size, n_workers=n_workers
    )
    np.testing.assert_array_equal(np.concatenate([one.pixels for one in batches]), images.pixels)


def test_batches_are_decoded_before_they_are_requested():
    decoded = threading.Semaphore(0)

    def prepare(image):
        decoded.release()
        return image

    with Decoder(numbered(30), prepare, SIZE, 2) as decoder:
        batches = decoder.batches(np.arange(30).reshape(5, 6))
        next(batches)
        for _ in range(3 * 6):
            assert decoded.acquire(timeout=20)
        batches.close()


@pytest.mark.parametrize("n_workers", [1, 3, 20])
def test_rows_come_in_the_requested_order(n_workers):
    rng = np.random.default_rng(0)
    asked = [rng.integers(0, 40, n_rows) for n_rows in (3, 17, 1, 9, 0, 40, 2)]
    with Decoder(numbered(40), broken_rows(), SIZE, n_workers) as decoder:
        for _ in range(2):
            found = list(decoder.batches(asked))
            assert [one.rows.tolist() for one in found] == [rows.tolist() for rows in asked]
            for one in found:
                assert one.pixels.shape == (len(one.rows), *SIZE, 3)
                assert one.pixels[:, 0, 0, 0].tolist() == one.rows.tolist()
            assert [one.start for one in found] == [0, 3, 20, 21, 30, 30, 70]
            assert [one.stop for one in found] == [3, 20, 21, 30, 30, 70, 72]


@pytest.mark.parametrize("n_workers", [1, 4])
def test_faults_replace_their_images(n_workers):
    with Decoder(numbered(10), broken_rows(2, 7), SIZE, n_workers) as decoder:
        first, second, third = decoder.batches(
            [np.array([7, 1, 2, 0]), np.array([2]), np.array([3, 4])], start=100
        )
    assert first.rows.tolist() == first.pixels[:, 0, 0, 0].tolist() == [1, 0]
    assert first.faults == (
        Fault(7, "m/7", "broken", "7 is no image"),
        Fault(2, "m/2", "broken", "2 is no image"),
    )
    assert (second.rows.tolist(), second.pixels.shape) == ([], (0, *SIZE, 3))
    assert (third.start, third.stop, third.rows.tolist(), third.faults) == (105, 107, [3, 4], ())


def test_a_batch_is_cut_before_a_row():
    (batch,) = decode_batches(
        numbered(8), broken_rows(3, 5), SIZE, start=2, batch_size=10, n_workers=1
    )
    before: DecodedBatch = batch.before(5)
    assert (before.start, before.stop, before.rows.tolist()) == (2, 5, [2, 4])
    assert before.pixels[:, 0, 0, 0].tolist() == [2, 4]
    assert [fault.row for fault in before.faults] == [3]


def test_other_errors_are_raised():
    def prepare(image):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(decode_batches(memory_set(1), prepare, SIZE, start=0, batch_size=4, n_workers=1))
    assert threads() == []


def test_closing_cancels_what_no_thread_has_begun():
    begun = []
    is_closing = threading.Event()

    def prepare(image):
        begun.append(int(image[0, 0, 0]))
        if begun[-1] >= 2:
            assert is_closing.wait(20)
        return image

    with Decoder(numbered(40), prepare, SIZE, 1) as decoder:
        batches = decoder.batches(np.arange(40).reshape(20, 2))
        next(batches)
        batches.close()
        is_closing.set()
        # The same threads go on with the next order.
        assert next(decoder.batches([np.array([30])])).rows.tolist() == [30]
    # One task of the batch after the one delivered may have begun.
    assert len(begun) <= 2 + 2 + 1
    assert threads() == []


def test_an_interruption_ends_the_threads():
    batches = decode_batches(numbered(40), broken_rows(), SIZE, start=0, batch_size=4, n_workers=3)
    next(batches)
    assert threads() != []
    with pytest.raises(KeyboardInterrupt):
        batches.throw(KeyboardInterrupt)
    assert threads() == []


def test_fault_reports_are_json_lines(tmp_path):
    faults = [
        Fault(3, "caf\u00e9/\udce9.png", "broken", "caf\u00e9/\udce9.png: not an image"),
        Fault(9, "b.png", "missing", "b.png: there is no such file"),
    ]
    write_fault_report(faults, tmp_path / "faults.jsonl")
    lines = (tmp_path / "faults.jsonl").read_text(encoding="ascii").splitlines()
    assert [Fault(**json.loads(line)) for line in lines] == faults
