"""A reporter for tests."""

from __future__ import annotations

import contextlib


class Kept:
    """A reporter that keeps notes and progress."""

    def __init__(self):
        self.notes, self.titles, self.done = [], [], {}

    @property
    def text(self):
        """The notes as lines."""
        return "".join(f"{line}\n" for line in self.notes)

    def note(self, text):
        self.notes.append(text)

    @contextlib.contextmanager
    def progress(self, title, total, unit, start=0):
        assert unit in ("images", "steps", "files")
        self.titles.append(title)
        yield self
        assert self.done.get(title, start) <= total

    def update(self, done, detail=""):
        self.done[self.titles[-1]] = done
        self.detail = detail
