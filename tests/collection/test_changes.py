"""What has changed in a folder since the rows of a bank were made of it."""

import dataclasses
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hashkit.bank.image_files import ImageFiles
from hashkit.collection.changes import KnownRows, compare
from hashkit.collection.listing import Listing


def listed(*files, unknown=()):
    """A listing of (name, size, time)."""
    names, sizes, times = zip(*files, strict=True) if files else ((), (), ())
    return Listing(
        Path("/photos"),
        list(names),
        np.array(sizes, np.uint64),
        np.array(times, np.int64),
        unknown=unknown,
    )


def known(*rows, deleted=(), removed=()):
    """Rows of (name, size, time), or of a name alone, whose file is not known."""
    files = ImageFiles.unknown(len(rows))
    for row, one in enumerate(rows):
        if len(one) == 3:
            files.set(row, one[1], one[2], bytes([row + 1] * 16))
    marks = np.zeros((2, len(rows)), bool)
    marks[0, list(deleted)] = True
    marks[1, list(removed)] = True
    return KnownRows([one[0] for one in rows], files, *marks)


def found(listing, rows, **options):
    """The changes, with names in place of positions."""
    changes = compare(listing, rows, **options)
    names = {}
    for field in dataclasses.fields(changes):
        values = getattr(changes, field.name).tolist()
        if field.name == "added":
            values = [listing.names[at] for at in values]
        elif values and isinstance(values[0], list):
            values = [(listing.names[at], row) for at, row in values]
        if values:
            names[field.name] = values
    return names


def test_each_kind_of_change():
    listing = listed(("same", 1, 1), ("larger", 9, 2), ("later", 3, 9), ("new", 4, 4), ("b", 1, 1))
    rows = known(("same", 1, 1), ("larger", 2, 2), ("later", 3, 3), ("gone", 5, 5))
    assert found(listing, rows) == {
        "unchanged": [("same", 0)],
        "changed": [("larger", 1)],
        "touched": [("later", 2)],
        "added": ["b", "new"],
        "vanished": [3],
    }
    same = listed(("same", 1, 1))
    assert found(same, known(("same", 1, 1))) == {"unchanged": [("same", 0)]}
    assert found(same, known(("same", 1, 1)), checksum=True) == {"touched": [("same", 0)]}


def test_a_row_whose_file_is_not_known_is_changed_and_never_vanishes():
    assert found(listed(("a", 0, 0)), known(("a",), ("b",))) == {"changed": [("a", 0)], "kept": [1]}


def test_the_last_row_of_a_name_counts():
    rows = known(("a", 1, 1), ("a", 2, 2), ("a", 2, 2), ("b", 1, 1), deleted=[0], removed=[0])
    assert found(listed(("a", 2, 2), ("b", 1, 1)), rows) == {
        "unchanged": [("a", 2), ("b", 3)],
        "repeated": [1],
    }
    # Rows of one name whose file is gone are missing, all of them.
    assert found(listed(), known(("a", 1, 1), ("a", 2, 2))) == {"vanished": [0, 1]}


def test_a_row_that_a_user_deleted_stays_deleted_while_its_file_is_the_same():
    rows = known(("a", 1, 1), deleted=[0])
    assert found(listed(("a", 1, 1)), rows) == {"left_deleted": [("a", 0)]}
    assert found(listed(("a", 1, 5)), rows) == {
        "left_deleted": [("a", 0)],
        "deleted_touched": [("a", 0)],
    }
    assert found(listed(("a", 2, 1)), rows) == {"added": ["a"]}
    assert found(listed(), rows) == {}
    assert found(listed(("a", 1, 1)), known(("a",), deleted=[0])) == {"left_deleted": [("a", 0)]}


def test_a_row_removed_with_its_file_is_added_again_with_it():
    rows = known(("a", 1, 1), deleted=[0], removed=[0])
    assert found(listed(("a", 1, 1)), rows) == {"added": ["a"]}
    # It came back, and then the user deleted it.
    rows = known(("a", 1, 1), ("a", 1, 1), deleted=[0, 1], removed=[0])
    assert found(listed(("a", 1, 1)), rows) == {"left_deleted": [("a", 1)]}


def test_rows_below_unreadable_folders_are_kept():
    rows = known(("x/1", 1, 1), ("xy", 1, 1), ("z", 1, 1), ("w", 1, 1))
    assert found(listed(("w", 1, 1), unknown=("x/", "z")), rows) == {
        "unchanged": [("w", 3)],
        "kept": [0, 2],
        "vanished": [1],
    }


names = st.sampled_from("abcdefgh")
files = st.tuples(names, st.integers(0, 2), st.integers(0, 2))


@given(
    st.lists(files, unique_by=lambda one: one[0]),
    st.lists(files),
    st.data(),
)
def test_every_image_and_every_live_row_is_counted_once(listing, rows, data):
    numbers = st.lists(st.integers(0, max(len(rows) - 1, 0)), unique=True)
    deleted = data.draw(numbers) if rows else []
    removed = [row for row in deleted if data.draw(st.booleans())]
    changes = compare(listed(*listing), known(*rows, deleted=deleted, removed=removed))
    paired = (changes.unchanged, changes.changed, changes.touched)
    images = [changes.added, *(pairs[:, 0] for pairs in (*paired, changes.left_deleted))]
    assert sorted(np.concatenate(images)) == list(range(len(listing)))
    live = [*(pairs[:, 1] for pairs in paired), changes.vanished, changes.repeated, changes.kept]
    assert sorted(np.concatenate(live)) == sorted(set(range(len(rows))).difference(deleted))
