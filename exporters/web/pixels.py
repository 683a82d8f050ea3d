"""The resize rule of a model, as the page needs it."""

from __future__ import annotations

from typing import Any

from hashkit.errors import ConfigError
from hashkit.manifest import REDUCED, WHOLE_RULES, Manifest

__all__ = ["check_rule", "input_rule"]


def check_rule(manifest: Manifest) -> None:
    """Refuse a model whose pixels a browser cannot reproduce.

    Raises
    ------
    ConfigError
        If its resize rule decodes JPEG files at reduced size: browsers decode them at full size,
        so the page's codes would differ from the bank's.
    """
    rule = manifest.resize
    if rule not in WHOLE_RULES:
        raise ConfigError(
            f"browsers decode JPEG files at full size, but this model resizes by {rule}; a search "
            f'page needs a model that was trained with `resize="{rule.removesuffix(REDUCED)}"`, or '
            "a bank of a built-in model such as lite0"
        )


def input_rule(manifest: Manifest) -> dict[str, Any]:
    """Settings with which the page makes the same pixels as `hashkit.preprocess`.

    Raises
    ------
    ConfigError
        As in `check_rule`.
    """
    check_rule(manifest)
    return {
        "height": manifest.height,
        "width": manifest.width,
        "resize": manifest.resize,
    }
