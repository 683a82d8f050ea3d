from __future__ import annotations

import os

import numpy as np
import pytest
from looped import looped

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


@looped("n_rows", [0, 1, 4, 5])
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


@looped(
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


@pytest.mark.parametrize("stop_at", [4, 10])
def test_a_header_of_something_else_counts_as_none(tmp_path, stop_at):
    with pytest.raises(KeyboardInterrupt):
        fill(table(tmp_path), ROWS[:stop_at], stop=KeyboardInterrupt())
    np.save(tmp_path / "outputs.npy", np.zeros((20, 3), np.float32))
    assert table(tmp_path).n_done() == 0
    np.save(tmp_path / "outputs.npy", np.array([{}] * 40), allow_pickle=True)
    assert table(tmp_path).n_done() == 0
    fill(table(tmp_path), ROWS)
    np.testing.assert_array_equal(table(tmp_path).read(), ROWS)


def test_rows_that_changed_after_writing_are_noticed(tmp_path):
    fill(table(tmp_path), ROWS)
    assert table(tmp_path).is_whole()
    path = tmp_path / "outputs.npy"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert table(tmp_path).n_done() == 10
    assert not table(tmp_path).is_whole()


@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_an_incomplete_table_is_never_written_through_a_link(tmp_path, link):
    """A run folder may come from somebody else, and a killed process may leave a shared table."""
    with pytest.raises(KeyboardInterrupt):
        fill(table(tmp_path), ROWS[:4], stop=KeyboardInterrupt())
    theirs = []
    for name in ("outputs.npy", "outputs.json"):
        path = tmp_path / name
        path.rename(tmp_path / f"their-{name}")
        link(tmp_path / f"their-{name}", path)
        theirs.append((tmp_path / f"their-{name}", path.read_bytes()))
    assert table(tmp_path).n_done() == 0
    fill(table(tmp_path), ROWS[::-1])
    np.testing.assert_array_equal(table(tmp_path).read(), ROWS[::-1])
    assert [path.read_bytes() for path, _ in theirs] == [content for _, content in theirs]
