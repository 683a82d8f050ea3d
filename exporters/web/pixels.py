"""The resize rule of a model, as the page needs it."""

from __future__ import annotations

from typing import Any

import numpy as np

from hashkit.errors import ConfigError
from hashkit.manifest import REDUCED, WHOLE_RULES, Manifest
from hashkit.preprocess import decode, fit

__all__ = ["check_rule", "goes_down_first", "input_rule"]


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
            f'page needs a model that was trained with `resize="{rule.removesuffix(REDUCED)}"`'
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
        "down_first": goes_down_first(),
    }


def goes_down_first() -> bool:
    """Whether tall images are resampled vertically first, as Pillow does from version 13 on.

    The order changes the 8-bit values between the two passes, and therefore the last bit of many
    results. This function tests it on noise, so that the page follows the installed Pillow
    whatever its version number.
    """
    height, width, side = 63, 12, 8
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    narrow = fit(decode(noise), (height, side), "stretch-bilinear")
    across_then_down = fit(decode(narrow), (side, side), "stretch-bilinear")
    at_once = fit(decode(noise), (side, side), "stretch-bilinear")
    return not np.array_equal(at_once, across_then_down)
