"""``hashkit compile``: compiled kernels for all later processes."""

from __future__ import annotations

import dataclasses
import os
import time

from hashkit.cli.console import TERMINAL, emit_json, note
from hashkit.cli.options import JsonOption
from hashkit.workflow.reporter import plural

__all__ = ["compile_all"]


def compile_all(json: JsonOption = False) -> None:
    """Compile the kernels in advance, for all later processes.

    Search, index, dedup and evaluation use compiled kernels. Later processes load them in half a
    second; in a read-only container without them, each process compiles them again. They are stored
    in NUMBA_CACHE_DIR if it is set, otherwise beside the installed package, or in the user's cache
    folder if that is not writable.

    \b
    Examples:
      hashkit compile
      NUMBA_CACHE_DIR=/opt/kernels hashkit compile
    """  # noqa: D301
    from hashkit.workflow.warm_up import compile_kernels

    start = time.monotonic()
    done = compile_kernels(TERMINAL)
    seconds = time.monotonic() - start
    folders = ", ".join(done.folders)
    if done.n_compiled:
        note(f"compiled {plural(done.n_compiled, 'kernel')} into {folders}, {seconds:.1f} s")
    else:
        note(f"all kernels are already in {folders}")
    if os.environ.get("NUMBA_CACHE_DIR"):
        note("hashkit finds them if NUMBA_CACHE_DIR is set to the same folder when it runs")
    if json:
        emit_json({**dataclasses.asdict(done), "seconds": seconds})
