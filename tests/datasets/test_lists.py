from __future__ import annotations

import numpy as np
import published_sets
import pytest
from hypothesis import given
from hypothesis import strategies as st
from looped import looped

from hashkit.datasets.lists import open_list, open_list_split
from hashkit.datasets.protocols import make_split
from hashkit.datasets.triplets import read_triplets
from hashkit.errors import DatasetError


@pytest.fixture
def root(tmp_path):
    for name in ("a.png", "b.png", "my cat 2.png", "deep/c.png"):
        published_sets.write_image(tmp_path / name)
    return tmp_path


def write_list(root, text, name="list.txt"):
    path = root / name
    path.write_text(text, encoding="utf-8")
    return path


def test_single_labels(root):
    text = "# a comment\na.png 3\n\n  my cat 2.png 0 \r\n./deep/c.png\t3\n"
    images = open_list(write_list(root, text))
    assert images.name == "list"
    assert images.names == ["a.png", "my cat 2.png", "deep/c.png"]
    assert images.labels.tolist() == [3, 0, 3]
    assert images.labels.dtype == np.int64
    assert images.class_names == ("0", "1", "2", "3")
    assert not images.is_multi_label
    assert images.source(1) == root / "my cat 2.png"


def test_multi_hot_labels(root):
    images = open_list(write_list(root, "a.png 0 1 1\nmy cat 2.png 0 0 0\nb.png 1 0 0"))
    assert images.names == ["a.png", "my cat 2.png", "b.png"]
    assert images.labels.tolist() == [[0, 1, 1], [0, 0, 0], [1, 0, 0]]
    assert images.labels.dtype == np.uint8
    assert images.class_names == ("0", "1", "2")
    assert images.is_multi_label


def test_no_labels(root):
    images = open_list(write_list(root, "my cat 2.png\na.png\n"))
    assert images.names == ["my cat 2.png", "a.png"]
    assert images.labels is None
    assert images.class_names == ()


def test_a_list_elsewhere_needs_its_root(root, tmp_path_factory):
    path = write_list(tmp_path_factory.mktemp("lists"), f"{root}/a.png 1\nb.png 0\n")
    assert open_list(path, root).names == ["a.png", "b.png"]
    path.write_text("b.png 0\n")
    with pytest.raises(DatasetError, match=r"none of the first 1 images.*b\.png.*the root"):
        open_list(path)


@looped(
    ("text", "message"),
    [
        ("a.png 1\nb.png\n", "line 2: expected 1 label columns.*found 0"),
        ("a.png\n# x\nb.png 1\n", "line 3: expected 0 label columns.*found 1"),
        ("a.png 1 0\nb.png 1\n", "line 2: expected 2 label columns.*found 1"),
        ("a.png 1\nb.png 1 0\n", "line 2: expected 1 label columns.*found 2"),
        ("a.png 1 0\nb.png 1 0 1\n", "line 2: expected 2 label columns.*found 3"),
        ("a.png 1 2\n", "line 1: expected columns of 0 or 1.*found '2'"),
        ("a.png -2\n", "line 1: expected a label from 0 .* or -1 where it is unknown"),
        ("a.png 1.5\nb.png 1\n", r"line 1: expected a path and its labels.*found '1\.5'"),
        (f"a.png {'9' * 5000}\n", r"line 1: expected a label from 0.*9\.\.\."),
        ("a.png 1e300\nb.png 1\n", "line 1: expected a path and its labels.*found '1e300'"),
        ("a.png,0\nb.png,cat\n", "line 2: expected a path and its labels.*found 'cat'"),
        ("a.png,0\nb.png\n", "line 2: expected a path and 1 columns of labels"),
        ("path,label,split\na.png,0,train\n", "line 2: .*found 'train' in 'a.png,0,train'"),
        ("a.png,2,0\n", "line 1: expected columns of 0 or 1.*found '2'"),
        ("a.png 1000000\n", "line 1: expected a label from 0"),
        ("3 1\n", "line 1: expected a path before the labels"),
        ("a.png 1\nb.png 0\n./a.png 1\n", "line 3: a.png is listed twice, first in line 1"),
        ("\n# nothing\n", "found no lines"),
    ],
)
def test_mistakes_are_reported_with_their_line(root, text, message):
    with pytest.raises(DatasetError, match=message) as info:
        open_list(write_list(root, text))
    assert "\n" not in str(info.value)


@pytest.mark.parametrize("between", [" ", ","])
def test_bits_without_spaces_are_not_taken_for_class_numbers(root, between):
    path = write_list(root, f"a.png{between}010\nb.png{between}100\n")
    with pytest.raises(DatasetError, match=r"found '010': write `0 1 0`"):
        open_list(path)


def test_class_numbers_may_have_leading_zeros(root):
    path = write_list(root, "a.png 02\nb.png 10\nc.png 01\n")
    assert open_list(path, root).labels.tolist() == [2, 10, 1]


