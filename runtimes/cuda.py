"""Checks with the driver whether CUDA is usable, before any library is loaded."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import io
import logging
import sys
from pathlib import Path
from typing import Final

import onnxruntime

from hashkit.distribution import find_package
from hashkit.errors import DeviceError

__all__ = [
    "built_version",
    "driver_version",
    "load_libraries",
    "not_on_cuda",
    "why_no_cuda",
    "why_no_tensorrt",
]

logger = logging.getLogger(__name__)

_DRIVER: Final = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
_TENSORRT: Final = "nvinfer_10.dll" if sys.platform == "win32" else "libnvinfer.so.10"


def why_no_cuda() -> str | None:
    """Reason why CUDA cannot be used in this process; None if none is found.

    None does not prove that a model runs; only a session can show that.
    """
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        return "this build of ONNX Runtime has no CUDA provider (install onnxruntime-gpu)"
    try:
        driver = ctypes.CDLL(_DRIVER)
    except OSError:
        return f"there is no NVIDIA driver ({_DRIVER} was not found)"
    status = driver.cuInit(0)
    if status:
        return f"the NVIDIA driver does not start (cuInit gave {status})"
    n_devices = ctypes.c_int(0)
    status = driver.cuDeviceGetCount(ctypes.byref(n_devices))
    if status or n_devices.value == 0:
        return "the NVIDIA driver finds no device (is CUDA_VISIBLE_DEVICES empty?)"
    return None


def not_on_cuda(reason: str) -> DeviceError:
    """The error where CUDA is required and cannot be used, with the reason."""
    return DeviceError(f'CUDA was asked for, but {reason}; use `device="cpu"`, or `device="auto"`')


def why_no_tensorrt() -> str | None:
    """Reason why TensorRT cannot be used in this process; None if none is found.

    This loads the TensorRT libraries: ONNX Runtime finds those of the ``tensorrt`` wheels only if
    they are loaded beforehand.
    """
    if "TensorrtExecutionProvider" not in onnxruntime.get_available_providers():
        return (
            "this build of ONNX Runtime has no TensorRT provider: pip install onnxruntime-gpu "
            "(Linux or Windows on x86-64)"
        )
    reason = why_no_cuda()
    if reason is not None:
        return reason
    try:
        ctypes.CDLL(_tensorrt_library())
    except OSError:
        major = (built_version() or "13").partition(".")[0]
        return f"TensorRT 10 is not installed: pip install 'tensorrt-cu{major}<11'"
    return None


def driver_version() -> str | None:
    """Newest CUDA version that the driver supports, for example ``13.0``; None without a driver."""
    try:
        driver = ctypes.CDLL(_DRIVER)
    except OSError:
        return None
    number = ctypes.c_int(0)
    if driver.cuDriverGetVersion(ctypes.byref(number)):
        return None
    return f"{number.value // 1000}.{number.value % 1000 // 10}"


def built_version() -> str | None:
    """CUDA version that ONNX Runtime was built for, for example ``13.0``; None without CUDA."""
    try:
        build = importlib.import_module("onnxruntime.capi.build_and_package_info")
    except ImportError:
        return None
    version = getattr(build, "cuda_version", None)
    return str(version) if version else None


def load_libraries() -> None:
    """Load the CUDA and cuDNN libraries for ONNX Runtime.

    They are loaded already if the process has imported a torch for the same CUDA version.
    Otherwise ONNX Runtime finds those of the ``nvidia-*`` wheels only if they are loaded first.
    """
    if _torch_has_loaded_them() or not hasattr(onnxruntime, "preload_dlls"):
        return
    printed = io.StringIO()  # preload_dlls prints missing libraries to the caller's stdout
    with contextlib.redirect_stdout(printed):
        onnxruntime.preload_dlls()
    for line in printed.getvalue().splitlines():
        logger.debug("preload_dlls: %s", line)


def _torch_has_loaded_them() -> bool:
    """Whether torch is imported and built for the CUDA version of ONNX Runtime."""
    of_torch = getattr(getattr(sys.modules.get("torch"), "version", None), "cuda", None)
    built = built_version()
    if not of_torch or not built:
        return False
    return str(of_torch).partition(".")[0] == built.partition(".")[0]


def _tensorrt_library() -> str:
    """Path of TensorRT's library in its wheel, or its name for the system's loader."""
    found = find_package("tensorrt_libs")
    for folder in (found and found.submodule_search_locations) or ():
        if (path := Path(folder) / _TENSORRT).is_file():
            return str(path)
    return _TENSORRT
