"""Learn binary codes for images, and find images by code.

Importing this package is fast: it imports neither torch nor ONNX Runtime, and loads each name below
on first use.
"""

from __future__ import annotations

import importlib
import sys

from hashkit._version import __version__

# Instead of typing's, whose import takes 12 ms: the command handles signals only from the end of
# this module on, and Ctrl-C before that prints a traceback.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any

    from hashkit import codes, errors
    from hashkit.bank.reader import Bank
    from hashkit.bank.writer import BankWriter
    from hashkit.bank_set.editing import delete_rows, restore_rows
    from hashkit.bank_set.reader import BankSet
    from hashkit.codesets import CodeSet
    from hashkit.collection.pairs import Pair, pairs
    from hashkit.errors import HashkitError
    from hashkit.evaluation.evaluator import Report, evaluate
    from hashkit.formats import open_codes, save_codes
    from hashkit.inputs.limits import set_limits
    from hashkit.manifest import Manifest
    from hashkit.multi_index.index import MultiIndex
    from hashkit.retrieval.neighbours import Neighbours, Ranking
    from hashkit.retrieval.search import search
    from hashkit.runs.run import Run
    from hashkit.runtimes.encoder import Encoder
    from hashkit.workflow.add import add
    from hashkit.workflow.dedup import Duplicates, find_duplicates
    from hashkit.workflow.encode import encode
    from hashkit.workflow.encode_shards import encode_shards
    from hashkit.workflow.export import export
    from hashkit.workflow.sync import sync
    from hashkit.workflow.sync_report import SyncReport
    from hashkit.workflow.train import resume, train
    from hashkit.workflow.warm_up import warm_up

__all__ = [
    "Bank",
    "BankSet",
    "BankWriter",
    "CodeSet",
    "Duplicates",
    "Encoder",
    "HashkitError",
    "Manifest",
    "MultiIndex",
    "Neighbours",
    "Pair",
    "Ranking",
    "Report",
    "Run",
    "SyncReport",
    "__version__",
    "add",
    "codes",
    "delete_rows",
    "encode",
    "encode_shards",
    "errors",
    "evaluate",
    "export",
    "find_duplicates",
    "open_codes",
    "pairs",
    "restore_rows",
    "resume",
    "save_codes",
    "search",
    "set_limits",
    "sync",
    "train",
    "warm_up",
]

_HOMES = {
    "Bank": "hashkit.bank.reader",
    "BankSet": "hashkit.bank_set.reader",
    "BankWriter": "hashkit.bank.writer",
    "CodeSet": "hashkit.codesets",
    "Duplicates": "hashkit.workflow.dedup",
    "Encoder": "hashkit.runtimes.encoder",
    "HashkitError": "hashkit.errors",
    "Manifest": "hashkit.manifest",
    "MultiIndex": "hashkit.multi_index.index",
    "Neighbours": "hashkit.retrieval.neighbours",
    "Pair": "hashkit.collection.pairs",
    "Ranking": "hashkit.retrieval.neighbours",
    "Report": "hashkit.evaluation.evaluator",
    "Run": "hashkit.runs.run",
    "SyncReport": "hashkit.workflow.sync_report",
    "add": "hashkit.workflow.add",
    "delete_rows": "hashkit.bank_set.editing",
    "encode": "hashkit.workflow.encode",
    "encode_shards": "hashkit.workflow.encode_shards",
    "evaluate": "hashkit.evaluation.evaluator",
    "export": "hashkit.workflow.export",
    "find_duplicates": "hashkit.workflow.dedup",
    "open_codes": "hashkit.formats",
    "pairs": "hashkit.collection.pairs",
    "restore_rows": "hashkit.bank_set.editing",
    "resume": "hashkit.workflow.train",
    "save_codes": "hashkit.formats",
    "search": "hashkit.retrieval.search",
    "set_limits": "hashkit.inputs.limits",
    "sync": "hashkit.workflow.sync",
    "train": "hashkit.workflow.train",
    "warm_up": "hashkit.workflow.warm_up",
}


_MODULES = ("codes", "errors")


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"hashkit.{name}")
    home = _HOMES.get(name)
    if home is None:
        # With these two arguments, Python suggests a similar name in the traceback.
        module = sys.modules[__name__]
        raise AttributeError(f"module 'hashkit' has no attribute {name!r}", name=name, obj=module)
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
