"""Code banks: HDF5 files of packed codes, names and labels, read without being copied.

The format is described in docs/bank-format.md. `Bank` reads, `BankWriter` writes; a bank can be
read while it is being written, and shows the rows that were committed when it was opened.
`delete_rows` and `restore_rows` mark rows, whose numbers never change.
"""

from hashkit.bank.build import build_bank
from hashkit.bank.deletion import delete_rows, restore_rows, rows_named
from hashkit.bank.header import BankHeader, BankSource, LabelKind
from hashkit.bank.layout import FORMAT_VERSION
from hashkit.bank.names import Names, encode_names, hash_names
from hashkit.bank.reader import Bank
from hashkit.bank.writer import BankWriter

__all__ = [
    "FORMAT_VERSION",
    "Bank",
    "BankHeader",
    "BankSource",
    "BankWriter",
    "LabelKind",
    "Names",
    "build_bank",
    "delete_rows",
    "encode_names",
    "hash_names",
    "restore_rows",
    "rows_named",
]
