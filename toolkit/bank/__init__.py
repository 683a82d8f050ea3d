"""Code banks: HDF5 files of packed codes, names and labels, read without being copied.

The format is described in docs/bank-format.md. `reader.Bank` reads, `writer.BankWriter` writes; a
bank can be read while it is being written, and shows the rows that were committed when it was
opened. `deletion` marks rows, whose numbers never change.
"""
