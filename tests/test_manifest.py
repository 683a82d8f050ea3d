from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from looped import looped

from hashkit.errors import ModelError
from hashkit.manifest import FORMAT_VERSION, PREFIX, RESIZE_RULES, Manifest

TEXT = st.text(max_size=20)
MANIFESTS = st.builds(
    Manifest,
    n_bits=st.integers(1, 4096),
    height=st.integers(1, 4096),
    width=st.integers(1, 4096),
    resize=st.sampled_from(RESIZE_RULES),
    network=TEXT,
    loss=TEXT,
    recipe=TEXT,
    dataset=TEXT,
    protocol=TEXT,
    class_names=st.lists(TEXT, max_size=5).map(tuple),
    seed=st.none() | st.integers(0, 2**63 - 1),
    weights_sha256=TEXT,
    versions=st.dictionaries(TEXT, TEXT, max_size=4),
)


def read(metadata: dict[str, str], n_bits=12, height=8, width=9) -> Manifest:
    return Manifest.from_metadata(metadata, n_bits=n_bits, height=height, width=width)


@given(MANIFESTS)
def test_round_trip_through_json_and_metadata(manifest):
    assert Manifest.from_dict(json.loads(json.dumps(manifest.to_dict()))) == manifest
    metadata = manifest.to_metadata()
    assert all(isinstance(json.loads(text), object) for text in metadata.values())
    assert all(key.startswith("hashkit.") for key in metadata)
    size = {"n_bits": manifest.n_bits, "height": manifest.height, "width": manifest.width}
    assert read(metadata, **size) == manifest


def test_metadata_are_optional():
    assert read({"producer": "someone", "recipe": "not JSON"}) == Manifest(12, 8, 9)
    assert Manifest(12, 8, 9).resize == "crop-bilinear"


def test_the_size_is_height_and_width():
    assert Manifest(12, 8, 9).size == (8, 9)


@pytest.mark.parametrize("field", ["n_bits", "height", "width"])
def test_metadata_that_contradict_the_graph_are_refused(field):
    metadata = Manifest(12, 8, 9).to_metadata() | {PREFIX + field: "77"}
    with pytest.raises(ModelError, match=f"{field} = 77, but the graph has .*export"):
        read(metadata)


@looped("text", ["", "{", "crop", "1 2"])
def test_metadata_that_are_not_json_are_refused(text):
    with pytest.raises(ModelError, match=r"metadata hashkit\.resize: expected JSON, found"):
        read({"hashkit.resize": text})


def test_fields_of_later_releases_are_ignored():
    assert read({"hashkit.colour": '"red"'}) == Manifest(12, 8, 9)
    assert Manifest.from_dict(Manifest(12, 8, 9).to_dict() | {"colour": "red"}) == Manifest(
        12, 8, 9
    )


@looped("version", [0, 2, "1", None])
def test_another_format_version_is_refused(version):
    with pytest.raises(ModelError, match=f"format version {FORMAT_VERSION}, found {version!r}"):
        Manifest.from_dict(Manifest(12, 8, 9).to_dict() | {"format_version": version})


@looped("field", ["n_bits", "height", "width"])
@looped(
    ("value", "message"),
    [
        (0, "` must be between 1 and 65536, not 0"),
        (-3, "` must be between 1 and 65536, not -3"),
        (1.5, ": expected a whole number, found 1.5"),
        (True, ": expected a whole number, found true"),
        ("12", ': expected a whole number, found "12"'),
        (None, " is missing"),
    ],
)
def test_invalid_numbers_are_refused(field, value, message):
    with pytest.raises(ModelError, match=f"{field}{message}"):
        Manifest.from_dict(Manifest(12, 8, 9).to_dict() | {field: value})


def test_the_error_for_an_unknown_resize_rule_lists_the_known_ones():
    with pytest.raises(ModelError, match="'shrink'; known: crop-bilinear, stretch-bilinear"):
        Manifest(12, 8, 9, resize="shrink")


def test_missing_fields_are_named():
    with pytest.raises(ModelError, match="height is missing; width is missing"):
        Manifest.from_dict({"n_bits": 12})


def test_every_error_has_one_line():
    for fields in ({}, {"n_bits": "a\nb", "height": 1, "width": 1}):
        with pytest.raises(ModelError) as caught:
            Manifest.from_dict(fields)
        assert "\n" not in str(caught.value)


def test_a_manifest_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Manifest(12, 8, 9).n_bits = 24  # type: ignore[misc]


def test_the_contract_lists_every_entry():
    page = (Path(__file__).parent.parent / "docs" / "model-contract.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `hashkit\.(\w+)` \|", page, re.MULTILINE))
    # The precision is not the manifest's: it is the file's own arithmetic.
    assert listed == {field.name for field in dataclasses.fields(Manifest)} | {"precision"}
