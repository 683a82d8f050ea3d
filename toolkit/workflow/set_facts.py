"""Facts of a bank set, as JSON-ready values."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hashkit.bank.reader import Bank
from hashkit.bank_set.manifest import FORMAT_VERSION
from hashkit.bank_set.reader import BankSet
from hashkit.collection.bank_of_folder import followed_folder
from hashkit.workflow.file_facts import index_facts, label_facts, origin_facts

__all__ = ["set_facts"]


def set_facts(path: Path) -> dict[str, Any]:
    """Facts of a bank set, and of each shard.

    Raises
    ------
    BankError
        If it cannot be opened.
    """
    with BankSet.open(path) as banks:
        joined = banks.joined()
        is_followed = followed_folder(joined) is not None
        shards = [
            {
                "file": entry.file,
                "first_row": entry.first_row,
                "n_rows": len(bank),
                "n_deleted": bank.n_deleted,
                "n_bytes": bank.path.stat().st_size,
                "slice": None if entry.slice is None else dataclasses.asdict(entry.slice),
                "index": index_facts(bank),
                "state": "growing" if entry.is_growing else "complete",
                "runtime": bank.header.runtime or None,
                "provider": bank.header.provider or None,
                "resampler": bank.header.resampler or None,
            }
            for entry, bank in zip(banks.manifest.shards, banks, strict=True)
        ]
        return {
            "path": str(path),
            "kind": "bank set",
            "n_bytes": sum(shard["n_bytes"] for shard in shards),
            "format_version": FORMAT_VERSION,
            "identity": banks.identity,
            "bits": banks.n_bits,
            "n_rows": banks.n_rows,
            "n_deleted": banks.n_deleted,
            "is_complete": None if is_followed else True,
            "n_images_left": None if is_followed else 0,
            "has_names": joined.header.has_names,
            "has_files": joined.header.has_files,
            **_label_facts(banks),
            **origin_facts(joined.header),
            "sources": [dataclasses.asdict(source) for source in joined.sources],
            "shards": shards,
        }


def _label_facts(banks: Sequence[Bank]) -> dict[str, Any]:
    """Label facts, counted bank by bank and added up: the labels of a large set are not copied."""
    facts = [label_facts(bank) for bank in banks]
    classes: Counter[str] = Counter()
    for shard_facts in facts:
        classes.update(shard_facts["classes"])
    n_unlabelled = sum(shard_facts["n_unlabelled"] for shard_facts in facts)
    return {"labels": facts[0]["labels"], "classes": dict(classes), "n_unlabelled": n_unlabelled}
