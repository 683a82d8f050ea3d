"""``hashkit export``: a checkpoint to a model file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import typer

from hashkit.cli.console import TERMINAL, emit_json
from hashkit.cli.flags import given_flags, refuse_flags
from hashkit.cli.options import JsonOption, NetworkOption, RunOption, RunsOption, model_or_path
from hashkit.errors import ConfigError
from hashkit.runs.run import DEFAULT_RUNS_DIR

__all__ = ["export"]


def export(
    path: Annotated[
        Path | None, typer.Argument(help="File to write.", show_default="the run's model.onnx")
    ] = None,
    onnx: Annotated[bool, typer.Option("--onnx", help="Write an ONNX model.")] = False,
    run: RunOption = None,
    runs: RunsOption = DEFAULT_RUNS_DIR,
    network: NetworkOption = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint",
            metavar="FILE",
            help="Checkpoint.",
            show_default="the run's best, or last",
        ),
    ] = None,
    precision: Annotated[
        Literal["fp32", "fp16", "int8"],
        typer.Option(
            "--precision", metavar="NAME", help="Arithmetic of the network: fp32, fp16 or int8."
        ),
    ] = "fp32",
    allow_loss: Annotated[
        bool,
        typer.Option(
            "--allow-loss", help="Write fp16 or int8 even if the loss exceeds the tolerance."
        ),
    ] = False,
    web: Annotated[
        Path | None,
        typer.Option(
            "--web", metavar="FOLDER", help="Write a search page for browsers into this folder."
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            "--model",
            metavar="MODEL",
            parser=model_or_path,
            help="With --web: ONNX model or built-in one; needs --bank.",
            show_default="the run's model.onnx",
        ),
    ] = None,
    bank: Annotated[
        Path | None,
        typer.Option(
            "--bank",
            metavar="PATH",
            help="With --web: bank or bank set of that model.",
            show_default="the run's bank.h5",
        ),
    ] = None,
    data_root: Annotated[
        Path | None,
        typer.Option(
            "--data-root",
            metavar="FOLDER",
            help="With --web: current folder of the bank's images, if it was moved.",
            show_default="where the bank was made from",
        ),
    ] = None,
    web_images: Annotated[
        int | None,
        typer.Option(
            "--web-images",
            metavar="N",
            min=1,
            help="Largest number of database images to use.",
            show_default="2000",
        ),
    ] = None,
    web_size: Annotated[
        int | None,
        typer.Option(
            "--web-size",
            metavar="PIXELS",
            min=0,
            help="Longer side of the pictures in the larger view; 0 for thumbnails only. "
            "At 640, about 40 kB per photograph.",
            show_default="640",
        ),
    ] = None,
    title: Annotated[
        str | None,
        typer.Option(
            "--title",
            metavar="TEXT",
            help="Title of the page.",
            show_default="Find similar images",
        ),
    ] = None,
    web_runtime: Annotated[
        Path | None,
        typer.Option(
            "--web-runtime",
            metavar="FOLDER",
            help="Folder of the npm package onnxruntime-web.",
            show_default="node_modules/onnxruntime-web",
        ),
    ] = None,
    web_gpu: Annotated[
        bool,
        typer.Option("--web-gpu", help="Let visitors of the page run the model on their GPU."),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Export a trained model to a file, verified on real images.

    \b
    Examples:
      hashkit export --onnx
      hashkit export --onnx model.onnx --run runs/photos
      hashkit export --onnx --precision int8
      hashkit export --web site/
      hashkit export --web site/ --model phash --bank photos.h5 --title "Our photos"
    """  # noqa: D301
    from hashkit.workflow.models import find_run

    if web is not None:
        refuse_flags(
            {
                "--onnx": onnx,
                "PATH": path,
                "--checkpoint": checkpoint,
                "--precision": precision != "fp32",
                "--allow-loss": allow_loss,
                "--network": network,
            },
            "cannot be combined with --web, which uses an exported model: hashkit export --onnx "
            "first, then hashkit export --web FOLDER",
        )
        from hashkit.cli.web import WebSettings, check_web, export_web_page, open_web_source

        runtime = check_web(web, web_runtime)
        source = open_web_source(model, bank, run, runs)
        settings = WebSettings.of(web_images, web_size, title, webgpu=web_gpu)
        document = export_web_page(source, web, runtime, settings, data_root)
        if json:
            emit_json(document)
        return
    _refuse_settings_of_page(
        {
            "--web-gpu": web_gpu,
            "--web-images": web_images is not None,
            "--web-size": web_size is not None,
            "--web-runtime": web_runtime is not None,
            "--title": title is not None,
        }
    )
    if model is not None or bank is not None:
        raise ConfigError("--model and --bank need --web FOLDER: the page is made from them")
    if data_root is not None:
        raise ConfigError(
            "--data-root needs --web FOLDER: the page shows the images of that folder"
        )
    if not onnx:
        raise ConfigError("choose what to export to: hashkit export --onnx, or --web FOLDER")
    from hashkit.workflow.export import export_run

    document = export_run(
        find_run(run, runs, TERMINAL),
        path,
        precision=precision,
        checkpoint=checkpoint,
        allow_loss=allow_loss,
        network=network,
        reporter=TERMINAL,
    )
    if json:
        emit_json(document)


def _refuse_settings_of_page(values: Mapping[str, object]) -> None:
    what = "a setting" if len(given_flags(values)) == 1 else "settings"
    refuse_flags(values, f"needs --web FOLDER: {what} of that page")
