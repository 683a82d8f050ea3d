"""Refuses an option of one value that is given twice, so that no value is dropped silently."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import typer

__all__ = ["check_repeated"]


def check_repeated(command: Any, ctx: Any, args: Sequence[str]) -> None:
    """Raise a usage error if an option of one value is given more than once.

    Parameters
    ----------
    command, ctx
        The click command, and a context of it.
    args
        What follows the command's name.
    """
    _, _, given = command.make_parser(ctx).parse_args(args=list(args))
    for param, count in Counter(given).items():
        if param.param_type_name != "option" or count < 2 or param.multiple:
            continue
        if param.is_flag and not param.secondary_opts:
            continue
        is_list = (param.metavar or "").endswith(",...")
        once = ", its values separated by commas" if is_list else ""
        raise typer.BadParameter(
            f"expected the option once, found it {count} times; give it once{once}",
            ctx=ctx,
            param=param,
        )
