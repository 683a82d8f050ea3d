"""A command that refuses an option which is given twice but holds one value."""

from __future__ import annotations

from collections import Counter
from typing import Any

import typer
from typer.core import TyperCommand

__all__ = ["Command"]


class Command(TyperCommand):
    """A command of hashkit: of an option given twice, no value is dropped in silence."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse arguments; raises a usage error for an option that is given twice in vain."""
        if args and not ctx.resilient_parsing:
            self._check_repeated(ctx, list(args))
        return super().parse_args(ctx, args)

    def _check_repeated(self, ctx: Any, args: list[str]) -> None:
        _, _, given = self.make_parser(ctx).parse_args(args=args)
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
