"""Groups of duplicates as lines on standard output."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from hashkit.cli.console import note
from hashkit.messages.byte_counts import file_size
from hashkit.messages.visible_text import visible
from hashkit.workflow.reporter import plural

if TYPE_CHECKING:
    from hashkit.collection.duplicates import Duplicate, DuplicateGroup
    from hashkit.workflow.dedup import Duplicates

__all__ = ["print_duplicates"]

_MOST_GROUPS: Final = 20
"""Most groups that a terminal shows."""

_MOST_IN_GROUP: Final = 10
"""Most duplicates of one group that a terminal shows."""

_MOST_FAULTS: Final = 5


def print_duplicates(found: Duplicates, *, is_moved: bool) -> None:
    """Print groups, each the image to keep, then its duplicates; on a terminal only the largest."""
    groups: Sequence[DuplicateGroup] = found.groups
    most = None
    if sys.stdout.isatty():
        most = _MOST_IN_GROUP
        if len(groups) > _MOST_GROUPS:
            groups = sorted(groups, key=lambda group: -group.n_spare_bytes)[:_MOST_GROUPS]
    for group in groups:
        for line in _lines(group, most):
            print(visible(line.rstrip()))
    for fault in found.faults[:_MOST_FAULTS]:
        note(f"warning: {fault.message}")
    if len(found.faults) > _MOST_FAULTS:
        more = len(found.faults) - _MOST_FAULTS
        note(f"warning: {more:,} more images could not be used; --json lists them")
    note(
        f"{plural(found.n_images, 'image')}: {plural(len(found.groups), 'group')} with "
        f"{plural(found.n_duplicates, 'duplicate')}, {file_size(found.n_spare_bytes)}"
    )
    if len(groups) < len(found.groups):
        note(f"only the {len(groups)} groups with the most bytes are shown; --csv FILE lists all")
    if found.groups and not is_moved:
        note("nothing was moved: --report FILE draws the groups, --apply move=FOLDER moves them")


def _lines(group: DuplicateGroup, most: int | None) -> Iterator[str]:
    yield f"keep      {group.keep.name}  {_size(group.keep.width, group.keep.height)}"
    for duplicate in group.duplicates[:most]:
        relation = duplicate.kind if duplicate.kind != "near" else _nearness(duplicate)
        image = duplicate.image
        yield f"  {relation:8}{image.name}  {_size(image.width, image.height)}"
    if most is not None and len(group.duplicates) > most:
        yield f"  and {len(group.duplicates) - most:,} more"


def _nearness(duplicate: Duplicate) -> str:
    if duplicate.score is None:
        return plural(duplicate.distance, "bit")
    return f"{duplicate.score:.0%}"


def _size(width: int, height: int) -> str:
    return f"{width}x{height}" if width else ""
