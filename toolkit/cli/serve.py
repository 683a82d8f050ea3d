"""``hashkit serve``: search over HTTP, with the search page."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from hashkit.cli.console import TERMINAL
from hashkit.cli.options import BankModelOption, DeviceOption, MovedRootOption, RuntimeOption
from hashkit.runtimes.settings import RuntimeSettings

__all__ = ["serve"]


def serve(
    bank: Annotated[Path, typer.Option("--bank", metavar="PATH", help="Code bank or bank set.")],
    model: BankModelOption = None,
    host: Annotated[
        str, typer.Option("--host", metavar="NAME", help="Address to listen on; 0.0.0.0 for all.")
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option("--port", metavar="N", min=0, max=65535, help="Port; 0 for any free port."),
    ] = 8000,
    title: Annotated[
        str,
        typer.Option(
            "--title", metavar="TEXT", help="Title of the page.", show_default="the folder's name"
        ),
    ] = "",
    data_root: MovedRootOption = None,
    writable: Annotated[
        Path | None,
        typer.Option(
            "--writable",
            metavar="FOLDER",
            help="Accept new images into this folder, from clients with the token HASHKIT_TOKEN.",
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host",
            metavar="NAME",
            help="Host name that requests may use, such as photos.example.org; may be repeated.",
        ),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-origin",
            metavar="URL",
            help="Another site whose pages may use the server; may be repeated.",
        ),
    ] = None,
    max_bytes: Annotated[
        int,
        typer.Option("--max-bytes", metavar="N", min=1, help="Largest accepted image, in bytes."),
    ] = 20_000_000,
    max_waiting: Annotated[
        int,
        typer.Option(
            "--max-waiting",
            metavar="N",
            min=1,
            help="Largest number of simultaneous requests; others are told to retry.",
        ),
    ] = 64,
    device: DeviceOption = "auto",
    runtime: RuntimeOption = "onnxruntime",
) -> None:
    """Serve a bank over HTTP, with a search page.

    For programs, POST /search takes an image and returns the JSON of hashkit search; /docs
    describes the rest. The bank may grow while it is served. After SIGTERM or Ctrl-C, the server
    completes the requests in progress and ends.

    \b
    Examples:
      hashkit serve --bank photos.h5 --model model.onnx
      hashkit serve --bank uploads.h5 --model phash --writable uploads/
      hashkit serve --bank photos.h5 --host 0.0.0.0 --port 8080 --title 'Our pictures'
    """  # noqa: D301
    from hashkit.workflow.extras import require

    require("serve", "hashkit serve", "starlette", "uvicorn", "prometheus_client")
    from hashkit.server.limits import ServerLimits
    from hashkit.server.settings import ServerSettings
    from hashkit.server.starting import serve as serve_bank
    from hashkit.server.writable import token_of

    settings = ServerSettings(
        host=host,
        port=port,
        title=title,
        writable=writable,
        token="" if writable is None else token_of(os.environ),
        allow_hosts=tuple(allow_host or ()),
        allow_origins=tuple(allow_origin or ()),
        limits=ServerLimits(max_bytes=max_bytes, max_waiting=max_waiting),
    )
    serve_bank(bank, model, settings, data_root, RuntimeSettings(runtime, device), TERMINAL)