def test_files_that_are_not_text_are_refused(root):
    (root / "a.tar.gz").write_bytes(b"\x1f\x8b\x08\xff\xfe")
    with pytest.raises(DatasetError, match=r"line 1: expected a list in UTF-8.*to open an archive"):
        open_list(root / "a.tar.gz")
    with pytest.raises(DatasetError, match="cannot be read"):
        open_list(root / "gone.txt")


@looped(
    "text",
    [
        "a.png,3\nb.png,-1\nmy cat 2.png,0\n",
        "path,label\na.png,3\nb.png,-1\nmy cat 2.png,0\n",
        "a.png;3\r\nb.png;-1\r\nmy cat 2.png;0\r\n",
        'filename\tclass\na.png\t3\nb.png\t-1\n"my cat 2.png"\t0\n',
        '"a.png",3\n"b.png",-1\n"my cat 2.png","0"\n',
        '"a.png" 3\n"b.png" -1\n"my cat 2.png" 0\n',
        "a.png 3.0\nb.png -1.0\nmy cat 2.png 0.000e+00\n",
        "a.png, 3\nb.png, -1.0\nmy cat 2.png, 0\n",
        "\ufeffa.png\t3\rb.png\t-1\rmy cat 2.png\t0\r",
    ],
)
def test_tables_and_other_spellings_are_the_same_list(root, text):
    images = open_list(write_list(root, text))
    assert images.names == ["a.png", "b.png", "my cat 2.png"]
    assert images.labels.tolist() == [3, -1, 0]
    assert images.class_names == ("0", "1", "2", "3")


def test_the_heading_of_a_table_names_the_classes(root):
    text = "image,cat,dog\na.png,0,1.0\nb.png,1,1\n"
    images = open_list(write_list(root, text))
    assert images.labels.tolist() == [[0, 1], [1, 1]]
    assert images.class_names == ("cat", "dog")
    queries = write_list(root, "image,dog,cat\ndeep/c.png,1,0\n", "queries.txt")
    with pytest.raises(DatasetError, match=r"expected the classes of .* in the same order"):
        open_list_split(queries=queries, database=root / "list.txt")


@pytest.mark.parametrize("name", ["a,1.png", "x;y.png", 'the "best".png'])
def test_marks_in_a_path_are_part_of_it(root, name):
    published_sets.write_image(root / name)
    images = open_list(write_list(root, f"{name} 2\na.png 0\n"))
    assert images.names == [name, "a.png"]
    assert images.labels.tolist() == [2, 0]


SPACED = {
    "spaces": " b.png 1\na.png 0\n",
    "no labels": " b.png\na.png\n",
    "table": " b.png,1\na.png,0\n",
    "heading": "path,label\n b.png,1\na.png,0\n",
    "quotes": '" b.png",1\n"a.png",0\n',
    "quotes and spaces": '" b.png" 1\n"a.png" 0\n',
    "tabs": " b.png\t1\na.png\t0\n",
}


@looped("text", SPACED.values(), ids=SPACED)
def test_a_space_before_a_path_is_part_of_it_if_there_is_such_a_file(root, text):
    published_sets.write_image(root / " b.png")
    assert (root / "b.png").is_file()  # which must not be taken for it
    images = open_list(write_list(root, text))
    assert images.names == [" b.png", "a.png"]
    assert images.labels is None or images.labels.tolist() == [1, 0]


@looped("text", SPACED.values(), ids=SPACED)
def test_a_space_before_a_path_does_not_count_otherwise(root, text):
    assert open_list(write_list(root, text)).names == ["b.png", "a.png"]


def test_spaces_after_a_path(root):
    published_sets.write_image(root / "c.png")
    (root / "c.png").rename(root / "b.png ")
    assert open_list(write_list(root, "b.png \na.png  \n")).names == ["b.png ", "a.png"]
    assert open_list(write_list(root, "b.png ,1\na.png ,0\n")).names == ["b.png ", "a.png"]
    triplets, _ = read_triplets(write_list(root, " a.png\tb.png \tdeep/c.png\n"))
    assert triplets.names == ["a.png", "b.png ", "deep/c.png"]


def test_a_list_that_is_not_utf8_names_its_line(root):
    (root / "list.txt").write_bytes(b"a.png 1\r\nb.png 1\r\ncaf\xe9.png 0\r\n")
    with pytest.raises(DatasetError, match=r"line 3: expected a list in UTF-8.*0xe9"):
        open_list(root / "list.txt")
    (root / "list.txt").write_text("a.png 1\n", encoding="utf-16")
    with pytest.raises(DatasetError, match="found UTF-16"):
        open_list(root / "list.txt")


def test_names_that_no_file_can_have_are_not_an_error_of_the_list(root):
    names = ["\0", "x" * 5000, "a/" * 3000]
    images = open_list(write_list(root, "\n".join(["a.png", *names])))
    assert len(images) == 4


