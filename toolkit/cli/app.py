"""The commands, and how their errors end."""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Final, NoReturn

import typer
from typer.core import TyperGroup

from hashkit.cli import (
    bench,
    convert,
    dedup,
    delete,
    doctor,
    encode,
    evaluate,
    export,
    index,
    info,
    search,
    serve,
    sync,
    train,
    verify,
)
from hashkit.cli.compile import compile_all
from hashkit.cli.console import INTERRUPTED, copies_shown, note, notes_worded
from hashkit.cli.flags import with_flags
from hashkit.cli.limit_option import with_limits
from hashkit.cli.process import SIGNALS, STANDARD_OUTPUT
from hashkit.cli.repeated_options import check_repeated
from hashkit.cli.visible import VisibleFormatter
from hashkit.distribution import install_command
from hashkit.errors import HashkitError
from hashkit.messages.os_errors import os_error_line
from hashkit.messages.visible_text import visible

__all__ = ["app", "quiet_warnings", "run"]


_UsageError: Final[Any] = typer.BadParameter.__base__

_FIRST_OPTIONS: Final = {
    "delete": "--name",
    "export": "--run",
    "search": "--query",
    "serve": "--bank",
    "train": "--data",
}
"""Options whose value is often typed alone, by command."""


class _Commands(TyperGroup):
    """All commands; an error that the user can fix ends in one line and exit code 1."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args:  # the "error" is the help
            return super().parse_args(ctx, args)
        with _visible_usage_errors():
            return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        if command is not None:
            check_repeated(command, command.context_class(command, ctx, name), rest)
        return name, command, rest

    def invoke(self, ctx: Any) -> Any:
        def worded(text: str) -> str:
            command = self.commands.get(ctx.invoked_subcommand or "")
            return with_flags(text, command, self.commands)

        with SIGNALS.working():
            try:
                with (
                    notes_worded(worded),
                    _visible_usage_errors(),
                    _errors_in_a_line(worded),
                    copies_shown(),
                ):
                    return super().invoke(ctx)
            except KeyboardInterrupt:
                note("interrupted; encoded images and finished files are kept for the next run")
                raise typer.Exit(INTERRUPTED) from None


@contextlib.contextmanager
def _errors_in_a_line(worded: Callable[[str], str]) -> Iterator[None]:
    try:
        yield
    except HashkitError as error:
        _fail(worded(str(error)))
    except OSError as error:  # a full disk, a folder that may not be written
        if error.filename == STANDARD_OUTPUT:
            raise typer.Exit(1) from None  # reported when the process ends
        _fail(os_error_line(error))
    except MemoryError:
        _fail("there is not enough memory; close other programs, or use fewer images or rows")
    except ModuleNotFoundError as error:
        _fail(f"{error.name} is not installed: {install_command()}")
    except typer.Exit:
        raise
    except Exception:
        if SIGNALS.received is not None:
            raise KeyboardInterrupt from None
        raise


@contextlib.contextmanager
def _visible_usage_errors() -> Iterator[None]:
    """Let usage errors, which typer prints, repeat names of files that the shell filled in."""
    try:
        yield
    except _UsageError as error:
        command = error.ctx.command.name if error.ctx else None
        if error.message.startswith("Got unexpected extra argument") and command in _FIRST_OPTIONS:
            error.message += f"; give it with {_FIRST_OPTIONS[command]}"
        error.message = visible(error.message)
        raise


def quiet_warnings() -> None:
    """Print warnings of libraries in one line each, and none of Pillow.

    Pillow warns of damaged metadata without naming the file. What matters is raised, and becomes
    the fault of an image.
    """
    warnings.showwarning = _show_warning  # type: ignore[assignment]
    warnings.filterwarnings("ignore", module=r"PIL\.")


def _show_warning(message: Warning | str, *_: object) -> None:
    """Print a warning of a library in one line, without the place in its source."""
    note(f"warning: {' '.join(str(message).split())}")


def _fail(message: str) -> NoReturn:
    if SIGNALS.received is not None:  # the error is a consequence of the interrupt
        raise KeyboardInterrupt
    note("error: " + " ".join(message.splitlines()))
    raise typer.Exit(1) from None


app = typer.Typer(
    name="hashkit",
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Learn binary codes for images, and find images by code.\n\n"
    "\b\nA folder of pictures, without training:\n"
    "  hashkit sync photos/ --model lite0\n"
    "  hashkit search --query img.png --bank photos.h5\n\n"
    "\b\nYour own model; without a folder it learns scikit-learn's digits:\n"
    "  hashkit train --data photos/\n  hashkit export --onnx\n  hashkit search --query img.png",
)
app.command("train")(with_limits(train.train))
app.command("export")(with_limits(export.export))
app.command("encode")(with_limits(encode.encode))
app.command("sync")(with_limits(sync.sync))
app.command("dedup")(with_limits(dedup.dedup))
app.command("search")(with_limits(search.search))
app.command("serve")(with_limits(serve.serve))
app.command("evaluate")(with_limits(evaluate.evaluate))
app.command("bench")(with_limits(bench.bench))
app.command("index")(with_limits(index.index))
app.command("convert")(with_limits(convert.convert))
app.command("delete")(with_limits(delete.delete))
app.command("verify")(with_limits(verify.verify))
app.command("info")(with_limits(info.info))
app.command("doctor")(with_limits(doctor.doctor))
app.command("compile")(with_limits(compile_all))


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)
    ] = False,
) -> None:
    if version:
        from hashkit._version import __version__

        typer.echo(f"hashkit {__version__}")
        raise typer.Exit


def run() -> None:
    """Run the command line: exit 0, 1 for an error that the user can fix, 2 for usage."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(VisibleFormatter("%(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    quiet_warnings()
    app()
