"""Whether CUDA can work here at all, asked of the driver before any library is loaded."""

from __future__ import annotations

import contextlib
import ctypes
import io
import logging
import sys

import onnxruntime

__all__ = ["load_libraries", "why_no_cuda"]

logger = logging.getLogger(__name__)


def why_no_cuda() -> str | None:
    """Reason why CUDA cannot be used in this process; None if nothing speaks against it.

    None does not prove that a model runs: a session still has to be made and used.
    """
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        return "this build of ONNX Runtime has no CUDA provider (install onnxruntime-gpu)"
    library = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(library)
    except OSError:
        return f"there is no NVIDIA driver ({library} was not found)"
    status = driver.cuInit(0)
    if status:
        return f"the NVIDIA driver does not start (cuInit gave {status})"
    n_devices = ctypes.c_int(0)
    status = driver.cuDeviceGetCount(ctypes.byref(n_devices))
    if status or n_devices.value == 0:
        return "the NVIDIA driver finds no device (is CUDA_VISIBLE_DEVICES empty?)"
    return None


def load_libraries() -> None:
    """Load CUDA's and cuDNN's libraries for ONNX Runtime.

    A process that has imported torch has them already; without torch, ONNX Runtime finds those
    of the ``nvidia-*`` wheels only if they are loaded beforehand.
    """
    if "torch" in sys.modules or not hasattr(onnxruntime, "preload_dlls"):
        return
    printed = io.StringIO()  # preload_dlls prints what it misses; stdout belongs to the caller
    with contextlib.redirect_stdout(printed):
        onnxruntime.preload_dlls()
    for line in printed.getvalue().splitlines():
        logger.debug("preload_dlls: %s", line)
