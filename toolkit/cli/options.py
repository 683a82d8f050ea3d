"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from hashkit.cli.console import note
from hashkit.runtimes.builtin import BUILTIN_MODELS, model_path

__all__ = [
    "BankModelOption",
    "BankOption",
    "BatchSizeOption",
    "DataRootOption",
    "DeviceOption",
    "DownloadOption",
    "JsonOption",
    "LeaksOption",
    "ModelOption",
    "MovedRootOption",
    "NetworkOption",
    "ProfileOption",
    "RunOption",
    "RunsOption",
    "RuntimeOption",
    "StrictOption",
    "WorkersOption",
    "model_or_path",
    "parse_batch_size",
]


def model_or_path(text: str) -> Path:
    """The file of a built-in model if the text is its name, otherwise the text as a path."""
    return model_path(text, lambda sentence: note(f"warning: {sentence}"))


RunOption: TypeAlias = Annotated[
    Path | None,
    typer.Option("--run", metavar="FOLDER", help="Run folder.", show_default="the newest one"),
]
RunsOption: TypeAlias = Annotated[
    Path, typer.Option("--runs", metavar="FOLDER", help="Folder that holds the run folders.")
]


def _model_option(default: str) -> Any:
    """``--model``, whose help names a default."""
    return typer.Option(
        "--model",
        metavar="MODEL",
        parser=model_or_path,
        help=f"ONNX model, or a built-in one: {', '.join(BUILTIN_MODELS)}.",
        show_default=default,
    )


ModelOption: TypeAlias = Annotated[Path | None, _model_option("the run's model.onnx")]
BankModelOption: TypeAlias = Annotated[Path | None, _model_option("the bank's model")]
NetworkOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--network",
        metavar="module:FILE.py:NAME",
        help="The run's own network, because code named only in a run's files is never run.",
    ),
]
BankOption: TypeAlias = Annotated[
    list[Path] | None,
    typer.Option(
        "--bank",
        metavar="PATH",
        help="Code bank or bank set; may be repeated.",
        show_default="the run's bank.h5",
    ),
]
DeviceOption: TypeAlias = Annotated[
    str,
    typer.Option(
        "--device", metavar="NAME", help="auto, cpu or cuda; cuda never falls back to the CPU."
    ),
]
RuntimeOption: TypeAlias = Annotated[
    str,
    typer.Option(
        "--runtime",
        metavar="NAME",
        help="onnxruntime, onnxruntime-tensorrt, openvino or reference; no fallback.",
    ),
]
ProfileOption: TypeAlias = Annotated[
    str,
    typer.Option(
        "--profile",
        metavar="NAME",
        help="On CUDA: exact (always the same bits) or fast (TF32, timed kernels).",
    ),
]
JsonOption: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on standard output.")
]
DataRootOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--data-root",
        metavar="FOLDER",
        help="Folder of a named set's files, or of a list's images.",
    ),
]
MovedRootOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--data-root",
        metavar="FOLDER",
        help="Current folder of the bank's images, if it was moved.",
        show_default="where the bank was made from",
    ),
]
DownloadOption: TypeAlias = Annotated[
    bool, typer.Option("--download", help="Download the missing files of a named set.")
]
LeaksOption: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--leaks", help="Warn about queries that are near copies of training or database images."
    ),
]
StrictOption: TypeAlias = Annotated[
    bool,
    typer.Option("--strict", help="Stop at an image that cannot be used, instead of skipping it."),
]
WorkersOption: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--num-workers", metavar="N", min=1, help="Decoding threads.", show_default="one per core"
    ),
]

BatchSizeOption: TypeAlias = Annotated[
    str,
    typer.Option(
        "--batch-size", metavar="N", help="Images per batch; auto chooses by device and input size."
    ),
]


def parse_batch_size(text: str) -> int | None:
    """Images per batch, None for ``auto``; anything else is a usage error."""
    if text == "auto":
        return None
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise typer.BadParameter(
            f"expected a number from 1, or auto, found {text!r}", param_hint="--batch-size"
        )
    return int(text)
