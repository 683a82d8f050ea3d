"""Facts of a bank, a file of codes or a model, as JSON-ready values."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from hashkit.bank.header import BankHeader
    from hashkit.bank.reader import Bank
    from hashkit.codesets import CodeDatabase
    from hashkit.manifest import Manifest

__all__ = [
    "bank_facts",
    "codes_facts",
    "index_facts",
    "label_facts",
    "model_facts",
    "origin_facts",
]


def bank_facts(path: Path) -> dict[str, Any]:
    """Facts of a code bank.

    Raises
    ------
    BankError
        If it cannot be opened.
    """
    from hashkit.bank.reader import Bank

    with Bank.open(path) as bank:
        n_left = _images_left(bank)
        return {
            "path": str(path),
            "kind": "code bank",
            "n_bytes": path.stat().st_size,
            "format_version": bank.format_version,
            "identity": bank.identity or None,
            "bits": bank.n_bits,
            "n_rows": len(bank),
            "n_deleted": bank.n_deleted,
            "is_complete": None if bank.is_complete and n_left is None else bank.is_complete,
            "n_images_left": n_left,
            "has_names": bank.header.has_names,
            "has_files": bank.header.has_files,
            **label_facts(bank),
            **origin_facts(bank.header),
            "sources": [dataclasses.asdict(source) for source in bank.sources],
            "index": index_facts(bank),
        }


def codes_facts(path: Path) -> dict[str, Any]:
    """Facts of a file of codes other than a bank: an archive, a Parquet file, a Faiss index, text.

    Raises
    ------
    CodesError
        If it cannot be read.
    MissingExtraError
        If the package that reads it is not installed.
    """
    from hashkit.formats import format_of, open_codes
    from hashkit.formats.origin import origin_of
    from hashkit.formats.rows import has_names

    kind = format_of(path)
    codes = open_codes(path)
    origin = origin_of(codes)
    return {
        "path": str(path),
        "kind": kind.name,
        "n_bytes": path.stat().st_size,
        "bits": codes.n_bits,
        "bits_are_known": kind.keeps_bits,
        "n_rows": len(codes),
        "has_names": has_names(codes),
        **label_facts(codes),
        **({} if origin is None else origin_facts(origin.header)),
    }


def model_facts(path: Path) -> dict[str, Any]:
    """Facts of an ONNX model, or of an embedder; neither ONNX Runtime nor the weights are loaded.

    Raises
    ------
    ModelError
        If it is not an ONNX model, or breaks the model contract.
    """
    from hashkit.features.embedder import is_embedder
    from hashkit.files.writing import file_digest
    from hashkit.runtimes.builtin import shown_model
    from hashkit.runtimes.onnx_file import read_onnx_file

    if is_embedder(path):
        return _embedder_facts(path)
    model = read_onnx_file(path)
    sha256 = file_digest(path, "sha256")
    return {
        "path": shown_model(path),
        "kind": "ONNX model",
        "n_bytes": path.stat().st_size,
        "sha256": sha256,
        "bits": model.manifest.n_bits,
        "precision": model.precision,
        "opset": model.opset,
        "producer": model.producer,
        "inputs": [dataclasses.asdict(tensor) for tensor in model.inputs],
        "outputs": [dataclasses.asdict(tensor) for tensor in model.outputs],
        "manifest": model.manifest.to_dict(),
    }


def _embedder_facts(path: Path) -> dict[str, Any]:
    from hashkit.features.embedder import read_embedder

    embedder = read_embedder(path)
    return {
        "path": str(path),
        "kind": "embedder",
        "n_bytes": path.stat().st_size,
        "sha256": embedder.sha256,
        "name": embedder.name,
        "height": embedder.height,
        "width": embedder.width,
        "resize": embedder.resize,
        "n_features": embedder.n_features,
        "facts": dict(embedder.facts),
    }


def _images_left(bank: Bank) -> int | None:
    """Images of the last list that are not encoded yet; None if unknown, as for a folder."""
    from hashkit.collection.bank_of_folder import followed_folder

    if bank.is_complete:
        return 0 if followed_folder(bank) is None else None
    n_images = bank.sources[-1].n_images if bank.sources else None
    return None if n_images is None else n_images - bank.n_consumed


def label_facts(database: CodeDatabase) -> dict[str, Any]:
    """Kind of the labels, and the number of rows of each class, without deleted rows."""
    labels, names, deleted = database.labels, database.class_names, database.deleted
    if labels is None:
        n_rows = len(database) - (0 if deleted is None else int(np.count_nonzero(deleted)))
        return {"labels": "none", "classes": {}, "n_unlabelled": n_rows}
    if deleted is not None:
        labels = labels[~deleted]
    if labels.ndim == 2:
        counts = labels.sum(axis=0, dtype=np.int64)
        numbers, n_unlabelled = np.arange(len(counts)), int(np.sum(~labels.any(axis=1)))
    else:
        numbers, counts = np.unique(labels[labels >= 0], return_counts=True)
        n_unlabelled = int(np.count_nonzero(labels < 0))
    classes: dict[str, int] = {}
    for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
        name = names[number] if number < len(names) else str(number)
        classes[name] = classes.get(name, 0) + count
    kind = "one per image" if labels.ndim == 1 else "several per image"
    return {"labels": kind, "classes": classes, "n_unlabelled": n_unlabelled}


def origin_facts(header: BankHeader) -> dict[str, Any]:
    """Model, runtime and libraries that made codes; None where unknown."""
    return {
        "model_sha256": header.model_sha256 or None,
        "runtime": header.runtime or None,
        "provider": header.provider or None,
        "precision": header.precision or None,
        "resampler": header.resampler or None,
        "manifest": _manifest_facts(header.manifest),
    }


def _manifest_facts(manifest: Manifest | None) -> dict[str, Any] | None:
    return None if manifest is None else manifest.to_dict()


def index_facts(bank: Bank) -> dict[str, Any] | None:
    """The index beside a bank; None if there is none."""
    from hashkit.workflow.index_state import index_state

    state = index_state(bank)
    if state is None:
        return None
    return {
        "path": str(state.path),
        "n_bytes": state.path.stat().st_size,
        "n_rows": state.n_rows,
        "problem": state.problem or None,
    }
