from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from cli_samples import write_class_folders, write_digit
from hypothesis import given
from hypothesis import strategies as st
from looped import looped

from hashkit.datasets.protocols import PROTOCOLS
from hashkit.datasets.sets import IMAGE_SETS
from hashkit.datasets.spec import absolute_spec, open_spec, with_absolute_paths
from hashkit.errors import ConfigError, DatasetError, ProtocolError
from hashkit.runs.data_spec import DataSpec, ProtocolOptions
from hashkit.runs.run import Run
from hashkit.runs.run_config import RunConfig

COUNTS = st.none() | st.integers(1, 10**6)
OPTIONS = st.builds(
    ProtocolOptions,
    queries_per_class=COUNTS,
    training_per_class=COUNTS,
    training_in_database=st.none() | st.booleans(),
    n_queries=COUNTS,
    n_training=COUNTS,
    unseen_fraction=st.none() | st.floats(0.01, 0.99),
    unseen_classes=st.none() | st.lists(st.text(max_size=5), max_size=3).map(tuple),
)
SPECS = st.builds(
    DataSpec,
    data=st.text(min_size=1, max_size=20),
    root=st.none() | st.text(max_size=10),
    protocol=st.sampled_from(["", *PROTOCOLS]),
    seed=st.integers(0, 2**31),
    options=OPTIONS,
) | st.builds(
    DataSpec,
    data=st.text(min_size=1, max_size=20),
    query_list=st.text(min_size=1, max_size=10),
    training_list=st.none() | st.text(min_size=1, max_size=10),
)


@given(SPECS)
def test_a_spec_comes_back_from_the_file_of_a_run(spec):
    with tempfile.TemporaryDirectory() as folder:
        run = Run.create(Path(folder), "run", RunConfig(data=spec))
        assert run.read_config().data == spec


def test_a_spec_saves_only_the_options_that_are_changed():
    spec = DataSpec(options=ProtocolOptions(queries_per_class=3, unseen_classes=("a", "b")))
    assert spec.to_dict()["options"] == {"queries_per_class": 3, "unseen_classes": ["a", "b"]}


def test_one_unseen_class_may_be_given_by_its_name():
    assert ProtocolOptions(unseen_classes="text").unseen_classes == ("text",)
    assert ProtocolOptions(unseen_classes=["a", "b"]).unseen_classes == ("a", "b")
    with pytest.raises(ProtocolError, match="`unseen_classes` must be names of classes, not 3"):
        ProtocolOptions(unseen_classes=["a", 3])


def test_paths_become_absolute_and_names_stay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    Path("digits").mkdir()
    spec = with_absolute_paths(DataSpec("photos", "images"))
    assert (spec.data, spec.root) == (str(tmp_path / "photos"), str(tmp_path / "images"))
    assert with_absolute_paths(spec) == spec
    for name in IMAGE_SETS:
        assert absolute_spec(name) == name
    assert absolute_spec("./digits") == str(tmp_path / "digits")
    assert absolute_spec("no/such/thing") == "no/such/thing"
    lists = with_absolute_paths(DataSpec("photos", query_list="q.txt", training_list="t.txt"))
    assert (lists.query_list, lists.training_list) == (
        str(tmp_path / "q.txt"),
        str(tmp_path / "t.txt"),
    )


def test_home_is_where_the_tilde_is(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "photos").mkdir()
    assert absolute_spec("~/photos") == str(tmp_path / "photos")
    assert with_absolute_paths(DataSpec("digits", "~/data")).root == str(tmp_path / "data")


def test_a_spec_opens_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = write_class_folders(tmp_path / "photos", per_class=5)
    spec = with_absolute_paths(DataSpec("photos"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    images, split = open_spec(spec)
    assert list(images.names) == names
    assert split.protocol == "per-class"
    assert len(split.queries) == 3
    with pytest.raises(DatasetError, match="unknown image set 'photos'"):
        open_spec(DataSpec("photos"))


def test_the_same_seed_draws_the_same_split():
    first, again, other = (open_spec(DataSpec(seed=seed))[1] for seed in (0, 0, 1))
    assert np.array_equal(first.queries, again.queries)
    assert not np.array_equal(first.queries, other.queries)


def test_images_without_labels_are_split_at_random(tmp_path):
    folder = tmp_path / "flat"
    for row in range(20):
        write_digit(row, folder / f"{row}.jpg")
    images, split = open_spec(DataSpec(str(folder)))
    assert images.labels is None
    assert split.protocol == "random"


def test_images_with_several_labels_are_split_at_random(tmp_path):
    names = write_class_folders(tmp_path / "images", per_class=5)
    lines = [f"images/{name} {row % 2} 1\n" for row, name in enumerate(names)]
    (tmp_path / "list.txt").write_text("".join(lines))
    assert open_spec(DataSpec(str(tmp_path / "list.txt")))[1].protocol == "random"


def test_a_published_split_is_read_as_it_is(tmp_path):
    names = write_class_folders(tmp_path / "images", per_class=3)
    parts = {"q": names[:3], "d": names[3:], "t": names[3:6]}
    for part, listed in parts.items():
        text = "".join(f"images/{name} {len(name) % 2}\n" for name in listed)
        (tmp_path / f"{part}.txt").write_text(text)
    path = {part: str(tmp_path / f"{part}.txt") for part in parts}
    images, split = open_spec(DataSpec(path["d"], query_list=path["q"], training_list=path["t"]))
    for rows, part in ((split.queries, "q"), (split.database, "d"), (split.training, "t")):
        assert {images.names[row] for row in rows} == {f"images/{name}" for name in parts[part]}


@looped(
    ("fields", "words"),
    [
        ({"training_list": "t.txt"}, "`training_list` needs `query_list`"),
        ({"query_list": "q.txt", "protocol": "random"}, "leave `protocol` out"),
        ({"query_list": "q.txt", "options": ProtocolOptions(n_queries=3)}, "leave `n_queries` out"),
        ({"protocol": "nothing"}, "unknown protocol 'nothing'; known: per-class, random"),
    ],
)
def test_contradictions_are_refused(fields, words):
    with pytest.raises(ConfigError, match=words):
        DataSpec(**fields)
