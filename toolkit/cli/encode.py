"""``hashkit encode``: images to a code bank."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import typer

from hashkit.cli.console import TERMINAL, emit_json
from hashkit.cli.options import (
    BatchSizeOption,
    DataRootOption,
    DeviceOption,
    DownloadOption,
    JsonOption,
    ModelOption,
    ProfileOption,
    RunOption,
    RunsOption,
    RuntimeOption,
    StrictOption,
    WorkersOption,
    parse_batch_size,
)
from hashkit.errors import ConfigError
from hashkit.runs.run import DEFAULT_RUNS_DIR
from hashkit.runtimes.settings import RuntimeSettings

__all__ = ["encode"]


def encode(
    images: Annotated[
        str | None,
        typer.Argument(
            help="Folder, list file or named set.", show_default="the run's queries and database"
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Bank to write (with IMAGES).")
    ] = None,
    model: ModelOption = None,
    run: RunOption = None,
    runs: RunsOption = DEFAULT_RUNS_DIR,
    data_root: DataRootOption = None,
    protocol: Annotated[
        str,
        typer.Option("--protocol", metavar="NAME", help="Encode one part of a split of IMAGES."),
    ] = "",
    part: Annotated[
        Literal["queries", "training", "database", "all"],
        typer.Option("--part", metavar="NAME", help="queries, training, database or all."),
    ] = "all",
    split_seed: Annotated[
        int, typer.Option("--split-seed", metavar="N", help="Seed of the split.")
    ] = 0,
    download: DownloadOption = False,
    labels: Annotated[
        Literal["auto", "folders", "none"],
        typer.Option(
            "--labels",
            metavar="NAME",
            help="Labels of a folder's images: folders (each subfolder is a class), none, or auto: "
            "folders if the model was trained on these classes or the bank has labels.",
        ),
    ] = "auto",
    device: DeviceOption = "auto",
    runtime: RuntimeOption = "onnxruntime",
    profile: ProfileOption = "exact",
    batch_size: BatchSizeOption = "auto",
    num_workers: WorkersOption = None,
    strict: StrictOption = False,
    append: Annotated[bool, typer.Option("--append", help="Add the images to the bank.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the bank.")] = False,
    allow_other_provider: Annotated[
        bool,
        typer.Option(
            "--allow-other-provider",
            help="Continue a bank that another device, runtime or Pillow began.",
        ),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Encode images with an exported model into a code bank.

    The same command continues where an earlier one stopped. Images that cannot be used are skipped
    and listed beside the bank.

    Without IMAGES it encodes the queries and the database of a run.

    \b
    Examples:
      hashkit encode
      hashkit encode photos/ --model model.onnx --out photos.h5
    """  # noqa: D301
    from hashkit.workflow.banks import encode_run_part
    from hashkit.workflow.encode import ImagesToEncode, encode_images, encode_options
    from hashkit.workflow.encoding import load_encoder
    from hashkit.workflow.models import find_exported, find_model, run_model

    per_batch = parse_batch_size(batch_size)
    options = encode_options(
        batch_size=per_batch,
        num_workers=num_workers,
        strict=strict,
        append=append,
        overwrite=overwrite,
        allow_other_provider=allow_other_provider,
    )
    settings = RuntimeSettings(runtime, device, profile=profile, batch_size=per_batch)
    if images is None:
        _refuse(
            {
                "--out": out,
                "--model": model,
                "--data-root": data_root,
                "--protocol": protocol,
                "--part": part != "all",
                "--split-seed": split_seed,
                "--download": download,
                "--labels": labels != "auto",
                "--append": append,
            }
        )
        found = find_exported(run, runs, TERMINAL)
        encoder = load_encoder(run_model(found), settings, TERMINAL)
        reports = [
            encode_run_part(found, name, encoder, options, TERMINAL)
            for name in ("queries", "database")
        ]
    else:
        if out is None:
            raise ConfigError("--out is missing: name the bank to write")
        wanted = ImagesToEncode(images, data_root, protocol, part, split_seed, download, labels)
        encoder = load_encoder(find_model(model, run, runs, TERMINAL), settings, TERMINAL)
        reports = [encode_images(wanted, encoder, out, options, TERMINAL)]
    if json:
        emit_json({"banks": [report.to_dict() for report in reports]})


def _refuse(given: Mapping[str, object]) -> None:
    flags = [flag for flag, value in given.items() if value]
    if flags:
        raise ConfigError(
            f"{', '.join(flags)} goes with IMAGES: name a folder, a list file or a named set"
        )
