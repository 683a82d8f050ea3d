"""Shards of a bank set as lines of `hashkit info`: what all share, then the shards that differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from hashkit.messages.byte_counts import file_size
from hashkit.workflow.reporter import plural

__all__ = ["shard_lines", "source_lines", "unfinished_set_lines"]

_SHOWN: Final = 20
"""Most shards that are listed by name."""

_STATES: Final = {"complete": "complete", "begun": "begun", "missing": "not begun"}


def shard_lines(shards: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Lines of the shards of a set; none for one bank."""
    if not shards:
        return
    n_indexed = sum(shard["index"] is not None for shard in shards)
    indexed = f", {n_indexed:,} with an index" if n_indexed else ""
    rows, sizes = _range(shards, "n_rows", _number), _range(shards, "n_bytes", file_size)
    yield "shards", f"{len(shards):,}, of {rows} rows and {sizes}{indexed}"
    states = [_state(shard) for shard in shards]
    usual = [Counter(values).most_common(1)[0][0] for values in zip(*states, strict=True)]
    others = []
    for shard, state in zip(shards, states, strict=True):
        unusual = [text for text, common in zip(state, usual, strict=True) if text != common]
        if unusual:
            size = f"{plural(shard['n_rows'], 'row')}, {file_size(shard['n_bytes'])}"
            others.append((shard["file"], _joined(size, *unusual)))
    yield from _first(others)


def source_lines(
    sources: Sequence[Mapping[str, Any]], *, is_set: bool
) -> Iterator[tuple[str, str]]:
    """A line for each image list; slices of one list in the shards of a set share a line."""
    slices: dict[tuple[str, ...], list[int | None]] = {}
    for number, source in enumerate(sources):
        split = _joined(source["protocol"], source["part"])
        own = () if is_set else (str(number),)
        slices.setdefault((source["dataset"], split, *own), []).append(source["n_images"])
    for (dataset, split, *_), sizes in slices.items():
        known = [size for size in sizes if size is not None]
        n_images = f"{sum(known):,}" if len(known) == len(sizes) else "a growing list"
        in_slices = f", in {len(sizes):,} slices" if len(sizes) > 1 else ""
        yield "images", f"{n_images} of {dataset} ({split}){in_slices}"


def unfinished_set_lines(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Lines of a set that is planned: what is done, the shards that are not, and how to go on."""
    shards = facts["shards"]
    yield "bits", str(facts["bits"])
    yield "images", f"{facts['n_images']:,} of {facts['images']}"
    yield "rows", f"{facts['n_rows']:,}"
    counts = Counter(shard["state"] for shard in shards)
    states = (f"{counts[state]:,} {word}" for state, word in _STATES.items() if counts[state])
    yield "shards", f"{len(shards):,}: {_joined(*states)}"
    left = facts["n_images_left"]
    yield "complete", f"no, {plural(left, 'image')} still to encode" if left else "no"
    yield "model", facts["model_sha256"] or "not known"
    made = (facts[name] for name in ("runtime", "provider", "precision"))
    yield "computed by", _joined(*made)
    yield "resized by", facts["resampler"] or ""
    yield from _first(
        [
            (shard["file"], f"{shard['n_done']:,} of {plural(shard['n_images'], 'image')}")
            for shard in shards
            if shard["state"] != "complete"
        ]
    )
    yield "size", file_size(facts["n_bytes"])
    yield "next", facts["next"]
    n_left = len(shards) - counts["complete"]
    if n_left:
        number = next(i for i, one in enumerate(shards, 1) if one["state"] != "complete")
        yield "", f"or each by itself, with --shard {number}/{len(shards)} instead of --shards"


def _first(lines: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    yield from lines[:_SHOWN]
    if len(lines) > _SHOWN:
        yield "", f"and {len(lines) - _SHOWN:,} more shards, which --json lists"


def _state(shard: Mapping[str, Any]) -> tuple[str, ...]:
    """Properties, besides its size, in which a shard may differ from the others of its set."""
    index = shard["index"]
    has_index = "no index" if index is None else "an index"
    return (
        "rows are being added" if shard["state"] == "growing" else "no rows are being added",
        f"{plural(shard['n_deleted'], 'row')} deleted",
        has_index if index is None or index["problem"] is None else "an index that is out of date",
        *(shard[name] or "" for name in ("runtime", "provider", "resampler")),
    )


def _range(shards: Sequence[Mapping[str, Any]], name: str, text: Callable[[int], str]) -> str:
    values = [shard[name] for shard in shards]
    least, most = text(min(values)), text(max(values))
    return least if least == most else f"{least} to {most}"


def _number(value: int) -> str:
    return f"{value:,}"


def _joined(*parts: str | None) -> str:
    return ", ".join(part for part in parts if part)
