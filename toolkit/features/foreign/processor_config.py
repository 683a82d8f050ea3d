"""Reads ``preprocessor_config.json``, which describes Hugging Face's image processors.

The fields and their meaning are those of the image processors of the library transformers, such as
``ViTImageProcessor``, ``CLIPImageProcessor``, ``BitImageProcessor``, ``SiglipImageProcessor`` and
``ConvNextImageProcessor``. A field that changes pixels in a way that is not supported is an error.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Final

from hashkit.errors import ModelError
from hashkit.inputs.json_text import json_shown, parse_json
from hashkit.inputs.opening import read_file
from hashkit.inputs.schema import dataclass_from
from hashkit.inputs.sizes import MAX_SIDE

__all__ = ["CONFIG_NAME", "Cropping", "ProcessorConfig", "read_processor_config"]

CONFIG_NAME: Final = "preprocessor_config.json"

_N_CHANNELS: Final = 3
_FILTERS: Final = {
    0: "nearest",
    1: "lanczos",
    2: "bilinear",
    3: "bicubic",
    4: "box",
    5: "hamming",
}
"""Pillow's filters by number."""

_WARPED_FROM: Final = 384
"""Least edge for which ConvNextImageProcessor stretches instead of cropping."""

_LEAST: Final = 1e-6
_LARGEST: Final = 1e6
"""Beyond these, normalised pixels are not finite in float32, or all the same."""

_REMEDY: Final = "use `preprocessing`, or `pixel_mean` and `pixel_std`, instead of this file"


@dataclasses.dataclass(frozen=True)
class Cropping:
    """How an image becomes an input of one size.

    Attributes
    ----------
    size
        (height, width) of the result, pixels; None if nothing says it.
    edge
        Length to which the shorter side is resized first, pixels; None if both sides are given.
    stretched
        (height, width) to which the whole image is resized first, if ``edge`` is None.
    is_cropped
        Whether the centre is cut out afterwards.
    filter
        Name of Pillow's filter; empty if unknown.
    """

    size: tuple[int, int] | None
    edge: int | None = None
    stretched: tuple[int, int] | None = None
    is_cropped: bool = False
    filter: str = ""


@dataclasses.dataclass(frozen=True)
class ProcessorConfig:
    """The fields that decide about pixels, under their names in the file; None if missing."""

    do_resize: bool | None = None
    size: Any = None
    do_center_crop: bool | None = None
    crop_size: Any = None
    crop_pct: float | None = None
    resample: int | None = None
    do_rescale: bool | None = None
    rescale_factor: float | None = None
    do_normalize: bool | None = None
    image_mean: Any = None
    image_std: Any = None
    do_flip_channel_order: bool | None = None
    rescale_offset: bool | None = None
    include_top: bool | None = None
    do_pad: bool | None = None

    def __post_init__(self) -> None:
        for field in ("do_flip_channel_order", "rescale_offset", "include_top", "do_pad"):
            if getattr(self, field):
                raise ModelError(f"{field}: expected false, found true, which is not supported")
        if self.resample is not None and self.resample not in _FILTERS:
            raise ModelError(f"resample: expected 0 to 5, found {self.resample}")
        for field, values in (
            ("rescale_factor", _three("rescale_factor", self.rescale_factor)),
            ("image_std", _three("image_std", self.image_std)),
        ):
            if values is not None and min(values) < _LEAST:
                raise ModelError(f"{field}: expected {_LEAST:g} or more, found {min(values):g}")
        if self.crop_pct is not None and not 0 < self.crop_pct <= 1:
            raise ModelError(f"crop_pct: expected above 0 and at most 1, found {self.crop_pct:g}")
        self.cropping()
        self.normalisation()

    def normalisation(self) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        """Mean and standard deviation per channel, for pixels 0 to 255; None if not in the file."""
        factor = 1.0
        if self.do_rescale is not False:
            factor = 1 / 255 if self.rescale_factor is None else self.rescale_factor
        mean, std = _three("image_mean", self.image_mean), _three("image_std", self.image_std)
        if self.do_normalize is False:
            mean, std = (0.0,) * 3, (1.0,) * 3
        if mean is None or std is None:
            return None
        return tuple(value / factor for value in mean), tuple(value / factor for value in std)

    def cropping(self) -> Cropping:
        """How images are resized and cropped."""
        crop = _sides("crop_size", self.crop_size)
        is_cropped = crop is not None if self.do_center_crop is None else self.do_center_crop
        crop = crop if is_cropped else None
        edge, stretched = self._resized(is_cropped)
        if self.crop_pct is not None and edge is not None and crop is None:
            whole = (edge, edge)
            if edge < _WARPED_FROM:
                edge, crop = int(edge / self.crop_pct), whole
            else:
                edge, stretched = None, whole
        square = None if edge is None else (edge, edge)
        return Cropping(
            size=crop or stretched or square,
            edge=edge,
            stretched=stretched,
            is_cropped=crop is not None,
            filter="" if self.resample is None else _FILTERS[self.resample],
        )

    def _resized(self, is_cropped: bool) -> tuple[int | None, tuple[int, int] | None]:
        """Shorter side, or (height, width), after resizing; both None without resizing."""
        if self.do_resize is False or self.size is None:
            return (None, None)
        if isinstance(self.size, dict) and self.size.get("shortest_edge") is not None:
            return _side("size.shortest_edge", self.size["shortest_edge"]), None
        # The processors that crop take a single number as the shorter side.
        if isinstance(self.size, int) and is_cropped:
            return _side("size", self.size), None
        return None, _sides("size", self.size)


def read_processor_config(path: Path) -> ProcessorConfig | None:
    """Read a file; None if there is none.

    Raises
    ------
    ModelError
        If it cannot be read, or asks for something that is not supported.
    """
    try:
        data = read_file(path, "json_bytes")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}): {_REMEDY}") from None
    fields = parse_json(data, str(path), ModelError, remedy=_REMEDY)
    return dataclass_from(
        ProcessorConfig,
        fields,
        name=str(path),
        error=ModelError,
        remedy=_REMEDY,
        may_have_more=True,
    )


def _three(field: str, value: Any) -> tuple[float, ...] | None:
    """One number per channel, from a number or a list of 3; None for None."""
    if value is None:
        return None
    numbers = value if isinstance(value, list) else [value] * _N_CHANNELS
    if len(numbers) != _N_CHANNELS or not all(type(one) in (int, float) for one in numbers):
        raise ModelError(f"{field}: expected 3 numbers, found {json_shown(value)}")
    if max(map(abs, numbers)) > _LARGEST:
        raise ModelError(f"{field}: expected numbers from -1e6 to 1e6, found {json_shown(value)}")
    return tuple(float(number) for number in numbers)


def _sides(field: str, value: Any) -> tuple[int, int] | None:
    """(height, width) from a number, a list of 2, or an object with both; None for None."""
    if value is None:
        return None
    if isinstance(value, dict):
        sides = [value.get("height"), value.get("width")]
    else:
        sides = value if isinstance(value, list) else [value, value]
    if len(sides) != 2 or not all(type(side) is int for side in sides):
        raise ModelError(
            f"{field}: expected a number, height and width, or shortest_edge, found "
            f"{json_shown(value)}"
        )
    return _side(field, sides[0]), _side(field, sides[1])


def _side(field: str, value: Any) -> int:
    if type(value) is not int or not 1 <= value <= MAX_SIDE:
        raise ModelError(f"{field}: expected 1 to {MAX_SIDE} pixels, found {json_shown(value)}")
    return value
