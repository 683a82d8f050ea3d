"""A full disk while the structure of a bank is written: an error, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="limits the size of files as POSIX does"),
    pytest.mark.end_to_end,
]

CODE = """
import resource, sys
from pathlib import Path
import numpy as np
from hashkit.codesets import CodeSet
from hashkit.errors import BankError
from hashkit.formats import save_codes

limit = int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
codes = CodeSet(np.zeros((3, 2), np.uint8), 12, names=["a", "b", "c"])
try:
    save_codes(sys.argv[1], codes, overwrite=True)
except BankError as error:
    print(error)
"""


@pytest.mark.parametrize("limit", [1000, 5000])
def test_a_full_disk_is_one_error(tmp_path, limit):
    bank = tmp_path / "bank.h5"
    bank.write_bytes(b"earlier")
    command = [sys.executable, "-c", CODE, bank, str(limit)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{bank}: cannot be written (File too large); ")
    assert done.stdout.count("\n") == 1
    assert bank.read_bytes() == b"earlier"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bank.h5", "bank.h5.lock"]