def test_images_without_a_label_are_not_queries(root):
    for number in range(30):
        published_sets.write_image(root / f"{number}.png")
    lines = [f"{number}.png {number % 3 - 1}" for number in range(30)]
    images = open_list(write_list(root, "\n".join(lines)))
    unknown = np.flatnonzero(images.labels < 0)
    for protocol in ("per-class", "random"):
        split = make_split(images, protocol, seed=1)
        assert len(split.queries)
        assert not np.isin(unknown, split.queries).any()
        assert np.isin(unknown, split.database).all()
        assert np.isin(unknown, split.training).all()
    split = make_split(images, "unseen-classes", seed=1)
    for part in (split.queries, split.database, split.training):
        assert not np.isin(unknown, part).any()


def test_a_byte_order_mark_is_not_part_of_the_first_path(root):
    path = root / "bom.txt"
    path.write_bytes(b"\xef\xbb\xbfa.png 1\n")
    assert open_list(path).names == ["a.png"]


names = st.lists(
    st.text(alphabet="abcé 0123", min_size=1, max_size=8).map(lambda text: f"x{text}.png"),
    min_size=1,
    max_size=8,
    unique_by=lambda name: " ".join(name.split()),
)


@given(names=names, n_columns=st.integers(0, 5), data=st.data())
def test_lists_round_trip(tmp_path_factory, names, n_columns, data):
    root = tmp_path_factory.mktemp("lists")
    (root / names[0]).touch()
    column = st.integers(0, 1 if n_columns > 1 else 50)
    rows = [data.draw(st.lists(column, min_size=n_columns, max_size=n_columns)) for _ in names]
    lines = [" ".join([name, *map(str, row)]) for name, row in zip(names, rows, strict=True)]
    images = open_list(write_list(root, "\n".join(lines)))
    assert images.names == names
    if n_columns == 0:
        assert images.labels is None
    elif n_columns == 1:
        assert images.labels.tolist() == [row[0] for row in rows]
    else:
        assert images.labels.tolist() == rows


def test_a_published_split_is_one_set_with_rows_per_part(root):
    queries = write_list(root, "b.png 0 1\n", "test.txt")
    database = write_list(root, "deep/c.png 1 1\na.png 1 0\nmy cat 2.png 0 1\n", "database.txt")
    training = write_list(root, "a.png 1 0\ndeep/c.png 1 1\n", "train.txt")
    images, split = open_list_split(queries=queries, database=database, training=training)
    assert images.name == root.name
    assert [images.names[row] for row in split.queries] == ["b.png"]
    assert {images.names[row] for row in split.training} == {"a.png", "deep/c.png"}
    assert {images.names[row] for row in split.database} == {"a.png", "deep/c.png", "my cat 2.png"}
    label_by_name = dict(zip(images.names, images.labels.tolist(), strict=True))
    assert label_by_name == {
        "b.png": [0, 1], "deep/c.png": [1, 1], "a.png": [1, 0], "my cat 2.png": [0, 1],
    }  # fmt: skip
    assert split.protocol == "lists"
    whole = open_list_split(queries=queries, database=database)[1]
    np.testing.assert_array_equal(whole.training, whole.database)


def test_lists_of_one_split_must_agree(root):
    queries = write_list(root, "b.png 1\n", "test.txt")
    database = write_list(root, "a.png 1\nb.png 0\n", "database.txt")
    with pytest.raises(DatasetError, match=r"b\.png has different labels"):
        open_list_split(queries=queries, database=database)
    database = write_list(root, "a.png 1 0\n", "database.txt")
    with pytest.raises(DatasetError, match=r"one label in .*and 2 columns of 0 or 1 in"):
        open_list_split(queries=queries, database=database)


def test_triplets(root):
    text = "# query similar dissimilar\na.png b.png deep/c.png\n\nb.png\tmy cat 2.png\ta.png\n"
    images, triplets = read_triplets(write_list(root, text))
    assert images.names == ["a.png", "b.png", "deep/c.png", "my cat 2.png"]
    assert images.labels is None
    assert triplets.tolist() == [[0, 1, 2], [1, 3, 0]]
    assert triplets.dtype == np.int64


@looped(
    ("text", "message"),
    [
        ("a.png b.png deep/c.png\na.png b.png\n", "line 2: expected three paths.*found 2"),
        ("a.png my cat 2.png b.png\n", "line 1: expected three paths.*found 5.*tabs"),
        ("a.png\t\tb.png\n", "line 1: expected three paths"),
        ("a.png b.png a.png\n", "line 1: the dissimilar image a.png is also"),
        ("", "found no lines"),
        ("x.png y.png z.png\n", "none of the first 3 images"),
    ],
)
def test_triplet_mistakes_are_reported_with_their_line(root, text, message):
    with pytest.raises(DatasetError, match=message):
        read_triplets(write_list(root, text))
