"""Labels of a folder's images in `hashkit.encode`: where they are asked for or needed."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_samples import fail, succeed, write_digit
from linear_models import linear_model

import hashkit
from hashkit.errors import ConfigError, DatasetError
from hashkit.runtimes.encoder import Encoder

NAMES = ["album/1.png", "album/deep/2.png", "other/3.png"]


@pytest.fixture
def model(tmp_path, monkeypatch) -> str:
    monkeypatch.chdir(tmp_path)
    for row, name in enumerate(NAMES):
        write_digit(row, Path("photos") / name)
    linear_model(Path("m.onnx"), height=8, width=8)
    return "m.onnx"


def labels_of(bank: hashkit.Bank) -> Any:
    return None if bank.labels is None else (bank.class_names, bank.labels.tolist())


def test_albums_are_labels_only_where_asked(model, caplog):
    caplog.set_level("INFO")
    assert labels_of(hashkit.encode("photos", model, "plain.h5")) is None
    assert '`labels="folders"` makes classes of them' in caplog.text
    asked = hashkit.encode("photos", model, "asked.h5", labels="folders")
    assert labels_of(asked) == (("album", "other"), [0, 0, 1])
    # The bank that is continued has labels, also of a loose picture and of a new album's.
    write_digit(5, Path("photos/loose.png"))
    write_digit(6, Path("photos/other/4.png"))
    for name, expected in (("plain.h5", None), ("asked.h5", [0, 0, 1, -1, 1])):
        bank = hashkit.encode("photos", model, name, append=True)
        assert list(bank.names) == [*NAMES, "loose.png", "other/4.png"]
        assert (None if bank.labels is None else bank.labels.tolist()) == expected
    assert labels_of(hashkit.encode("photos", model, "asked.h5", overwrite=True)) is None
    mixed = hashkit.encode("photos", model, "mixed.h5", labels="folders")
    assert dict(zip(mixed.names, mixed.labels.tolist(), strict=True))["loose.png"] == -1
    assert labels_of(hashkit.encode("photos", model, "n.h5", labels="none")) is None


def test_classes_that_the_model_was_trained_on_are_labels(model):
    encoder = Encoder.load(model)
    manifest = dataclasses.replace(encoder.manifest, class_names=("album", "more", "other"))
    encoder._runtime.manifest = manifest
    assert labels_of(hashkit.encode("photos", encoder, "a.h5")) == (("album", "other"), [0, 0, 1])
    assert labels_of(hashkit.encode("photos", encoder, "n.h5", labels="none")) is None
    write_digit(5, Path("photos/elsewhere/5.png"))
    assert labels_of(hashkit.encode("photos", encoder, "b.h5")) is None


def test_lists_and_splits_keep_their_labels(model):
    Path("list.txt").write_text("".join(f"photos/{name} {row}\n" for row, name in enumerate(NAMES)))
    assert hashkit.encode("list.txt", model, "l.h5").labels.tolist() == [0, 1, 2]
    assert labels_of(hashkit.encode("list.txt", model, "n.h5", labels="none")) is None
    with pytest.raises(ConfigError, match=r"needs a folder of images, found list\.txt"):
        hashkit.encode("list.txt", model, "x.h5", labels="folders")
    with pytest.raises(DatasetError, match="expects subfolders with images, found none"):
        hashkit.encode("photos/album/deep", model, "x.h5", labels="folders")
    split = hashkit.encode("photos", model, "s.h5", protocol="per-class", part="database")
    assert np.unique(split.labels).size
    assert "--labels needs IMAGES" in fail("encode --labels folders")
    line = fail("evaluate l.h5 n.h5")
    assert "expected labels for the database, found none" in line
    assert "--labels folders" in line
    assert "hashkit encode --labels folders" in fail("search --row 0 --bank n.h5 --label album")
    assert succeed("info s.h5").stdout
