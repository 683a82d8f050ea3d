"""``hashkit export``: a checkpoint to a model file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hashkit.cli.console import TERMINAL, emit_json, note, require
from hashkit.cli.options import JsonOption, RunOption, RunsOption
from hashkit.errors import ConfigError
from hashkit.runs.run import DEFAULT_RUNS_DIR, Run

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
    precision: Annotated[
        Literal["fp32", "fp16", "int8"],
        typer.Option("--precision", help="Arithmetic of the network: fp32, fp16 or int8."),
    ] = "fp32",
    allow_loss: Annotated[
        bool, typer.Option("--allow-loss", help="Write fp16 or int8 even if it loses too much.")
    ] = False,
    web: Annotated[
        Path | None,
        typer.Option("--web", help="Write a search page for browsers into this folder."),
    ] = None,
    web_images: Annotated[
        int, typer.Option("--web-images", min=1, help="Images of the database to take, at most.")
    ] = 2000,
    web_runtime: Annotated[
        Path | None,
        typer.Option(
            "--web-runtime",
            help="Folder of the npm package onnxruntime-web.",
            show_default="node_modules/onnxruntime-web",
        ),
    ] = None,
    web_gpu: Annotated[
        bool,
        typer.Option("--web-gpu", help="Let readers of the page run the model on their GPU."),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Export a trained model to a file that is verified on real images.

    \b
    Examples:
      hashkit export --onnx
      hashkit export --onnx model.onnx --run runs/photos
      hashkit export --onnx --precision int8
      hashkit export --web site/
    """  # noqa: D301
    from hashkit.workflow.models import find_exported, find_run

    if web is not None:
        _refuse_with_web(
            {
                "--onnx": onnx,
                "PATH": path,
                "--checkpoint": checkpoint,
                "--precision": precision != "fp32",
                "--allow-loss": allow_loss,
            }
        )
        from hashkit.cli.web import check_web, export_web_page

        runtime = check_web(web, web_runtime)
        document = export_web_page(
            find_exported(run, runs, TERMINAL), web, runtime, web_images, web_gpu
        )
        if json:
            emit_json(document)
        return
    if web_gpu:
        raise ConfigError("--web-gpu goes with --web FOLDER, the page that it is for")
    if not onnx:
        raise ConfigError("choose what to export to: hashkit export --onnx, or --web FOLDER")
    if precision != "fp32":
        if checkpoint is not None:
            raise ConfigError(
                f"--checkpoint does not go with --precision {precision}, which is made from the "
                "run's model.onnx: hashkit export --onnx --checkpoint FILE first"
            )
        document = _export_precision(
            find_exported(run, runs, TERMINAL), path, precision, allow_loss
        )
    else:
        if allow_loss:
            raise ConfigError("--allow-loss goes with --precision fp16 or int8: fp32 loses nothing")
        _require_torch()
        document = _export_fp32(find_run(run, runs, TERMINAL), path, checkpoint)
    if json:
        emit_json(document)


def _require_torch() -> None:
    for package in ("torch", "onnx", "onnxscript", "safetensors"):
        require(package, "train", "hashkit export --onnx")


def _export_fp32(run: Run, path: Path | None, checkpoint: Path | None) -> dict[str, Any]:
    from hashkit.exporters.onnx_export import export_onnx
    from hashkit.training.checkpoint import load_model

    checkpoint = checkpoint or run.checkpoint_path()
    loaded = load_model(checkpoint)
    note(f"exporting {checkpoint}")
    report = export_onnx(
        loaded.model,
        loaded.manifest,
        path or run.model_path,
        images=_real_images(run, loaded.manifest),
        progress=note,
    )
    note(f"verified: {report.parity.summary()}")
    note(f"{report.path}: {report.n_bytes / 1e6:.1f} MB, opset {report.opset}")
    return report.to_dict()


def _export_precision(
    run: Run, path: Path | None, precision: str, allow_loss: bool
) -> dict[str, Any]:
    """Make another precision of the run's model, which is exported first if it is not there."""
    require("onnx", "train", f"hashkit export --precision {precision}")
    from hashkit.workflow.precisions import export_run_precision

    if not run.model_path.is_file():
        _require_torch()
        _export_fp32(run, None, None)
    return export_run_precision(run, path, precision, allow_loss, TERMINAL)


def _refuse_with_web(given: Mapping[str, object]) -> None:
    flags = [flag for flag, value in given.items() if value]
    if flags:
        raise ConfigError(
            f"{', '.join(flags)} does not go with --web, which takes the run's model.onnx: "
            "hashkit export --onnx first, then hashkit export --web FOLDER"
        )


def _real_images(run: Run, manifest: Manifest) -> NDArray[np.uint8]:
    """Up to `N_VERIFY_IMAGES` images that the run was trained on, at the model's size."""
    from hashkit.datasets.imageset import spread_rows
    from hashkit.datasets.screening import load_pixels

    images = _training_images(run)
    few = images.subset(spread_rows(len(images), N_VERIFY_IMAGES))
    return load_pixels(few, manifest.size, manifest.resize).pixels


def _training_images(run: Run) -> ImageSet:
    from hashkit.datasets.spec import open_spec
    from hashkit.workflow.training_source import TrainingSource

    source = TrainingSource.of_run(run)
    if source.triplets is not None:
        return source.read_triplets()[0]
    images, split = open_spec(source.spec)
    return images.subset(split.training)
