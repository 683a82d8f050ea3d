"""Tables of a command's arguments and options, made from the commands themselves."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Any

from typer.main import get_command

from hashkit.cli.app import app
from hashkit.runs.config import TrainConfig

__all__ = ["COMMANDS", "fill_in", "option_tables"]

COMMANDS: Mapping[str, Any] = get_command(app).commands  # type: ignore[attr-defined]
"""The commands by name, as the command line's own parser knows them."""

_MARK = re.compile(r"^<!-- options: (\S+) -->$", re.MULTILINE)
_SETTINGS = {field.name: field.default for field in dataclasses.fields(TrainConfig)}


def fill_in(page: str) -> str:
    """A page with the tables of a command in place of each ``<!-- options: COMMAND -->``.

    Raises
    ------
    ValueError
        If the page has a mark for none or for some commands, or twice for one.
    """
    marked = _MARK.findall(page)
    if sorted(marked) != sorted(COMMANDS):
        raise ValueError(f"expected one mark for each of {list(COMMANDS)}, found {marked}")
    return _MARK.sub(lambda mark: option_tables(mark[1]), page)


def option_tables(command: str) -> str:
    """Arguments and options of a command as Markdown tables; ``--help`` is left out."""
    params = [param for param in COMMANDS[command].params if param.name != "help"]
    arguments = [_row(f"`{_name(p)}`", p) for p in params if p.param_type_name == "argument"]
    options = [_row(_flags(p), _setting(command, p)) for p in params if p.opts[0][0] == "-"]
    return "\n\n".join(
        "\n".join([f"| {kind} | default | meaning |", "|---|---|---|", *rows])
        for kind, rows in (("argument", arguments), ("option", options))
        if rows
    )


@dataclasses.dataclass(frozen=True)
class _Setting:
    """An option of ``train`` whose default is a setting's, which the parser does not know."""

    help: str
    default: Any
    required: bool = False
    show_default: Any = None


def _setting(command: str, param: Any) -> Any:
    is_setting = command == "train" and param.name in _SETTINGS
    return _Setting(param.help, _SETTINGS[param.name]) if is_setting else param


def _row(first: str, param: Any) -> str:
    return f"| {first} | {_default(param)} | {param.help.replace('|', chr(92) + '|')} |"


def _name(param: Any) -> str:
    name = (param.metavar or param.name).upper()
    return f"{name}..." if param.nargs != 1 else name


def _flags(param: Any) -> str:
    value = "" if param.is_flag else f" {param.metavar}"
    shown = [f"`{flag}{value}`" for flag in _long(param.opts)]
    return ", ".join([*shown, *(f"`{flag}`" for flag in _long(param.secondary_opts))])


def _long(flags: list[str]) -> Iterator[str]:
    return (flag for flag in flags if flag.startswith("--"))


def _default(param: Any) -> str:
    if param.required:
        return "required"
    if isinstance(param.show_default, str):
        return param.show_default
    default = param.default
    if default is True:
        return "yes"
    if default is None or default is False or default in ("", ()) or callable(default):
        return ""
    if isinstance(default, list | tuple):
        default = ",".join(map(str, default))
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"
