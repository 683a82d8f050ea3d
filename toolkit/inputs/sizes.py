"""Code lengths and input sizes of models, within what hashkit works with."""

from __future__ import annotations

from typing import Final

from hashkit.errors import CodesError, HashkitError
from hashkit.inputs.arguments import whole_number
from hashkit.inputs.limits import TooLargeError, check_limit

__all__ = ["MAX_BITS", "MAX_SIDE", "checked_input_size", "checked_n_bits"]

MAX_BITS: Final = 65_536
"""Largest number of bits of a code."""

MAX_SIDE: Final = 65_536
"""Largest height and width of a model's input, pixels."""


def checked_n_bits(
    value: object, name: str = "n_bits", error: type[HashkitError] = CodesError
) -> int:
    """A number of bits.

    Raises
    ------
    HashkitError
        ``error``, if it is not a whole number from 1 to 65,536.
    """
    return whole_number(value, name, 1, MAX_BITS, error)


def checked_input_size(height: object, width: object, error: type[HashkitError]) -> tuple[int, int]:
    """Height and width of images for a model, in pixels.

    Raises
    ------
    HashkitError
        ``error``, if one is not a whole number from 1 to 65,536, or the image has more pixels than
        `hashkit.set_limits` allows for an image that is read.
    """
    size = (
        whole_number(height, "height", 1, MAX_SIDE, error),
        whole_number(width, "width", 1, MAX_SIDE, error),
    )
    try:
        check_limit("image_pixels", size[0] * size[1], "the model's input", "")
    except TooLargeError as fault:
        raise error(str(fault.strerror)) from None
    return size
