"""All imports from hashkit that need no torch."""

from __future__ import annotations

from hashkit.bank.header import BankSource
from hashkit.bank.names import hash_names
from hashkit.bank.reader import Bank
from hashkit.codes import binarize
from hashkit.codesets import CodeSet
from hashkit.datasets.imageset import ImageSet, spread_rows
from hashkit.datasets.protocols import make_split
from hashkit.datasets.screening import load_pixels
from hashkit.datasets.sets import default_input_size
from hashkit.datasets.spec import open_spec
from hashkit.datasets.split import Split
from hashkit.evaluation.evaluator import expected_map
from hashkit.runs.data_spec import DataSpec
from hashkit.runs.run import Run
from hashkit.runs.run_config import RunConfig

__all__ = [
    "Bank",
    "BankSource",
    "CodeSet",
    "DataSpec",
    "ImageSet",
    "Run",
    "RunConfig",
    "Split",
    "binarize",
    "default_input_size",
    "expected_map",
    "hash_names",
    "load_pixels",
    "make_split",
    "open_spec",
    "spread_rows",
]
