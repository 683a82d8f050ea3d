from __future__ import annotations

import dataclasses
import json
import os
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from training_samples import settings

from hashkit.errors import CheckpointError, ConfigError
from hashkit.manifest import Manifest
from hashkit.runs.checkpoint_weights import check_weights
from hashkit.training.checkpoint import (
    Checkpoint,
    load_model,
    read_checkpoint,
    weights_sha256,
    write_checkpoint,
)
from hashkit.training.model import new_model

pytestmark = pytest.mark.usefixtures("tiny_network")

LENGTHS = (7, 5)


@pytest.fixture
def model():
    torch.manual_seed(0)
    config = settings(lengths=LENGTHS)
    return new_model(
        config, torch.rand(3, 1, 1) * 255, torch.rand(3, 1, 1) + 1, dataset="digits"
    ).eval()


@pytest.fixture
def checkpoint(model):
    config = settings(
        lengths=LENGTHS, milestones=(0.25, 0.5, 0.875), learning_rate=0.1 + 0.2, margin=1 / 3
    )
    return Checkpoint(
        step=1234,
        config=config,
        manifest=Manifest(12, 8, 8, dataset="digits", class_names=("zero", "eins", "δύο"), seed=3),
        model=model.state_dict(),
        losses={"0.centres": torch.randn(10, 7), "1.n_seen": torch.tensor(2**40)},
        optimiser={name: torch.randn_like(value) for name, value in model.named_parameters()},
        state={"scaler": {}, "best_step": None, "best_score": 0.1 + 0.2, "held_out": 1 / 3},
    )


@pytest.fixture
def path(tmp_path, checkpoint):
    path = tmp_path / "step-0001234.safetensors"
    write_checkpoint(path, checkpoint)
    return path


def assert_same_tensors(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].dtype == value.dtype
        assert torch.equal(found[name], value), name


def test_a_round_trip_is_exact(path, checkpoint):
    found = read_checkpoint(path)
    assert_same_tensors(found.model, checkpoint.model)
    assert_same_tensors(found.losses, checkpoint.losses)
    assert_same_tensors(found.optimiser, checkpoint.optimiser)
    assert (found.step, found.config, found.state) == (
        checkpoint.step,
        checkpoint.config,
        checkpoint.state,
    )
    sha256 = weights_sha256(checkpoint.model)
    assert found.manifest == dataclasses.replace(checkpoint.manifest, weights_sha256=sha256)


def test_values_without_a_short_decimal_keep_their_bits(path, checkpoint):
    values = torch.tensor([1 / 3, 1e-45, 3.4e38, -0.0, float("inf")])
    checkpoint = dataclasses.replace(checkpoint, model={"odd": values})
    write_checkpoint(path, checkpoint)
    found = read_checkpoint(path).model["odd"]
    assert found.numpy().tobytes() == values.numpy().tobytes()


def test_the_memory_layout_of_weights_does_not_matter(tmp_path, model, checkpoint):
    write_checkpoint(tmp_path / "rows", checkpoint)
    model = model.to(memory_format=torch.channels_last)
    columns = dataclasses.replace(checkpoint, model=model.state_dict())
    write_checkpoint(tmp_path / "columns", columns)
    assert (tmp_path / "rows").read_bytes() == (tmp_path / "columns").read_bytes()


def test_a_crash_while_writing_leaves_the_old_file(path, checkpoint, monkeypatch):
    before = path.read_bytes()

    def crash(*args, **kwargs):
        raise OSError("the disk is full")

    newer = dataclasses.replace(checkpoint, step=2000)
    for where, name in (("hashkit.training.checkpoint", "save"), ("os", "fsync")):
        with monkeypatch.context() as patch:
            patch.setattr(f"{where}.{name}", crash)
            with pytest.raises(OSError, match="the disk is full"):
                write_checkpoint(path, newer)
        assert path.read_bytes() == before
    write_checkpoint(path, newer)
    assert read_checkpoint(path).step == 2000
    assert os.listdir(path.parent) == [path.name]  # noqa: PTH208


def test_the_new_file_is_synced_before_it_replaces_the_old_one(path, checkpoint, monkeypatch):
    events = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda file: (events.append("fsync"), fsync(file)))
    monkeypatch.setattr(
        Path, "replace", lambda self, target: (events.append("rename"), replace(self, target))
    )
    write_checkpoint(path, checkpoint)
    assert events == ["fsync", "rename", "fsync"]  # the last one of the folder


def refusal(path):
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(path))
    return message


def test_a_missing_file_is_refused(tmp_path):
    assert refusal(tmp_path / "none.safetensors").endswith("there is no such checkpoint")


