"""Kills commands that write, at random moments, and checks what they leave."""

from __future__ import annotations

import os

# Before anything else is imported: a process whose libraries have started threads cannot be forked.
for _name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"
