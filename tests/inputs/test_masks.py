"""Entries that a mask hides never count as values, whatever is behind the mask."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from looped import looped

import hashkit
from hashkit.bank.deletion import delete_rows
from hashkit.baselines.model import check_features
from hashkit.codes import binarize, pack, unpack
from hashkit.codesets import CodeSet
from hashkit.datasets.imageset import ImageSet
from hashkit.datasets.split import Split
from hashkit.errors import HashkitError
from hashkit.formats import save_codes
from hashkit.inputs.label_values import as_label_array
from hashkit.inputs.masks import unmasked
from hashkit.preprocess import decode, load

CODES = np.arange(8, dtype=np.uint8).reshape(4, 2)
LOGITS = np.unpackbits(CODES, axis=1).astype(np.float32) - 0.5
LABELS = np.array([0, 1, 1, 0])
ROWS = np.arange(4)
PIXELS = np.zeros((4, 3, 3), np.uint8)
NAMES = np.array(["a", "b", "c", "d"])


def _set(**fields: Any) -> ImageSet:
    return ImageSet("own", list("abcd"), **{"pixels": PIXELS[..., None].repeat(3, 3), **fields})


TAKES: dict[str, tuple[Any, Callable[[Any], object]]] = {
    "labels": (LABELS, lambda given: CodeSet(CODES, 16, labels=given)),
    "multi-hot labels": (np.eye(4, dtype=int), lambda given: CodeSet(CODES, 16, labels=given)),
    "float labels": (LABELS.astype(float), as_label_array),
    "labels, row by row": (np.eye(4, dtype=int), lambda given: as_label_array(list(given))),
    "codes": (CODES, lambda given: CodeSet(given, 16)),
    "query codes": (CODES, lambda given: hashkit.search(given, CODES, top_k=1, n_bits=16)),
    "database codes": (CODES, lambda given: hashkit.search(CODES, given, top_k=1, n_bits=16)),
    "codes of an index": (CODES, lambda given: hashkit.MultiIndex.build(given, n_bits=16)),
    "codes unpacked": (CODES, lambda given: unpack(given, 16)),
    "logits": (LOGITS, binarize),
    "bits": (LOGITS > 0, pack),
    "logits of queries": (
        LOGITS,
        lambda given: hashkit.search(CODES, CODES, top_k=1, n_bits=16, logits=given),
    ),
    "rows of a search": (
        ROWS,
        lambda given: hashkit.search(CODES, CODES, top_k=1, n_bits=16, where=given),
    ),
    "deleted": (LABELS == 1, lambda given: CodeSet(CODES, 16, deleted=given)),
    "names": (NAMES, lambda given: CodeSet(CODES, 16, names=given)),
    "features": (LOGITS, check_features),
    "image": (PIXELS, decode),
    "image of the model's size": (PIXELS, lambda given: load(given, (4, 3), "crop-bilinear")),
    "labels of images": (LABELS, lambda given: _set(labels=given)),
    "rows of a split": (
        ROWS,
        lambda given: Split("own", seed=0, queries=given, training=ROWS, database=ROWS),
    ),
}


@looped("name", TAKES)
def test_masked_entries_are_refused(name: str) -> None:
    array, take = TAKES[name]
    mask = np.zeros(array.shape, bool)
    mask[1] = True
    with pytest.raises(HashkitError, match=r"must have a value in every entry, found .* masked"):
        take(np.ma.array(array, mask=mask))


@looped("name", TAKES)
def test_without_masked_entries_an_array_is_taken(name: str) -> None:
    array, take = TAKES[name]
    for given in (np.ma.array(array), np.ma.array(array, mask=np.zeros(array.shape, bool))):
        result = take(given)
        assert not isinstance(result, np.ma.MaskedArray)
        if isinstance(result, CodeSet):
            for field in ("codes", "labels", "names", "deleted"):
                assert not isinstance(getattr(result, field), np.ma.MaskedArray)


def test_rows_to_delete_are_not_taken_from_behind_a_mask(tmp_path: Path) -> None:
    path = tmp_path / "bank.h5"
    save_codes(path, CodeSet(CODES, 16))
    with pytest.raises(HashkitError, match="found one masked entry"):
        delete_rows(path, np.ma.array([1, 2], mask=[True, False]))
    assert hashkit.Bank.open(path).deleted is None


def test_the_array_itself_is_kept() -> None:
    for given in (CODES, [1, 2], None, "text"):
        assert unmasked(given, "it") is given
    assert np.shares_memory(unmasked(np.ma.array(CODES), "it"), CODES)