@pytest.mark.parametrize(
    "content",
    [b"", b"not a checkpoint" * 10],
    ids=["empty", "text"],
)
def test_files_of_other_kinds_are_refused(tmp_path, content):
    path = tmp_path / "odd.safetensors"
    path.write_bytes(content)
    assert "not a checkpoint of hashkit, or damaged" in refusal(path)


def test_a_folder_is_refused(tmp_path):
    refusal(tmp_path)


@pytest.mark.parametrize("n_kept", [4, 2000, -1])
def test_a_truncated_file_is_refused(path, n_kept):
    path.write_bytes(path.read_bytes()[:n_kept])
    assert "damaged" in refusal(path)


def header_of(path):
    length = int.from_bytes(path.read_bytes()[:8], "little")
    return json.loads(json.loads(path.read_bytes()[8 : 8 + length])["__metadata__"]["hashkit"])


def write_header(path, header):
    text = header if isinstance(header, str) else json.dumps(header)
    save_file(load_file(path), path, metadata={"hashkit": text})


def place_of(path, tensor):
    """Position of the first byte of a tensor."""
    data = path.read_bytes()
    start = int.from_bytes(data[:8], "little") + 8
    return start + json.loads(data[8:start])[tensor]["data_offsets"][0]


@pytest.mark.parametrize(
    ("tensor", "what"),
    [
        ("model.mean", "weights"),
        ("losses.0.centres", "tensors of losses and optimiser"),
        ("losses.1.n_seen", "tensors of losses and optimiser"),
        ("optimiser.", "tensors of losses and optimiser"),
    ],
)
def test_a_flipped_bit_of_any_tensor_is_noticed(path, checkpoint, tensor, what):
    assert check_weights(path) == weights_sha256(checkpoint.model)
    tensor = tensor if tensor[-1] != "." else tensor + next(iter(checkpoint.optimiser))
    data = bytearray(path.read_bytes())
    data[place_of(path, tensor)] ^= 1
    path.write_bytes(data)
    assert f"damaged: expected {what} with the SHA-256" in refusal(path)
    with pytest.raises(CheckpointError, match=f"damaged: expected {what} with the SHA-256"):
        check_weights(path)


def test_a_checkpoint_from_before_the_digest_of_all_tensors_is_read(path, checkpoint):
    header = header_of(path)
    assert header.pop("trainer_sha256")
    write_header(path, header)
    assert_same_tensors(read_checkpoint(path).optimiser, checkpoint.optimiser)
    assert check_weights(path) == weights_sha256(checkpoint.model)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}], ids=["none", "another's"])
def test_safetensors_of_another_program_are_refused(tmp_path, metadata):
    path = tmp_path / "weights.safetensors"
    save_file({"layer.weight": torch.zeros(3)}, path, metadata=metadata)
    assert "not a checkpoint of hashkit" in refusal(path)


@pytest.mark.parametrize("header", ["{", "[]", "null", "{}"])
def test_an_invalid_header_is_refused(path, header):
    write_header(path, header)
    assert "not a checkpoint of hashkit" in refusal(path)


@pytest.mark.parametrize("field", ["step", "config", "manifest", "state", "format_version"])
def test_a_header_without_a_field_is_refused(path, field):
    header = header_of(path)
    del header[field]
    write_header(path, header)
    assert field in refusal(path)


@pytest.mark.parametrize("value", [[], None])
@pytest.mark.parametrize("field", ["config", "manifest"])
def test_a_header_with_a_field_of_another_type_is_refused(path, field, value):
    write_header(path, header_of(path) | {field: value})
    refusal(path)


def test_an_older_format_is_refused_with_both_versions(path):
    """Its settings had different names."""
    header = header_of(path)
    del header["config"]["lengths"]
    header["config"]["n_bits"] = 12
    write_header(path, header | {"format_version": 1})
    assert "expected checkpoint format version 2, found 1" in refusal(path)


def test_a_newer_format_is_refused_with_both_versions(path):
    write_header(path, header_of(path) | {"format_version": 3, "step": "x", "more": 1})
    assert "expected checkpoint format version 2, found 3" in refusal(path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lengths": [0]}, "`lengths` must be between 1 and"),
        ({"network": "vgg"}, "unknown network 'vgg'"),
        ({"colour": 3}, "colour is unknown"),
    ],
)
def test_settings_unknown_to_this_release_are_refused(path, changes, words):
    header = header_of(path)
    write_header(path, header | {"config": header["config"] | changes})
    assert words in refusal(path)


