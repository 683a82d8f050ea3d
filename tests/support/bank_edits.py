"""Edits of a bank of `bank_samples.run_job`, for the tests of `hashkit.bank.editor`."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from bank_samples import LISTS, is_unusable, make_source, rows_of

from hashkit.bank.editor import BankEditor
from hashkit.bank.image_files import ImageFiles
from hashkit.bank.reader import Bank

FOLDER = make_source("folder", None, names_sha256="")


class Edit(NamedTuple):
    """One change: images to add, rows to delete, or another image list."""

    images: range = range(0)
    deleted: tuple[int, ...] = ()
    has_folder: bool = False


EDITS = (
    Edit(range(40, 52), (0, 7)),
    Edit(deleted=(30, 31)),
    Edit(range(52, 60)),
    Edit(has_folder=True),
    Edit(range(60, 84), (7, 40, 41)),
)
N_FIRST = sum(map(len, LISTS.values()))


def files_of(images) -> ImageFiles:
    """The files of the rows of ``images``."""
    usable = [image for image in images if not is_unusable(image)]
    files = ImageFiles.unknown(len(usable))
    for row, image in enumerate(usable):
        digest = hashlib.blake2b(b"%d" % image, digest_size=16).digest()
        files.set(row, 1_000 + image, 1_700_000_000_000_000_000 + image, digest)
    return files


def run_edits(path: Path) -> None:
    """Make the `EDITS` that a bank does not have yet."""
    with BankEditor.open(path) as editor:
        for edit in EDITS[edits_done(path) :]:
            if edit.has_folder:
                editor.set_source(FOLDER)
            elif edit.images:
                files = files_of(edit.images)
                editor.apply(*rows_of(edit.images), files=files, deleted=edit.deleted)
            else:
                editor.apply(deleted=edit.deleted)


def edits_done(path: Path) -> int:
    """How many of the `EDITS` a bank has; fails if it has only a part of one."""
    with Bank.open(path) as bank:
        assert bank.is_complete
        bank.verify()
        deleted = () if bank.deleted is None else tuple(np.flatnonzero(bank.deleted).tolist())
        found = len(bank), deleted, bank.sources == (FOLDER,)
        images, gone, has_folder = range(N_FIRST), set[int](), False
        states = []
        for edit in (Edit(), *EDITS):
            images = range(max(images.stop, edit.images.stop))
            gone |= {*edit.deleted}
            has_folder |= edit.has_folder
            states.append((len(rows_of(images)[1]), tuple(sorted(gone)), has_folder))
        done = states.index(found)
        images = range(max([N_FIRST, *(edit.images.stop for edit in EDITS[:done])]))
        codes, names, labels = rows_of(images)
        np.testing.assert_array_equal(bank.codes, codes)
        np.testing.assert_array_equal(bank.labels, labels)
        assert list(bank.names) == names
        if bank.files is not None:
            n_first = len(rows_of(range(N_FIRST))[1])
            expected = files_of(range(N_FIRST, images.stop))
            assert not bank.files.sizes[:n_first].any()
            np.testing.assert_array_equal(bank.files.sizes[n_first:], expected.sizes)
            np.testing.assert_array_equal(bank.files.digests[n_first:], expected.digests)
        return done
