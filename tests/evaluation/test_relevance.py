from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from looped import looped
from numpy.typing import NDArray

from hashkit.codesets import CodeSet
from hashkit.errors import CodesError, EvaluationError
from hashkit.evaluation.relevance import match_labels


def labelled(labels: Any, *class_names: str) -> CodeSet:
    labels = np.asarray(labels)
    return CodeSet(np.zeros((len(labels), 1), np.uint8), 8, labels, class_names=class_names)


def grades(query: CodeSet, *databases: CodeSet, block_rows: int = 1000) -> list[list[int]]:
    """Number of labels each row shares with each query, from the blocks that the passes compare."""
    matched = match_labels(query, databases)
    block = matched.query_block
    found: list[list[int]] = [[] for _ in query.codes]
    for place, database in enumerate(databases):
        for first in range(0, len(database), block_rows):
            rows = matched.rows(place, first, min(first + block_rows, len(database)))
            for q, row in enumerate(found):
                if len(block.ids):
                    assert rows.words.shape[0] == block.words.shape[1] == 0
                    row += (rows.ids == block.ids[q]).astype(int).tolist()
                else:
                    shared = np.bitwise_count(rows.words & block.words[q][:, None])
                    row += shared.sum(axis=0, dtype=int).tolist()
    assert max(map(max, found)) < matched.n_grades
    return found


def table(query: CodeSet, *databases: CodeSet) -> list[list[bool]]:
    """Whether each row is relevant to each query."""
    return [[grade > 0 for grade in row] for row in grades(query, *databases)]


def test_equal_labels_are_relevant_and_unlabelled_rows_never_are() -> None:
    found = table(labelled([3, 1]), labelled([1, 3, -1, 2, 3]))
    assert found == [[False, True, False, False, True], [True, False, False, False, False]]


@looped("block_rows", [1, 2, 3, 5])
def test_labels_do_not_depend_on_the_block_size(block_rows: int) -> None:
    query, single = labelled([2, 0]), labelled([1, 2, 2, 0, -1])
    several = labelled([[1, 1, 0], [0, 0, 1], [0, 0, 0], [1, 0, 1], [0, 1, 0]])
    for database in (single, several):
        whole = grades(query, database)
        assert grades(query, database, block_rows=block_rows) == whole
        assert grades(query, database, single if database is single else several) == [
            row * 2 for row in whole
        ]