def test_a_manifest_of_another_format_is_refused(path):
    header = header_of(path)
    write_header(path, header | {"manifest": header["manifest"] | {"format_version": 7}})
    assert "format version 1, found 7" in refusal(path)


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return Path.write_text, (self.target, "unpickled")


@pytest.mark.parametrize("writer", ["pickle", "torch"])
def test_nothing_is_unpickled(tmp_path, writer):
    path, target = tmp_path / "evil.safetensors", tmp_path / "unpickled"
    if writer == "pickle":
        path.write_bytes(pickle.dumps(Payload(target)))
    else:
        torch.save(Payload(target), path)
    refusal(path)
    with pytest.raises(CheckpointError):
        load_model(path)
    assert not target.exists()
    # Unpickling does write the file.
    pickle.loads(pickle.dumps(Payload(target)))
    assert target.exists()


def next_value(value):
    if value.is_floating_point():
        return torch.nextafter(value, torch.tensor(torch.inf))
    return value + 1


def test_the_hash_changes_with_any_weight(model):
    weights = model.state_dict()
    hashes = {weights_sha256(weights)}
    for name, value in weights.items():
        for position in (0, value.numel() - 1):
            changed = value.clone()
            changed.view(-1)[position] = next_value(changed.view(-1)[position])
            hashes.add(weights_sha256(weights | {name: changed}))
    n_changes = sum(1 if value.numel() == 1 else 2 for value in weights.values())
    assert len(hashes) == 1 + n_changes


def test_the_hash_depends_on_names_types_and_shapes_but_not_on_the_order():
    one, other = torch.arange(6.0), torch.ones(2)
    tensors = {"a": one, "b": other}
    assert weights_sha256(tensors) == weights_sha256({"b": other, "a": one})
    variants = [
        tensors,
        {"a": one.reshape(2, 3), "b": other},
        {"a": one.view(torch.int32), "b": other},
        {"c": one, "b": other},
        {"a": one},
        {"a": other, "b": one},
    ]
    assert len({weights_sha256(variant) for variant in variants}) == len(variants)


def test_the_hash_in_the_header_is_that_of_the_weights_only(path, checkpoint, tmp_path):
    other = dataclasses.replace(checkpoint, optimiser={}, losses={}, step=5)
    write_checkpoint(tmp_path / "other", other)
    hashes = {read_checkpoint(file).manifest.weights_sha256 for file in (path, tmp_path / "other")}
    assert hashes == {weights_sha256(checkpoint.model)}


def test_a_loaded_model_gives_the_same_logits(path, model):
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), np.uint8))
    loaded = load_model(path)
    assert not loaded.model.training
    assert torch.equal(loaded.model(images), model(images))
    assert (loaded.model.n_bits, loaded.model.height, loaded.model.width) == (12, 8, 8)
    assert loaded.model.lengths == LENGTHS
    assert loaded.manifest.class_names == ("zero", "eins", "δύο")


@pytest.mark.parametrize("fault", ["missing", "shape", "extra", "mean"])
def test_weights_that_do_not_match_are_refused(path, checkpoint, fault):
    weights = dict(checkpoint.model)
    name = "heads.1.linear.weight"
    if fault == "shape":
        weights[name] = weights[name][:-1]
    elif fault == "extra":
        weights["heads.2.linear.weight"] = torch.zeros(3)
    else:
        del weights["mean" if fault == "mean" else name]
    write_checkpoint(path, dataclasses.replace(checkpoint, model=weights))
    found = "expected a tensor mean" if fault == "mean" else "expected the tensors of the network"
    with pytest.raises(CheckpointError, match=found) as caught:
        load_model(path)
    assert "\n" not in str(caught.value)


@pytest.mark.end_to_end  # timm and torchvision take seconds to import
@pytest.mark.parametrize(
    ("network", "words"),
    [
        ("timm:.a", r"timm has no model '\.a'"),
        ("timm:resnet99", "timm has no model 'resnet99'"),
        ("torchvision:.a", r"torchvision has no model '\.a'"),
    ],
)
def test_a_network_that_cannot_be_built_is_named_with_its_file(path, checkpoint, network, words):
    pytest.importorskip(network.partition(":")[0])
    config = dataclasses.replace(checkpoint.config, network=network)
    write_checkpoint(path, dataclasses.replace(checkpoint, config=config))
    with pytest.raises(ConfigError, match=f"^{re.escape(str(path))}: {words}"):
        load_model(path)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no POSIX permissions")
def test_permissions_follow_the_umask(path, checkpoint):
    before = os.umask(0o022)
    try:
        write_checkpoint(path, checkpoint)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o644
