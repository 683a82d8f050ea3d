"""Numbers that no image, code or training has are refused in one line, however many digits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from looped import looped
from PIL import Image

import hashkit
from hashkit.codes import code_size, unpack
from hashkit.codesets import CodeSet
from hashkit.errors import CodesError, HashkitError, ModelError
from hashkit.inputs.limits import set_limits
from hashkit.inputs.sizes import MAX_BITS, MAX_SIDE, checked_input_size, checked_n_bits
from hashkit.manifest import Manifest
from hashkit.preprocess import fit, load
from hashkit.runs.config import TrainConfig

CODES = np.zeros((3, 2), np.uint8)
LABELLED = CodeSet(CODES, 16, labels=np.array([0, 1, 1]))
PICTURE = Image.new("RGB", (9, 9))

TAKES: dict[str, Callable[[Any], object]] = {
    "bits of a model": lambda value: Manifest(value, 8, 8),
    "height of a model": lambda value: Manifest(8, value, 8),
    "width of a model": lambda value: Manifest(8, 8, value),
    "seed of a model": lambda value: Manifest(8, 8, 8, seed=value),
    "version of a model": lambda value: Manifest(8, 8, 8, format_version=value),
    "metadata": lambda value: Manifest.from_dict({"n_bits": value, "height": 8, "width": 8}),
    "bits of codes": lambda value: CodeSet(CODES, value),
    "size of a code": code_size,
    "bits unpacked": lambda value: unpack(CODES, value),
    "bits of a search": lambda value: hashkit.search(CODES, CODES, top_k=1, n_bits=value),
    "bits of an index": lambda value: hashkit.MultiIndex.build(CODES, n_bits=value),
    "cutoffs": lambda value: hashkit.evaluate(LABELLED, LABELLED, cutoffs=[value]),
    "size of an image": lambda value: load(PICTURE, (8, value), "crop-bilinear"),
    "size of a picture": lambda value: fit(PICTURE, (value, 8), "crop-bilinear"),
    "bits of a training": lambda value: TrainConfig(lengths=(value,)),
    "bits, twice": lambda value: TrainConfig(lengths=(value, value)),
    "size of a training": lambda value: TrainConfig(height=value),
    "steps": lambda value: TrainConfig(steps=value),
    "milestones": lambda value: TrainConfig(milestones=(value,)),
    "decay": lambda value: TrainConfig(stage_decay=value),
    "kind of network": lambda value: TrainConfig(network=value),
    "training": lambda value: hashkit.train(bits=value),
    "limit": lambda value: set_limits(json_bytes=-value),
}


@looped("value", [10**30, 10**5000], ids=["30 digits", "5000 digits"])
@looped("name", TAKES)
def test_an_absurd_number_is_refused(name: str, value: int) -> None:
    with pytest.raises(HashkitError) as caught:
        TAKES[name](value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250


def test_a_learning_rate_beyond_floats_is_refused() -> None:
    with pytest.raises(HashkitError, match="`learning_rate` must be a number, not"):
        TrainConfig(learning_rate=10**5000)


def test_the_largest_sizes_are_taken() -> None:
    assert Manifest(MAX_BITS, 1, MAX_SIDE).size == (1, MAX_SIDE)
    assert code_size(MAX_BITS) == MAX_BITS // 8
    for wrong in (0, MAX_BITS + 1):
        with pytest.raises(CodesError, match=f"`n_bits` must be between 1 and 65536, not {wrong}"):
            checked_n_bits(wrong)
    for wrong in (0, MAX_SIDE + 1):
        with pytest.raises(ModelError, match=f"`height` must be between 1 and 65536, not {wrong}"):
            checked_input_size(wrong, 8, ModelError)


def test_an_input_of_more_pixels_than_an_image_may_have_is_refused() -> None:
    with pytest.raises(ModelError, match=r"set_limits\(image_pixels=100000000\)"):
        Manifest(8, 10_000, 10_000)
    before = set_limits(image_pixels=10**8)
    try:
        assert Manifest(8, 10_000, 10_000).width == 10_000
    finally:
        set_limits(image_pixels=before.image_pixels)
