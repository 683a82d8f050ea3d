"""``hashkit export``: a checkpoint to a model file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hashkit.cli.console import emit_json, note, require
from hashkit.cli.options import JsonOption, RunOption, RunsOption
from hashkit.errors import ConfigError
from hashkit.runs import DEFAULT_RUNS_DIR, Run

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hashkit.datasets.imageset import ImageSet
    from hashkit.manifest import Manifest

__all__ = ["export"]

N_VERIFY_IMAGES = 256
"""Training images that torch and the exported model are compared on."""


def export(
    path: Annotated[
        Path | None, typer.Argument(help="File to write.", show_default="the run's model.onnx")
    ] = None,
    onnx: Annotated[bool, typer.Option("--onnx", help="Write an ONNX model.")] = False,
    run: RunOption = None,
    runs: RunsOption = DEFAULT_RUNS_DIR,
    checkpoint: Annotated[
        Path | None,
        typer.Option("--checkpoint", help="Checkpoint.", show_default="the run's best, or last"),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Export a trained model to a file that is verified on real images.

    \b
    Examples:
      hashkit export --onnx
      hashkit export --onnx model.onnx --run runs/photos
    """  # noqa: D301
    from hashkit.cli.locate import find_run

    if not onnx:
        raise ConfigError("choose what to export to: hashkit export --onnx")
    for package in ("torch", "onnx", "onnxscript", "safetensors"):
        require(package, "train", "hashkit export --onnx")
    from hashkit.exporters.onnx_export import export_onnx
    from hashkit.training.checkpoint import load_model

    found = find_run(run, runs)
    checkpoint = checkpoint or found.checkpoint_path()
    loaded = load_model(checkpoint)
    note(f"exporting {checkpoint}")
    report = export_onnx(
        loaded.model,
        loaded.manifest,
        path or found.model_path,
        images=_real_images(found, loaded.manifest),
        progress=note,
    )
    note(f"verified: {report.parity.summary()}")
    note(f"{report.path}: {report.n_bytes / 1e6:.1f} MB, opset {report.opset}")
    if json:
        emit_json(report.to_dict())


def _real_images(run: Run, manifest: Manifest) -> NDArray[np.uint8]:
    """Up to `N_VERIFY_IMAGES` images that the run was trained on, at the model's size."""
    from hashkit.datasets.imageset import spread_rows
    from hashkit.datasets.screening import load_pixels

    images = _training_images(run)
    few = images.subset(spread_rows(len(images), N_VERIFY_IMAGES))
    return load_pixels(few, manifest.size, manifest.resize).pixels


def _training_images(run: Run) -> ImageSet:
    from hashkit.cli.trainers import Material

    material = Material.of_run(run)
    if material.triplets is not None:
        return material.read_triplets()[0]
    images, split = material.spec.open()
    return images.subset(split.training)