@given(st.integers(1, 70), st.integers(0, 2**32 - 1))
def test_grades_of_multi_hot_rows_count_shared_labels(n_classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    query: NDArray[Any] = (rng.random((3, n_classes)) < 0.1).astype(np.uint8)
    query[:, rng.integers(n_classes)] = 1
    database = (rng.random((20, n_classes)) < 0.1).astype(np.uint8)
    sets = [[set(np.flatnonzero(row).tolist()) for row in one] for one in (query, database)]
    assert grades(labelled(query), labelled(database)) == [
        [len(a & b) for b in sets[1]] for a in sets[0]
    ]
    most = max(map(len, sets[0]))
    assert match_labels(labelled(query), [labelled(database)]).n_grades == most + 1


def test_only_the_classes_of_queries_are_packed() -> None:
    query = np.zeros((2, 5000), np.uint8)
    query[0, [3, 4900, 4999]] = query[1, [77]] = 1
    database = np.ones((3, 5000), np.uint8)
    database[1, 4900] = database[2, 77] = 0
    assert grades(labelled(query), labelled(database)) == [[3, 2, 3], [1, 1, 0]]
    assert match_labels(labelled(query), [labelled(database)]).query_block.words.shape == (2, 1)


def test_labels_of_single_rows_use_the_common_numbers() -> None:
    databases = [labelled([0, 1, -1], "b", "a"), labelled([2, 0], "a", "b", "c")]
    matched = match_labels(labelled([0], "a"), databases)
    assert matched.class_names == ("a", "b", "c")
    assert [matched.database[row] for row in range(5)] == [1, 0, -1, 2, 0]
    with pytest.raises(IndexError):
        matched.database[5]
    sets = match_labels(labelled([0], "a"), [labelled([[0, 1], [1, 1]], "b", "a"), databases[1]])
    rows = [np.flatnonzero(sets.database[row]).tolist() for row in range(4)]
    assert rows == [[0], [0, 1], [2], [0]]


def test_a_damaged_label_matrix_is_refused_when_its_rows_are_read() -> None:
    class Mapped:
        codes = np.zeros((2, 1), np.uint8)
        n_bits, names, class_names, deleted = 8, (), (), None
        labels = np.array([[0, 1], [0, 7]], np.uint8)

        def __len__(self) -> int:
            return 2

    matched = match_labels(labelled([[0, 1]]), [Mapped()])
    assert matched.rows(0, 0, 1).words.shape == (1, 1)
    with pytest.raises(CodesError, match="found 0 to 7"):
        matched.rows(0, 1, 2)


def test_classes_are_matched_by_name_in_any_order() -> None:
    query = labelled([0, 1], "cat", "dog")
    database = labelled([0, 1, 2, -1], "bird", "dog", "cat")
    assert table(query, database) == [[False, False, True, False], [False, True, False, False]]
    assert list(match_labels(query, [database]).query_groups()) == ["cat", "dog"]


def test_multi_hot_columns_are_matched_by_name() -> None:
    query = labelled([[1, 0], [0, 1]], "cat", "dog")
    database = labelled([[0, 1, 1], [1, 0, 0], [0, 0, 0]], "bird", "dog", "cat")
    assert table(query, database) == [[True, False, False], [True, False, False]]
    assert table(labelled([1], "cat", "dog"), database) == [[True, False, False]]


def test_each_database_is_matched_by_its_own_class_names() -> None:
    databases = [labelled([0, 1], "a", "b"), labelled([0, 1], "b", "a")]
    assert table(labelled([0], "a"), *databases) == [[True, False, False, True]]


def test_names_that_are_numbers_are_matched_with_numbers() -> None:
    """The names of a text file are in alphabetical order: "10" is the second."""
    named = labelled([0, 1, 2, 3], "1", "10", "2", "3.0")
    plain = labelled([10, 3, 2, 1, 0])
    equal = np.equal.outer([1, 10, 2, 3], [10, 3, 2, 1, 0])
    np.testing.assert_array_equal(table(named, plain), equal)
    equal = np.equal.outer([10, 3, 2, 1], [1, 10, 2, 3])
    np.testing.assert_array_equal(table(labelled([10, 3, 2, 1]), named), equal)
    assert list(match_labels(named, [plain]).query_groups()) == ["1", "2", "3", "10"]


def test_names_that_are_positions_go_with_numbers_and_columns() -> None:
    assert table(labelled([1], "0", "1"), labelled([0, 1])) == [[False, True]]
    assert table(labelled([1]), labelled([[1, 0], [0, 1]], "0", "1")) == [[False, True]]


@looped(
    ("named", "plain"),
    [
        (labelled([1], "cat", "dog"), labelled([0, 1])),
        (labelled([[0, 1]], "cat", "dog"), labelled([[0, 1]])),
        (labelled([0], "1", "cat"), labelled([1])),
        (labelled([0], "-3", "4"), labelled([4])),
        (labelled([0], "3", "03"), labelled([3])),
        (labelled([0], "2", "1"), labelled([[0, 1]])),
    ],
)
def test_names_are_not_matched_with_numbers_by_position(named: CodeSet, plain: CodeSet) -> None:
    for query, database in ((named, plain), (plain, named)):
        with pytest.raises(
            EvaluationError, match="class names in all sets or in none, found names"
        ) as caught:
            match_labels(query, [database])
        assert "\n" not in str(caught.value)


def test_query_groups_follow_the_labels() -> None:
    single = match_labels(labelled([5, 2, 5]), [labelled([5])]).query_groups()
    assert {name: rows.tolist() for name, rows in single.items()} == {"2": [1], "5": [0, 2]}
    multi = match_labels(labelled([[1, 1], [0, 1]], "x", "y"), [labelled([[1, 0]], "x", "y")])
    groups = {name: rows.tolist() for name, rows in multi.query_groups().items()}
    assert groups == {"x": [0], "y": [0, 1]}


def test_large_numbers_and_many_classes() -> None:
    labels = np.arange(300) * 10**9
    found = np.array(table(labelled(labels), labelled(labels[::-1])))
    np.testing.assert_array_equal(found, np.eye(300, dtype=bool)[::-1])


@looped(
    ("query", "database", "message"),
    [
        (labelled([0, -1, -1]), labelled([0]), "2 of 3 have none"),
        (labelled([[0, 1], [0, 0]]), labelled([[1, 0]]), "1 of 2 have none"),
        (labelled([[0, 1]]), labelled([[0, 1, 1]]), "2 and 3 columns"),
        (labelled([4]), labelled([[0, 1, 1]]), "label 4 is beyond the 3 columns"),
        (labelled([0], "a", "a"), labelled([0], "a"), "'a' names two classes"),
        (labelled([1], "a"), labelled([0], "a"), "2 classes, found 1 names"),
    ],
)
def test_labels_that_cannot_be_matched_are_refused(
    query: CodeSet, database: CodeSet, message: str
) -> None:
    with pytest.raises(EvaluationError, match=message):
        match_labels(query, [database])


def test_sets_without_labels_are_refused() -> None:
    bare = CodeSet(np.zeros((2, 1), np.uint8), 8)
    with pytest.raises(EvaluationError, match="labels for the queries, found none"):
        match_labels(bare, [labelled([0])])
    with pytest.raises(EvaluationError, match="labels for the database, found none"):
        match_labels(labelled([0]), [bare])
