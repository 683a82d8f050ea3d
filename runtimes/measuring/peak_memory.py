"""Peak memory of this process."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

__all__ = ["peak_memory"]

_STATUS: Final = Path("/proc/self/status")


def peak_memory(status: Path = _STATUS) -> int | None:
    """Largest resident set of this process so far, in bytes; None if the system does not report it.

    GPU memory is not included.

    Parameters
    ----------
    status
        Status file of the process on Linux.
    """
    if sys.platform == "win32":
        return _peak_working_set()
    # Preferred to getrusage, whose maximum a process on Linux inherits from its parent.
    try:
        lines = status.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _peak_working_set() -> int | None:
    """``PeakWorkingSetSize`` of ``PROCESS_MEMORY_COUNTERS`` (Windows API)."""
    import ctypes
    from ctypes import wintypes

    class Counters(ctypes.Structure):
        _fields_ = (
            ("cb", wintypes.DWORD),
            ("PageFaultCount", wintypes.DWORD),
            *((f"size_{number}", ctypes.c_size_t) for number in range(8)),
        )

    counters = Counters()
    counters.cb = ctypes.sizeof(counters)
    kernel = getattr(ctypes, "WinDLL")("kernel32")  # noqa: B009 - exists only on Windows
    kernel.GetCurrentProcess.restype = wintypes.HANDLE
    read = kernel.K32GetProcessMemoryInfo
    read.argtypes = [wintypes.HANDLE, ctypes.POINTER(Counters), wintypes.DWORD]
    if not read(kernel.GetCurrentProcess(), ctypes.byref(counters), counters.cb):
        return None
    return int(counters.size_0)  # the first size is the peak
