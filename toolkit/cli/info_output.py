"""Facts of `hashkit info` as tables on a terminal."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from hashkit.cli.info_shards import shard_lines, source_lines, unfinished_set_lines
from hashkit.cli.visible import result_console
from hashkit.messages.byte_counts import file_size
from hashkit.messages.visible_text import visible
from hashkit.model_names import builtin_name
from hashkit.workflow.reporter import plural

__all__ = ["print_facts"]

_SHORT: Final = {"lengths": "bits"}
"""Facts that are shown under another name."""

_MANY_CLASSES: Final = 20


def print_facts(facts: Mapping[str, Any]) -> None:
    """Print a table of the facts of one path on standard output."""
    from rich.table import Table

    console = result_console()
    lines = [(name, text) for name, text in _lines(facts) if text]
    if not console.is_terminal:
        # As wide as the longest line, so that nothing is cut in a pipe.
        console.width = max([100, *(len(visible(text)) + 40 for _, text in lines)])
    table = Table(show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in lines:
        table.add_row(name, text)
    console.print(f"{facts['path']}: {facts['kind']}", soft_wrap=True)
    console.print(table)


def _lines(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if facts["kind"] == "run":
        yield from _run_lines(facts)
    elif facts["kind"] == "ONNX model":
        yield from _model_lines(facts)
    elif facts["kind"] == "embedder":
        yield from _embedder_lines(facts)
    elif facts["kind"] == "unfinished bank set":
        yield from unfinished_set_lines(facts)
    else:
        yield from _codes_lines(facts)


def _codes_lines(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    unsure = "" if facts.get("bits_are_known", True) else " (or less: the file does not say)"
    yield "bits", f"{facts['bits']}{unsure}"
    deleted = f", {facts['n_deleted']:,} of them deleted" if facts.get("n_deleted") else ""
    yield "rows", f"{facts['n_rows']:,}{deleted}"
    yield from shard_lines(facts.get("shards", ()))
    if "is_complete" in facts:
        yield "complete", _complete_text(facts)
    if "has_names" in facts:
        yield "names", "yes" if facts["has_names"] else "none"
    yield "labels", _labels_text(facts)
    yield "classes", _classes_text(facts["classes"])
    if "manifest" in facts:
        yield from _origin_lines(facts)
    yield from source_lines(facts.get("sources", ()), is_set="shards" in facts)
    if facts.get("index"):
        yield "index", _index_text(facts["index"], facts["n_rows"])
    version = f", format version {facts['format_version']}" if "format_version" in facts else ""
    yield "size", f"{file_size(facts['n_bytes'])}{version}"


def _origin_lines(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    sha256 = facts["model_sha256"] or ""
    name = builtin_name(sha256)
    yield "model", f"{name}, {sha256}" if name else sha256 or "not known"
    if facts["manifest"] is not None:
        yield from _manifest_lines(facts["manifest"])
    made = [facts[name] for name in ("runtime", "provider", "precision") if facts[name]]
    yield "computed by", ", ".join(made)
    yield "resized by", facts["resampler"] or ""


def _model_lines(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "bits", str(facts["bits"])
    yield from _manifest_lines(facts["manifest"])
    yield "classes", ", ".join(facts["manifest"]["class_names"][:_MANY_CLASSES])
    for role in ("inputs", "outputs"):
        yield role, "; ".join(_tensor_text(tensor) for tensor in facts[role])
    yield "precision", facts["precision"]
    yield "opset", f"{facts['opset']}, written by {facts['producer'] or 'an unknown program'}"
    yield "versions", ", ".join(f"{k} {v}" for k, v in facts["manifest"]["versions"].items())
    yield "SHA-256", facts["sha256"]
    yield "size", file_size(facts["n_bytes"])


def _embedder_lines(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "network", facts["name"]
    yield "input", f"{facts['height']} x {facts['width']} pixels, {facts['resize']}"
    yield "features", f"{facts['n_features']:,} numbers per image"
    for name, value in facts["facts"].items():
        if not isinstance(value, dict):
            yield name.replace("_", " "), str(value)
    yield "SHA-256", f"{facts['sha256']} (of the graph)"
    yield "size", file_size(facts["n_bytes"])


def _manifest_lines(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "input", f"{manifest['height']} x {manifest['width']} pixels, {manifest['resize']}"
    recipe = [manifest[name] for name in ("network", "loss", "recipe") if manifest[name]]
    if manifest["seed"] is not None:
        recipe.append(f"seed {manifest['seed']}")
    yield "recipe", ", ".join(recipe)
    yield "trained on", " ".join(filter(None, (manifest["dataset"], manifest["protocol"])))


def _run_lines(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "created", str(facts["created"] or "").partition(".")[0].replace("T", " ")
    if facts["triplets"] is not None:
        yield "data", f"triplets of {_brief(facts['triplets'])}"
    elif facts["data"] is not None:
        yield "data", " ".join(str(facts["data"].get(name) or "") for name in ("data", "protocol"))
    yield "training", _brief(facts["training"])
    yield "device", str(facts["device"] or "")
    yield "trained", "yes" if facts["is_trained"] else "not finished"
    if facts["last"] is not None:
        yield "last", _brief(facts["last"])
    if facts["best_held_out"] is not None:
        yield "best held out", _brief(facts["best_held_out"])
    steps = [f"step {step}" for step in facts["snapshots"]] + ["best"] * facts["has_best"]
    yield "checkpoints", ", ".join(steps) or "none"
    yield "model.onnx", _model_text(facts)
    yield "queries.h5", _bank_text(facts["queries"])
    yield "bank.h5", _bank_text(facts["database"])
    if facts["evaluation"] is not None:
        yield "evaluation", _brief(facts["evaluation"])
    yield "next", facts["next"]


def _index_text(index: Mapping[str, Any], n_rows: int) -> str:
    if index["problem"] is not None:
        return f"out of date: {index['problem']}"
    part = f", of the first {index['n_rows']:,} rows" if index["n_rows"] < n_rows else ""
    return f"{index['path']}, {file_size(index['n_bytes'])}{part}"


def _model_text(facts: Mapping[str, Any]) -> str:
    if facts["model_bytes"] is None:
        return "none"
    outdated = ", with other weights than the checkpoint" if facts["is_model_outdated"] else ""
    return file_size(facts["model_bytes"]) + outdated


def _bank_text(bank: Mapping[str, Any] | None) -> str:
    if bank is None:
        return "none"
    if "error" in bank:
        return str(bank["error"])
    deleted = f", {bank['n_deleted']:,} deleted" if bank["n_deleted"] else ""
    state = "" if bank["is_complete"] else ", incomplete"
    return f"{plural(bank['n_rows'], 'row')}{deleted}{state}, {file_size(bank['n_bytes'])}"


def _complete_text(facts: Mapping[str, Any]) -> str:
    left = facts["n_images_left"]
    if facts["is_complete"] is False:
        return "no" if left is None else f"no, {plural(left, 'image')} still to encode"
    if left is not None:
        return "yes"
    folder = next(source["root"] for source in facts["sources"][::-1] if source["n_images"] is None)
    command = ["hashkit", "sync", folder, "--bank", facts["path"], "--dry-run"]
    return f"not known: `{shlex.join(command)}` compares the bank with its folder"


def _labels_text(facts: Mapping[str, Any]) -> str:
    if facts["labels"] == "none":
        return "none"
    without = f", {plural(facts['n_unlabelled'], 'row')} without" if facts["n_unlabelled"] else ""
    n_classes = len(facts["classes"])
    return f"{facts['labels']}, {n_classes:,} class{'' if n_classes == 1 else 'es'}{without}"


def _classes_text(classes: Mapping[str, int]) -> str:
    if not classes:
        return ""
    if len(classes) <= _MANY_CLASSES:
        return ", ".join(f"{name} {count:,}" for name, count in classes.items())
    return f"from {min(classes.values()):,} to {max(classes.values()):,} rows each"


def _tensor_text(tensor: Mapping[str, Any]) -> str:
    shape: Sequence[int | str | None] = tensor["shape"]
    sizes = ", ".join("?" if size is None else str(size) for size in shape)
    return f"{tensor['name']} {tensor['type']} [{sizes}]"


def _brief(values: Any) -> str:
    """Names and values in one line."""
    if not isinstance(values, Mapping):
        return str(values)
    return ", ".join(
        f"{_SHORT.get(name, name.removeprefix('n_').replace('_', ' '))} {_number(value)}"
        for name, value in values.items()
        if value is not None
    )


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return " ".join(map(_number, value))
    return f"{value:,}" if isinstance(value, int) else str(value)
