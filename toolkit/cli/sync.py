"""``hashkit sync``: a bank that follows its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hashkit.cli.console import TERMINAL, emit_json, emit_json_line
from hashkit.cli.options import (
    BankModelOption,
    BatchSizeOption,
    DeviceOption,
    JsonOption,
    ProfileOption,
    RuntimeOption,
    WorkersOption,
    parse_batch_size,
)
from hashkit.errors import ConfigError
from hashkit.runtimes.settings import RuntimeSettings

__all__ = ["sync"]


def sync(
    folder: Annotated[Path, typer.Argument(help="Folder of images, with all subfolders.")],
    bank: Annotated[
        Path | None,
        typer.Option(
            "--bank",
            metavar="PATH",
            help="Bank or bank set to update; a missing bank is created.",
            show_default="FOLDER.h5",
        ),
    ] = None,
    model: BankModelOption = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Continue with every change, until Ctrl-C.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count what a sync would do, and change nothing.")
    ] = False,
    checksum: Annotated[
        bool,
        typer.Option("--checksum", help="Read all files instead of trusting sizes and times."),
    ] = False,
    allow_removals: Annotated[
        bool,
        typer.Option(
            "--allow-removals", help="Delete rows even if more than half of the images are missing."
        ),
    ] = False,
    device: DeviceOption = "auto",
    runtime: RuntimeOption = "onnxruntime",
    profile: ProfileOption = "exact",
    batch_size: BatchSizeOption = "auto",
    num_workers: WorkersOption = None,
    allow_other_provider: Annotated[
        bool,
        typer.Option(
            "--allow-other-provider",
            help="Add rows made with another device, runtime or Pillow version.",
        ),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Update a bank to match its folder.

    New and changed images are encoded. Moved and renamed images are recognised by their content and
    keep their codes. Rows of deleted images are deleted. To continue after an interruption, run the
    same command again.

    \b
    Examples:
      hashkit sync photos/ --model lite0
      hashkit sync photos/
      hashkit sync photos/ --bank photos.h5 --model model.onnx --watch
    """  # noqa: D301
    from hashkit.workflow.sync import FolderSync, SyncOptions

    if watch and dry_run:
        raise ConfigError("--watch and --dry-run cannot be combined: choose one")
    per_batch = parse_batch_size(batch_size)
    settings = RuntimeSettings(runtime, device, profile=profile, batch_size=per_batch)
    options = SyncOptions(
        per_batch, num_workers, checksum, dry_run, allow_removals, allow_other_provider
    )
    follower = FolderSync(folder, bank, model, settings, options, TERMINAL)
    if not watch:
        report = follower.run()
        if json:
            emit_json(report.to_dict())
        return
    from hashkit.workflow.watch import watch as watched

    for report in watched(follower, TERMINAL):
        if json:
            emit_json_line(report.to_dict())
