"""Groups of duplicates as one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from hashkit.messages.byte_counts import file_size
from hashkit.preprocess import ImageSource
from hashkit.report.templates import render, save_text
from hashkit.report.thumbnails import thumbnail_address

__all__ = ["render_duplicates_page", "save_duplicates_page"]

_MAX_PICTURES: Final = 2000
"""Most pictures on one page, 5 to 10 KB each."""

_MAX_FAULTS: Final = 200

_SIDE: Final = 200
"""Longest side of a picture, pixels."""

_TITLES: Final = {
    "bytes": "Equal files",
    "pixels": "Equal pixels",
    "near": "Near pictures",
}

_RELATIONS: Final = {"bytes": "Equal file", "pixels": "Equal pixels"}

FindImage = Callable[[str], ImageSource | None]
"""Returns the image of a name; None if it is not available."""


def save_duplicates_page(document: Mapping[str, Any], path: Path, find: FindImage) -> None:
    """Write the page of the JSON document of `hashkit dedup` (docs/cli.md) atomically.

    Raises
    ------
    HashkitError
        If the file cannot be written.
    """
    save_text(path, render_duplicates_page(document, find))


def render_duplicates_page(document: Mapping[str, Any], find: FindImage) -> str:
    """HTML of the page, with thumbnails of the images that are found."""
    groups = sorted(document["groups"], key=lambda group: (-_redundant_bytes(group), group["keep"]))
    shown = _first(groups)
    faults = [fault["message"] for fault in document["faults"]]
    values = {
        "name": Path(document["source"]).name or document["source"],
        "n_images": document["n_images"],
        "n_groups": len(groups),
        "n_duplicates": document["n_duplicates"],
        "spare": file_size(document["spare_bytes"]),
        "keep_rule": document["keep_rule"],
        "radius": document["radius"],
        "n_left_out": len(groups) - len(shown),
        "groups": [_group(group, find) for group in shown],
        "faults": faults[:_MAX_FAULTS],
    }
    return render("duplicates.html", values)


def _first(groups: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The first groups, with at most `_MAX_PICTURES` pictures; at least one group."""
    shown: list[Mapping[str, Any]] = []
    n_pictures = 0
    for group in groups:
        n_pictures += len(group["images"])
        if shown and n_pictures > _MAX_PICTURES:
            break
        shown.append(group)
    return shown


def _group(group: Mapping[str, Any], find: FindImage) -> dict[str, Any]:
    return {
        "title": _TITLES[group["kind"]],
        "spare": file_size(_redundant_bytes(group)),
        "images": [
            {
                "name": image["name"],
                "is_kept": image["name"] == group["keep"],
                "relation": _RELATIONS.get(image["kind"]) or _nearness(image),
                "size": _facts(image),
                "picture": thumbnail_address(find(image["name"]), _SIDE),
            }
            for image in group["images"][:_MAX_PICTURES]
        ],
    }


def _nearness(image: Mapping[str, Any]) -> str:
    score = image["score"]
    return f"{image['distance']} bits away" if score is None else f"{score:.0%} alike"


def _redundant_bytes(group: Mapping[str, Any]) -> int:
    return sum(one["bytes"] or 0 for one in group["images"] if one["name"] != group["keep"])


def _facts(image: Mapping[str, Any]) -> str:
    size = f"{image['width']:,} x {image['height']:,}" if image["width"] else ""
    return ", ".join(filter(None, (size, file_size(image["bytes"]) if image["bytes"] else "")))
