from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from looped import looped

from hashkit.datasets.imageset import ImageSet
from hashkit.datasets.protocols import PROTOCOLS, make_split
from hashkit.datasets.split import Split, holdout, shuffled
from hashkit.errors import ProtocolError
from hashkit.runs.data_spec import ProtocolOptions


def labelled(labels, *, is_test=None, class_names=None):
    labels = np.asarray(labels)
    if class_names is None:
        n_classes = labels.shape[1] if labels.ndim == 2 else int(labels.max()) + 1
        class_names = tuple(f"class{label}" for label in range(n_classes))
    return ImageSet(
        name="set",
        names=[f"{row}.png" for row in range(len(labels))],
        root=Path("images"),
        labels=labels,
        class_names=class_names,
        is_test=is_test,
    )


@pytest.fixture(scope="module")
def cifar10():
    """Labels in the order of CIFAR-10: 50,000 training images, then 10,000 test images."""
    rng = np.random.default_rng(0)
    labels = np.concatenate([rng.permutation(np.repeat(np.arange(10), n)) for n in (5000, 1000)])
    return labelled(labels, is_test=np.arange(60_000) >= 50_000)


def counts(image_set, rows):
    return np.bincount(image_set.labels[rows], minlength=len(image_set.class_names)).tolist()


def test_cifar10_59k(cifar10):
    split = make_split(cifar10, "cifar10-59k", seed=3)
    assert counts(cifar10, split.queries) == [100] * 10
    assert counts(cifar10, split.training) == [500] * 10
    assert counts(cifar10, split.database) == [5900] * 10
    assert np.isin(split.training, split.database).all()
    assert not np.isin(split.queries, split.database).any()
    # Queries are drawn from both official parts.
    assert 0 < cifar10.is_test[split.queries].sum() < 1000
    assert split.training_in_database


def test_cifar10_59k_with_unlabelled_images(cifar10):
    split, labelled_only = (
        make_split(cifar10, name, seed=3) for name in ("cifar10-59k-unlabelled", "cifar10-59k")
    )
    for part in ("queries", "training", "database"):
        np.testing.assert_array_equal(split.part(part), labelled_only.part(part))
    expected = np.setdiff1d(split.database, split.training)
    np.testing.assert_array_equal(split.unlabelled, expected)
    assert len(expected) == 54_000
    assert not labelled_only.unlabelled.size


def test_unlabelled_images_may_not_be_queries_or_training_images():
    rows = [np.array([number]) for number in range(3)]
    for taken in rows[:2]:
        with pytest.raises(ProtocolError, match="expected unlabelled images apart from queries"):
            Split("made", 0, *rows, unlabelled=taken)
    assert Split("made", 0, *rows, unlabelled=rows[2]).unlabelled.tolist() == [2]


def test_cifar10_54k(cifar10):
    split = make_split(cifar10, "cifar10-54k", seed=3)
    assert counts(cifar10, split.queries) == [100] * 10
    assert counts(cifar10, split.training) == [500] * 10
    assert counts(cifar10, split.database) == [5400] * 10
    together = np.concatenate([split.queries, split.training, split.database])
    np.testing.assert_array_equal(np.sort(together), np.arange(60_000))
    assert not split.training_in_database
    # The two protocols differ only in the database.
    np.testing.assert_array_equal(split.queries, make_split(cifar10, "cifar10-59k", seed=3).queries)


@pytest.mark.parametrize("protocol", ["cifar10-full", "official"])
def test_official_parts(cifar10, protocol):
    split = make_split(cifar10, protocol, seed=3)
    np.testing.assert_array_equal(split.queries, np.arange(50_000, 60_000))
    np.testing.assert_array_equal(split.training, np.arange(50_000))
    np.testing.assert_array_equal(split.database, np.arange(50_000))


