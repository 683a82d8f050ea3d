"""Settings that say how an ONNX file becomes an embedder; nothing here imports onnx."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Final

from hashkit.errors import ConfigError
from hashkit.inputs.schema import dataclass_from, json_fields
from hashkit.runs.known_names import check_name

__all__ = ["LAYOUTS", "POOLINGS", "PREPROCESSINGS", "EmbedderSettings"]

PREPROCESSINGS: Final = ("imagenet", "clip", "siglip", "dinov2")
"""Names of presets of preprocessing."""

LAYOUTS: Final = ("auto", "nchw", "nhwc")
POOLINGS: Final = ("auto", "none", "class-token", "mean")

_N_CHANNELS: Final = 3
_LARGEST: Final = 1e6
_LEAST_STD: Final = 1e-6
"""Beyond these, normalised pixels are not finite in float32, or all the same."""


@dataclasses.dataclass(frozen=True)
class EmbedderSettings:
    """How an ONNX file is wrapped as an embedder.

    Attributes
    ----------
    preprocessing
        Preset of the normalisation and resizing, one of `PREPROCESSINGS`; otherwise those of
        preprocessor_config.json beside the ONNX file.
    pixel_mean
        Mean of red, green and blue that is subtracted from pixels, 0 to 255.
    pixel_std
        Standard deviation by which pixels are divided after that, 0 to 255.
    layout
        Order of the ONNX input's axes, one of `LAYOUTS`; ``auto`` to take it from the file.
    output
        Tensor of the ONNX file that holds the features; empty for its only output.
    pooling
        How token outputs become one vector, one of `POOLINGS`; ``none`` if they are vectors,
        ``auto`` if nothing has to be chosen.

    Raises
    ------
    ConfigError
        If a value is out of range, or a name is unknown.
    """

    preprocessing: str = ""
    pixel_mean: tuple[float, float, float] | None = None
    pixel_std: tuple[float, float, float] | None = None
    layout: str = "auto"
    output: str = ""
    pooling: str = "auto"

    def __post_init__(self) -> None:
        for field in ("preprocessing", "layout", "output", "pooling"):
            if not isinstance(getattr(self, field), str):
                raise ConfigError(f"`{field}` must be a text, not {getattr(self, field)!r}")
        if self.preprocessing:
            check_name("preprocessing", self.preprocessing, PREPROCESSINGS)
        check_name("layout", self.layout, LAYOUTS)
        check_name("pooling", self.pooling, POOLINGS)
        for field in ("pixel_mean", "pixel_std"):
            if getattr(self, field) is not None:
                object.__setattr__(self, field, _per_channel(field, getattr(self, field)))
        if (self.pixel_mean is None) != (self.pixel_std is None):
            given, other = ("mean", "std") if self.pixel_std is None else ("std", "mean")
            raise ConfigError(
                f"`pixel_{given}` needs `pixel_{other}` beside it, found none: give both, or "
                "neither"
            )
        if self.pixel_std is not None and min(self.pixel_std) < _LEAST_STD:
            raise ConfigError(
                f"`pixel_std` must be {_LEAST_STD:g} or more, not {min(self.pixel_std):g}"
            )

    def refuse(self, name: str) -> None:
        """Raise ConfigError if a setting is given for an embedder that has its own.

        Parameters
        ----------
        name
            Name of the embedder, for the message, such as ``the network timm:resnet50``.
        """
        if self != EmbedderSettings():
            raise ConfigError(
                f"{name} has a preprocessing of its own: leave out `preprocessing`, `pixel_mean`, "
                "`layout`, `output` and `pooling`"
            )

    def to_dict(self) -> dict[str, Any]:
        """Fields as JSON-ready values."""
        return json_fields(dataclasses.asdict(self))

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> EmbedderSettings:
        """Settings of `to_dict`'s values.

        Raises
        ------
        ConfigError
            If a name is not a setting, or a value is wrong.
        """
        return dataclass_from(cls, fields, name="embedder settings", error=ConfigError)


def _per_channel(field: str, values: Any) -> tuple[float, ...]:
    """Three finite numbers."""
    from hashkit.inputs.arguments import real_number

    if isinstance(values, str) or not hasattr(values, "__iter__"):
        raise ConfigError(f"`{field}` must be 3 numbers, not {values!r}")
    numbers = tuple(real_number(value, field) for value in values)
    if len(numbers) != _N_CHANNELS:
        raise ConfigError(
            f"`{field}` must be 3 numbers, one per channel, not {len(numbers)}: red, green, blue"
        )
    if max(map(abs, numbers)) > _LARGEST:
        raise ConfigError(f"`{field}` must be between -1e6 and 1e6, not {numbers}")
    return numbers
