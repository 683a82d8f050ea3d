"""Finds out what a sync would do: it reads and decodes images like a sync, but encodes none."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hashkit.bank_set.joined import AnyBank
from hashkit.collection.encoding import unless_known
from hashkit.collection.plan import Plan
from hashkit.collection.todo import Done, Todo
from hashkit.datasets.decoding import decode_batches
from hashkit.datasets.imageset import ImageSet
from hashkit.preprocess import ImageSource, load

__all__ = ["Rehearsal"]

_SIZE: Final = (16, 16)
_RESIZE: Final = "stretch-bilinear-reduced"
"""The fastest rule: whether an image can be used does not depend on its size in the model."""

_BATCH: Final = 16


@dataclasses.dataclass(frozen=True)
class Rehearsal:
    """How the images are read.

    Attributes
    ----------
    bank_path
        The bank, which may not exist.
    n_workers
        Threads that read and decode.
    allow_removals
        Whether more than half of the rows may be deleted.
    progress
        Called with the number of images done, of all images to read, and of faults.
    """

    bank_path: Path
    n_workers: int
    allow_removals: bool
    progress: Callable[[int, int, int], None]

    def follow(self, plan: Plan, bank: AnyBank | None) -> Done:
        """What a sync would do to a bank; None for a new one.

        Raises
        ------
        BankError
            If the sync would be refused because too many images can no longer be used.
        """
        done = _done_so_far(plan)
        todo = Todo(plan, done)
        self._read(plan, todo, {} if bank is None else todo.known_codes(bank))
        todo.broken_rows(self.bank_path, allow_removals=self.allow_removals)
        return done

    def replace(self, plan: Plan) -> Done:
        """What a sync that encodes all images again would do.

        Images that would get the same code as before count as changed too.
        """
        of_all = Done()
        everything = np.arange(len(plan.listing))
        again = dataclasses.replace(plan, changed=plan.changed[:0], added=everything)
        self._read(again, Todo(again, of_all), {})
        broken = {fault.name for fault in of_all.faults}
        is_broken = np.array([name in broken for name in plan.listing.names], bool)
        done = _done_so_far(plan)
        done.added = int((~is_broken[plan.added]).sum())
        done.changed = int((~is_broken[plan.changed[:, 0]]).sum())
        done.encoded = of_all.encoded
        done.faults += of_all.faults
        return done

    def _read(self, plan: Plan, todo: Todo, known_codes: dict[bytes, NDArray[np.uint8]]) -> None:
        if not todo.names:
            return
        images = ImageSet(name=self.bank_path.name, names=todo.names, root=plan.listing.folder)
        batches = decode_batches(
            images,
            unless_known(_prepared, _SIZE, known_codes),
            _SIZE,
            start=0,
            batch_size=_BATCH,
            n_workers=self.n_workers,
            with_files=True,
        )
        with contextlib.closing(batches):
            self.progress(0, len(todo.names), 0)
            for batch in batches:
                digests = () if batch.files is None else batch.files.digests
                n_new = sum(one.tobytes() not in known_codes for one in digests)
                todo.count([todo.rows[at] for at in batch.rows.tolist()], n_new, batch.faults)
                self.progress(batch.stop, len(todo.names), todo.n_faults)


def _done_so_far(plan: Plan) -> Done:
    return Done(moved=len(plan.moved), removed=len(plan.vanished), faults=list(plan.faults))


def _prepared(source: ImageSource) -> NDArray[np.uint8]:
    return load(source, _SIZE, _RESIZE)