@pytest.mark.parametrize("protocol", ["cifar10-full", "official"])
def test_official_needs_a_test_part(protocol):
    labels = np.arange(20) % 10
    with pytest.raises(ProtocolError, match="has no official test part"):
        make_split(labelled(labels), protocol)
    with pytest.raises(ProtocolError, match="has no official test part"):
        make_split(labelled(labels, is_test=np.zeros(20, bool)), protocol)


def test_unseen_classes(cifar10):
    split = make_split(cifar10, "unseen-classes", seed=1)
    seen = set(cifar10.labels[split.training].tolist())
    unseen = set(cifar10.labels[split.database].tolist())
    assert len(seen) == 7
    assert len(unseen) == 3
    assert not seen & unseen
    assert set(cifar10.labels[split.queries].tolist()) == unseen
    assert sorted(counts(cifar10, split.queries)) == [0] * 7 + [20] * 3
    assert sorted(counts(cifar10, split.database)) == [0] * 7 + [5980] * 3
    drawn = {
        tuple(np.unique(cifar10.labels[make_split(cifar10, "unseen-classes", seed=seed).queries]))
        for seed in range(8)
    }
    assert len(drawn) > 3


@looped(("n_classes", "n_unseen"), [(2, 1), (3, 2), (5, 2), (8, 2), (9, 3), (15, 5), (100, 30)])
def test_the_unseen_fraction_is_rounded_half_up_to_at_least_two_classes(n_classes, n_unseen):
    image_set = labelled(np.arange(n_classes * 4) % n_classes)
    split = make_split(image_set, "unseen-classes")
    assert len(np.unique(image_set.labels[split.database])) == n_unseen


def test_unseen_classes_can_be_named():
    image_set = labelled(np.arange(40) % 4)
    options = ProtocolOptions(unseen_classes=("class1",), queries_per_class=3, training_per_class=5)
    split = make_split(image_set, "unseen-classes", options=options)
    assert counts(image_set, split.queries) == [0, 3, 0, 0]
    assert counts(image_set, split.database) == [0, 7, 0, 0]
    assert counts(image_set, split.training) == [5, 0, 5, 5]
    for names in (("nobody",), ("class0", "class1", "class2", "class3")):
        with pytest.raises(ProtocolError, match="must be some, not all, of class0, class1"):
            make_split(image_set, "unseen-classes", options=ProtocolOptions(unseen_classes=names))


def test_per_class_defaults_scale_with_the_class():
    sizes = [200, 100, 99, 12, 4, 2, 1]
    image_set = labelled(np.repeat(np.arange(7), sizes))
    split = make_split(image_set, "per-class")
    assert counts(image_set, split.queries) == [20, 20, 19, 2, 1, 1, 0]
    np.testing.assert_array_equal(split.training, split.database)
    assert len(split.part("all")) == sum(sizes)


def test_per_class_overrides():
    image_set = labelled(np.arange(60) % 3)
    options = ProtocolOptions(queries_per_class=4, training_per_class=6, training_in_database=False)
    split = make_split(image_set, "per-class", options=options)
    assert counts(image_set, split.queries) == [4] * 3
    assert counts(image_set, split.training) == [6] * 3
    assert counts(image_set, split.database) == [10] * 3
    assert len(split.part("all")) == 60
    inside = dataclasses.replace(options, training_in_database=True)
    assert (
        counts(image_set, make_split(image_set, "per-class", options=inside).database) == [16] * 3
    )


def test_random_takes_any_labels():
    multi = labelled(np.eye(5, dtype=np.uint8)[np.arange(50) % 5])
    split = make_split(multi, "random")
    assert (len(split.queries), len(split.training), len(split.database)) == (5, 45, 45)
    options = ProtocolOptions(n_queries=10, n_training=20, training_in_database=False)
    split = make_split(multi, "random", options=options)
    assert (len(split.queries), len(split.training), len(split.database)) == (10, 20, 20)
    plain = dataclasses.replace(multi, labels=None, class_names=())
    np.testing.assert_array_equal(
        make_split(plain, "random", options=options).queries, split.queries
    )


