from __future__ import annotations

import numpy as np
import pytest

from hashkit.features.table import OutputTable

ROWS = np.arange(30, dtype=np.float32).reshape(10, 3)


def table(path, fingerprint="a", n_rows=10):
    return OutputTable(path / "outputs.npy", n_rows, 3, fingerprint)


def fill(one, rows, per_save=2, stop=None):
    with one.filled(per_save) as append:
        for row in rows:
            append(row[None])
        if stop is not None:
            raise stop


def test_a_complete_table_is_a_numpy_file(tmp_path):
    fill(table(tmp_path), ROWS)
    assert table(tmp_path).n_done() == 10
    np.testing.assert_array_equal(table(tmp_path).read(), ROWS)
    np.testing.assert_array_equal(np.load(tmp_path / "outputs.npy"), ROWS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outputs.json", "outputs.npy"]


@pytest.mark.parametrize("n_rows", [0, 1, 4, 5])
def test_a_stopped_table_is_continued_from_what_was_saved(tmp_path, n_rows):
    with pytest.raises(KeyboardInterrupt):
        fill(table(tmp_path), ROWS[:n_rows], stop=KeyboardInterrupt())
    n_done = table(tmp_path).n_done()
    assert n_done == n_rows // 2 * 2
    fill(table(tmp_path), ROWS[n_done:])
    np.testing.assert_array_equal(table(tmp_path).read(), ROWS)


def test_a_table_of_something_else_is_made_again(tmp_path):
    fill(table(tmp_path), ROWS)
    assert table(tmp_path, "b").n_done() == 0
    fill(table(tmp_path, "b"), ROWS[::-1])
    assert table(tmp_path).n_done() == 0
    np.testing.assert_array_equal(table(tmp_path, "b").read(), ROWS[::-1])


@pytest.mark.parametrize(
    "progress",
    ["", "[]", '{"fingerprint": "a"}', '{"fingerprint": "a", "n_done": 11}', '{"n_done": "x"}'],
)
def test_damaged_progress_counts_as_none(tmp_path, progress):
    fill(table(tmp_path), ROWS)
    (tmp_path / "outputs.json").write_text(progress)
    assert table(tmp_path).n_done() == 0


def test_a_table_that_was_cut_counts_as_none(tmp_path):
    fill(table(tmp_path), ROWS)
    content = (tmp_path / "outputs.npy").read_bytes()
    (tmp_path / "outputs.npy").write_bytes(content[:-1])
    assert table(tmp_path).n_done() == 0
