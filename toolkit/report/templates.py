"""Render pages from the templates of this package."""

from __future__ import annotations

import datetime
import functools
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hashkit.errors import HashkitError
from hashkit.messages.os_errors import cannot_write
from hashkit.report.evaluations import write_text

if TYPE_CHECKING:
    import jinja2

__all__ = ["part", "render", "save_text"]


def render(template: str, values: Mapping[str, Any]) -> str:
    """HTML of a template that extends base.html.

    Parameters
    ----------
    template
        File name of the template.
    values
        Variables of the template, besides style sheet, version and time.
    """
    from hashkit._version import __version__

    shared = {
        "style": part("page.css"),
        "made": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "version": __version__,
    }
    return _environment().get_template(template).render(shared | dict(values))


def part(name: str) -> str:
    """Text of one of the files of this package."""
    return resources.files("hashkit.report").joinpath(name).read_text(encoding="utf-8")


def save_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all; lone surrogates become character references.

    Raises
    ------
    HashkitError
        If it cannot be written.
    """
    try:
        write_text(path, text)
    except OSError as error:
        raise HashkitError(cannot_write(error, path)) from None


@functools.cache
def _environment() -> jinja2.Environment:
    import jinja2  # here, as a search that writes a table does not need it

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(part),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["share"] = lambda value: f"{value:.4f}"
    environment.filters["percent"] = lambda value: f"{100 * value:.2f}%"
    environment.filters["count"] = lambda value: f"{value:,}"
    return environment