@pytest.mark.parametrize("protocol", ["per-class", "unseen-classes", "cifar10-59k"])
def test_classes_need_one_label_per_image(protocol):
    multi = labelled(np.eye(5, dtype=np.uint8)[np.arange(50) % 5])
    with pytest.raises(ProtocolError, match=r"found several labels per image; use .* random"):
        make_split(multi, protocol)
    with pytest.raises(ProtocolError, match="found no labels"):
        make_split(dataclasses.replace(multi, labels=None, class_names=()), protocol)


def test_a_set_that_is_too_small_is_reported_with_class_and_counts():
    labels = np.repeat(np.arange(10), 600)
    make_split(labelled(np.repeat(np.arange(10), 601)), "cifar10-54k")
    make_split(labelled(labels), "cifar10-59k")
    with pytest.raises(
        ProtocolError, match=r"54k: expected at least 601 images in class 'class0', found 600"
    ):
        make_split(labelled(labels), "cifar10-54k")
    with pytest.raises(
        ProtocolError, match=r"expected at least 600 images in class 'class9', found 599"
    ):
        make_split(labelled(labels[:-1]), "cifar10-59k")
    with pytest.raises(ProtocolError, match="expected 10 classes, found 9"):
        make_split(labelled(labels[:5400]), "cifar10-59k")
    with pytest.raises(ProtocolError, match="expected at least 31 images in set, found 30"):
        make_split(labelled(labels[:30]), "random", options=ProtocolOptions(n_queries=30))
    with pytest.raises(ProtocolError, match="unseen classes need at least 2 classes, found 1"):
        make_split(labelled(labels[:30]), "unseen-classes")


@looped(
    ("protocol", "options", "message"),
    [
        ("cifar10-59k", {"queries_per_class": 5}, "is fixed and takes no `queries_per_class`"),
        ("official", {"n_queries": 5}, "is fixed and takes no `n_queries`"),
        (
            "per-class",
            {"n_queries": 5},
            "takes no `n_queries`; it takes `queries_per_class`, `training",
        ),
        ("unseen-classes", {"training_in_database": True}, "takes no `training_in_database`"),
        ("random", {"unseen_fraction": 0.5}, "takes no `unseen_fraction`; it takes `training_in_d"),
        ("per-class", {"training_in_database": False}, "set `training_per_class`"),
        ("random", {"training_in_database": False}, "set `n_training`"),
        ("per-class-unlabelled", {}, "number of labelled ones is required: set `training_per_cl"),
        ("nothing", {}, "unknown protocol 'nothing'; known: per-class, random"),
    ],
)
def test_options_that_do_not_apply_are_refused(protocol, options, message):
    with pytest.raises(ProtocolError, match=message):
        make_split(labelled(np.arange(100) % 5), protocol, options=ProtocolOptions(**options))


@pytest.mark.parametrize(
    "options", [{"queries_per_class": 0}, {"n_training": -1}, {"unseen_fraction": 1.0}]
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ProtocolError, match="must be"):
        ProtocolOptions(**options)


@looped("protocol", sorted(PROTOCOLS))
def test_equal_seeds_give_equal_rows_and_other_seeds_other_rows(cifar10, protocol):
    few = ProtocolOptions(training_per_class=500) if protocol == "per-class-unlabelled" else None
    first, again, other = (
        make_split(cifar10, protocol, seed=seed, options=few) for seed in (5, 5, 6)
    )
    for part in ("queries", "training", "database"):
        rows = first.part(part)
        np.testing.assert_array_equal(rows, again.part(part))
        assert rows.dtype == np.int64
        assert (np.diff(rows) > 0).all()
    same = np.array_equal(first.queries, other.queries)
    assert same == (protocol in ("official", "cifar10-full"))


