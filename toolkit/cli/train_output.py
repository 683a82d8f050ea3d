"""What ``hashkit train --list-recipes`` shows."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from hashkit.cli.console import emit_json
from hashkit.cli.visible import result_console
from hashkit.runs.config import TrainConfig
from hashkit.runs.known_names import FITTED, OWN_CODE
from hashkit.training.losses import LOSSES, loss_options
from hashkit.training.networks import NETWORKS
from hashkit.training.recipes import RECIPES, Recipe

__all__ = ["show_recipes"]

_ABOUT_OWN_LOSS = "your own loss: PACKAGE.MODULE:NAME or FILE.py:NAME"


def show_recipes(as_json: bool) -> None:
    """Print recipes, networks and losses by name: as tables, or as one JSON document."""
    if as_json:
        emit_json(_document())
        return
    console = result_console()
    for table in (_recipe_table(), _network_table(), _loss_table()):
        console.print(table)
    console.print(
        "Any network learns with any loss; an embedder, onnx:NAME, also with methods for frozen "
        "features. Every setting of a recipe has a flag."
    )


def _document() -> dict[str, Any]:
    return {
        "recipes": {
            name: {
                "about": recipe.about,
                "size": list(recipe.size) if recipe.size else None,
                "settings": recipe.config.to_dict(),
            }
            for name, recipe in RECIPES.items()
        },
        "networks": {name: kind.about for name, kind in NETWORKS.items()},
        "losses": {
            name: {
                "about": _about(name),
                "learns_from": loss.learns_from,
                "options": loss_options(name),
            }
            for name, loss in LOSSES.items()
        }
        | {OWN_CODE: {"about": _ABOUT_OWN_LOSS, "learns_from": None, "options": {}}},
        "methods": dict(FITTED),
    }


def _recipe_table() -> Table:
    table = _table("Recipes", "--recipe", "what for", "network, loss", "what else it sets")
    for name, recipe in RECIPES.items():
        kinds = f"{recipe.config.network}, {recipe.config.loss}"
        table.add_row(name, recipe.about, kinds, _changes(recipe))
    return table


def _changes(recipe: Recipe) -> str:
    """Settings of a recipe that are not the defaults."""
    defaults = TrainConfig(network=recipe.config.network, loss=recipe.config.loss).to_dict()
    shown = {"recipe", "network", "loss"}
    changes = [
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in recipe.config.to_dict().items()
        if name not in shown and value != defaults[name]
    ]
    if recipe.size:
        changes.append("size " + "x".join(map(str, recipe.size)))
    return ", ".join(changes)


def _network_table() -> Table:
    table = _table("Networks", "--network", "what it is")
    for name, kind in NETWORKS.items():
        table.add_row(f"{name}:NAME" if kind.takes_argument else name, kind.about)
    return table


def _loss_table() -> Table:
    table = _table("Losses", "--loss", "what it is", "learns from", "options")
    for name, loss in LOSSES.items():
        options = ", ".join(
            option if default is None else f"{option} {default}"
            for option, default in loss_options(name).items()
        )
        table.add_row(name, _about(name), loss.learns_from, options)
    for name, about in FITTED.items():
        table.add_row(name, about, "frozen features", "")
    table.add_row(f"{OWN_CODE}:NAME", _ABOUT_OWN_LOSS, "", "")
    return table


def _table(title: str, *heads: str) -> Table:
    table = Table(title=title)
    for number, head in enumerate(heads):
        table.add_column(head, overflow="fold", no_wrap=number == 0)  # names are typed as they are
    return table


def _about(loss: str) -> str:
    """First sentence of a loss's docstring."""
    return (LOSSES[loss].__doc__ or "").split("\n\n")[0].split(";")[0].strip().rstrip(".")
