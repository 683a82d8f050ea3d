"""Code banks: HDF5 files of packed codes, names and labels, memory-mapped for reading.

docs/bank-format.md describes the format. `reader.Bank` reads a bank and `writer.BankWriter` writes
one. A bank can be read while it is being written; the reader sees the rows that were committed when
it opened the file. `deletion` marks rows as deleted; row numbers never change.
"""
