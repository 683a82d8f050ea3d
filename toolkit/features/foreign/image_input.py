"""The image input of an ONNX graph: its type, layout, batch and size."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray

from hashkit.errors import ConfigError, ModelError
from hashkit.features.foreign.graph_parts import described
from hashkit.inputs.limits import TooLargeError, check_limit
from hashkit.inputs.sizes import checked_input_size

__all__ = ["ImageInput", "find_image_input", "input_size"]

_FLOAT, _HALF = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16
_N_AXES: Final = 4
_CHANNEL_AXES: Final = {"nchw": 1, "nhwc": 3}
_SIDE_AXES: Final = {"nchw": (2, 3), "nhwc": (1, 2)}
_N_CHANNELS: Final = 3
_MIN_SIDE: Final = 8


@dataclasses.dataclass(frozen=True)
class ImageInput:
    """An input that takes normalised images.

    Attributes
    ----------
    name
        Its name in the graph.
    is_half
        Whether it is float16; otherwise it is float32.
    batch
        Fixed number of images; None if it is dynamic.
    sides
        (height, width) by possible layout, pixels; None where it is dynamic.
    """

    name: str
    is_half: bool
    batch: int | None
    sides: dict[str, tuple[int | None, int | None]]

    def sample(self, layout: str, size: tuple[int, int], path: Path) -> NDArray[np.floating[Any]]:
        """A value for the input: its fixed number of images, or one.

        Raises
        ------
        ModelError
            If the file, named for the message, asks for more pixels than allowed.
        """
        n_images = self.batch or 1
        try:
            check_limit("image_pixels", n_images * size[0] * size[1], "its fixed batch", path)
        except TooLargeError as error:
            raise ModelError(
                f"{path}: {error.strerror}, or export it with a dynamic first axis"
            ) from None
        shape = (3, *size) if layout == "nchw" else (*size, 3)
        return np.zeros((n_images, *shape), np.float16 if self.is_half else np.float32)


def find_image_input(
    inputs: Sequence[onnx.ValueInfoProto], layout: str, output: str, path: Path
) -> ImageInput:
    """The only input that an output depends on, if images can be put into it.

    Parameters
    ----------
    inputs
        The inputs that the output depends on.
    layout
        ``nchw``, ``nhwc``, or ``auto`` for any that its shape allows.
    output, path
        Name of the output, and the file, for messages.

    Raises
    ------
    ModelError
        If there is another number of inputs, or it is not float [N, 3, H, W] or [N, H, W, 3].
    """
    if len(inputs) != 1:
        found = f"{len(inputs)}: {described(inputs)}" if inputs else "none"
        raise ModelError(
            f"{path}: expected one image input for the output {output}, found {found}: export the "
            "image part alone, or choose another `output`"
        )
    value = inputs[0]
    tensor = value.type.tensor_type
    sides = [side.dim_value if side.dim_value > 0 else None for side in tensor.shape.dim]
    if tensor.elem_type not in (_FLOAT, _HALF):
        raise _unfit(path, value, "a float32 or float16 image input", _remedy(tensor.elem_type))
    if len(sides) != _N_AXES:
        raise _unfit(path, value, "images [N, 3, H, W] or [N, H, W, 3]", "export it with 4 axes")
    allowed = _CHANNEL_AXES if layout == "auto" else {layout: _CHANNEL_AXES[layout]}
    fitting = {name: _sides(sides, name) for name, at in allowed.items() if _fits(sides, at)}
    if layout == "auto":
        fitting = _plausible(fitting)
    if not fitting:
        shapes = {"nchw": "[N, 3, H, W]", "nhwc": "[N, H, W, 3]"}
        expected = " or ".join(shapes[name] for name in allowed)
        raise _unfit(
            path,
            value,
            f"RGB images {expected}",
            "export a network for 3 channels, or set `layout`",
        )
    return ImageInput(value.name, tensor.elem_type == _HALF, sides[0], {**fitting})


def input_size(
    sides: tuple[int | None, int | None],
    asked: tuple[int, int] | None,
    usual: tuple[int, int] | None,
    path: Path,
) -> tuple[int, int]:
    """Input size as (height, width), pixels.

    Parameters
    ----------
    sides
        Those that the graph fixes.
    asked
        What the user wants; None for anything.
    usual
        Size of the preprocessing; None if unknown.

    Raises
    ------
    ConfigError
        If the graph has another size than was asked for, or nothing says the size.
    """
    both = asked or usual
    if both is None and None in sides:
        raise ConfigError(
            f"{path}: expected an input size, found a graph that takes any: set `size`, such as 224"
        )
    height, width = (fixed or free for fixed, free in zip(sides, both or (0, 0), strict=True))
    if asked is not None and asked != (height, width):
        raise ConfigError(
            f"{path}: expected the `size` that the graph has, {height} x {width} pixels, found "
            f"{asked[0]} x {asked[1]}: leave it out, or export the model with dynamic sides"
        )
    try:
        return checked_input_size(height, width, ConfigError)
    except ConfigError as error:
        raise ConfigError(
            f"{path}: {error}: set another `size`, or export it for a smaller one"
        ) from None


def _fits(sides: Sequence[int | None], channel_axis: int) -> bool:
    return sides[channel_axis] in (None, _N_CHANNELS)


def _sides(sides: Sequence[int | None], layout: str) -> tuple[int | None, int | None]:
    down, across = _SIDE_AXES[layout]
    return sides[down], sides[across]


def _plausible(
    fitting: dict[str, tuple[int | None, int | None]],
) -> dict[str, tuple[int | None, int | None]]:
    """Layouts without a tiny side: in 3 x 224 pixels, the 3 are the channels."""
    return {
        name: both
        for name, both in fitting.items()
        if all(side is None or side >= _MIN_SIDE for side in both)
    }


def _remedy(elem_type: int) -> str:
    if elem_type == onnx.TensorProto.UINT8:
        return "export the network without its own normalisation, so that it takes floats"
    return "export the image part, with a float input"


def _unfit(path: Path, value: onnx.ValueInfoProto, expected: str, remedy: str) -> ModelError:
    return ModelError(f"{path}: expected {expected}, found {described([value])}: {remedy}")