def test_draws_are_the_same_on_every_platform_and_release():
    # Fixed values: a change here changes every published split.
    assert shuffled(np.arange(8), 0, 1, 2).tolist() == [3, 4, 7, 6, 1, 5, 2, 0]
    image_set = labelled(np.arange(40) % 4)
    assert make_split(image_set, "per-class", seed=7).queries.tolist() == [
        5,
        6,
        7,
        9,
        23,
        24,
        32,
        38,
    ]


@given(st.integers(0, 2**32), st.integers(2, 30), st.integers(2, 30))
def test_the_draw_of_a_class_does_not_depend_on_other_classes(seed, n_first, n_second):
    alone = labelled(np.zeros(n_first, dtype=np.int64))
    both = labelled(np.repeat([0, 1], [n_first, n_second]))
    queries = make_split(both, "per-class", seed=seed).queries
    expected = make_split(alone, "per-class", seed=seed).queries
    np.testing.assert_array_equal(queries[queries < n_first], expected)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=12, max_size=80), st.integers(0, 99))
def test_every_protocol_keeps_queries_apart(labels, seed):
    image_set = labelled(labels)
    for protocol in ("per-class", "random", "unseen-classes"):
        try:
            split = make_split(image_set, protocol, seed=seed)
        except ProtocolError:
            assert protocol != "random"  # random needs two images, and there are twelve
            continue
        assert not np.isin(split.queries, split.database).any()
        assert not np.isin(split.queries, split.training).any()
        if not split.training_in_database:
            assert not np.isin(split.training, split.database).any()


def test_shuffles_are_uniform():
    # 6 orders of 3 rows, 6,000 seeds: 1,000 each, standard deviation 29.
    orders = [tuple(shuffled(np.arange(3), seed, 9).tolist()) for seed in range(6000)]
    tally = {order: orders.count(order) for order in set(orders)}
    assert len(tally) == 6
    assert all(abs(n - 1000) < 150 for n in tally.values())


def test_negative_seeds_are_refused():
    with pytest.raises(ProtocolError, match="`seed` must be 0 or more"):
        make_split(labelled(np.arange(20) % 2), "per-class", seed=-1)


def test_parts_of_a_split():
    split = Split("mine", 0, np.array([1]), np.array([2, 3]), np.array([3, 5]))
    assert split.part("queries").tolist() == [1]
    assert split.part("all").tolist() == [1, 2, 3, 5]
    with pytest.raises(ProtocolError, match="unknown part 'test'; known: queries, training"):
        split.part("test")
    for wrong in ([], [2, 2], [3, 1], [-1, 2]):
        with pytest.raises(ProtocolError, match="training must be at least one row, sorted"):
            Split("mine", 0, np.array([1]), np.array(wrong, dtype=np.int64), np.array([3]))


@given(
    st.lists(st.integers(0, 4), min_size=4, max_size=60),
    st.floats(0.01, 0.99),
    st.integers(0, 999),
)
def test_holdout_is_stratified(labels, fraction, seed):
    labels = np.array(labels)
    rows = np.arange(1, len(labels), dtype=np.int64)
    sizes = np.bincount(labels[rows])
    if sizes.max() < 2:
        with pytest.raises(ProtocolError, match="two or more"):
            holdout(labels, rows, fraction, seed)
        return
    fit, held = holdout(labels, rows, fraction, seed)
    np.testing.assert_array_equal(np.sort(np.concatenate([fit, held])), rows)
    assert (np.diff(held) > 0).all()
    for label, size in enumerate(sizes):
        n_held = (labels[held] == label).sum()
        if size < 2:
            assert n_held == 0
        else:
            assert 1 <= n_held <= size - 1
            assert abs(n_held - fraction * size) <= 1


def test_holdout_of_unlabelled_and_multi_label_sets():
    rows = np.arange(10, 50)
    for labels in (None, np.ones((50, 3), np.uint8)):
        fit, held = holdout(labels, rows, 0.25, 1)
        assert (len(fit), len(held)) == (30, 10)
    with pytest.raises(ProtocolError, match="between 0 and 1"):
        holdout(None, rows, 1.0, 1)
