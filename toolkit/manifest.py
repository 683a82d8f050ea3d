"""The manifest: a model's metadata, stored in checkpoints, ONNX files and code banks.

In an ONNX file, each field is an entry ``hashkit.<field>`` of ``metadata_props``, with a JSON
value. All are optional in models from other programs: bits and input size are read from the graph,
and the other fields keep their defaults.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, Final

from hashkit.errors import ModelError
from hashkit.inputs.arguments import argument_shown, whole_number
from hashkit.inputs.json_text import parse_json
from hashkit.inputs.schema import dataclass_from
from hashkit.inputs.sizes import checked_input_size, checked_n_bits

__all__ = ["FORMAT_VERSION", "PREFIX", "REDUCED", "RESIZE_RULES", "WHOLE_RULES", "Manifest"]

FORMAT_VERSION: Final = 1
PREFIX: Final = "hashkit."

WHOLE_RULES: Final = ("crop-bilinear", "stretch-bilinear", "crop-bicubic", "stretch-bicubic")
"""Resize rules that decode every image at its full size."""

REDUCED: Final = "-reduced"

RESIZE_RULES: Final = (*WHOLE_RULES, *(rule + REDUCED for rule in WHOLE_RULES))
"""How images are resized to the model's input size.

``crop`` takes the largest centred region with the target's aspect ratio, ``stretch`` the whole
image; both then resample with the antialiased Pillow filter named by the second word. ``reduced``
is for photographs: a large enough JPEG file is first decoded at a fraction of its size
(`hashkit.imaging.jpeg_reduction.reduction`), which is several times as fast and changes some pixels
slightly. So it is a separate rule: a model always uses the same rule for all images.
"""


@dataclasses.dataclass(frozen=True)
class Manifest:
    """A description of one model.

    Attributes
    ----------
    n_bits
        Number of bits of a code, at most 65,536.
    height, width
        Input size in pixels, at most 65,536 each.
    resize
        One of `RESIZE_RULES`.
    network, loss, recipe
        How the model was made; empty if unknown. ``recipe`` may include deviations from the recipe.
    dataset, protocol
        The dataset that the model was trained on, and its split; empty if unknown.
    class_names
        Names of the classes used in training, by label; empty if there were none.
    seed
        Seed of the training, if known.
    weights_sha256
        Hexadecimal SHA-256 of the weights that the model was made from; empty if unknown.
    versions
        Versions of the libraries that made the model, by name.
    format_version
        Version of the manifest's format.

    Raises
    ------
    ModelError
        If a value is out of range, or the format version is unknown.
    """

    n_bits: int
    height: int
    width: int
    resize: str = "crop-bilinear"
    network: str = ""
    loss: str = ""
    recipe: str = ""
    dataset: str = ""
    protocol: str = ""
    class_names: tuple[str, ...] = ()
    seed: int | None = None
    weights_sha256: str = ""
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        _check_version(self.format_version)
        height, width = checked_input_size(self.height, self.width, ModelError)
        for field, value in (
            ("n_bits", checked_n_bits(self.n_bits, error=ModelError)),
            ("height", height),
            ("width", width),
        ):
            object.__setattr__(self, field, value)
        if self.seed is not None:
            whole_number(self.seed, "seed", -(2**63), 2**63 - 1, error=ModelError)
        if self.resize not in RESIZE_RULES:
            raise ModelError(
                f"manifest: unknown resize rule {self.resize!r}; known: {', '.join(RESIZE_RULES)}"
            )

    @property
    def size(self) -> tuple[int, int]:
        """Input size as (height, width), pixels."""
        return self.height, self.width

    def to_dict(self) -> dict[str, Any]:
        """Fields as JSON-ready values."""
        fields = dataclasses.asdict(self)
        fields["class_names"] = list(self.class_names)
        fields["versions"] = dict(self.versions)
        return fields

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Manifest:
        """Manifest from the values of `to_dict`; unknown fields are ignored.

        Raises
        ------
        ModelError
            If a required field is missing or a value is invalid.
        """
        if isinstance(fields, Mapping):
            # A later version may have other types, so its number comes first.
            _check_version(fields.get("format_version", FORMAT_VERSION))
            fields = {
                name: value for name, value in fields.items() if value is not None or name == "seed"
            }
        return dataclass_from(cls, fields, name="manifest", error=ModelError, may_have_more=True)

    def to_metadata(self) -> dict[str, str]:
        """Entries for an ONNX file's ``metadata_props``."""
        return {PREFIX + name: json.dumps(value) for name, value in self.to_dict().items()}

    @classmethod
    def from_metadata(
        cls, metadata: Mapping[str, str], *, n_bits: int, height: int, width: int
    ) -> Manifest:
        """Manifest of an ONNX file.

        Parameters
        ----------
        metadata
            The file's ``metadata_props``.
        n_bits, height, width
            From the shapes of the graph; metadata that contradicts them is an error.

        Raises
        ------
        ModelError
            If an entry is not JSON, or contradicts the graph.
        """
        fields: dict[str, Any] = {"n_bits": n_bits, "height": height, "width": width}
        for key, text in metadata.items():
            if not key.startswith(PREFIX):
                continue
            name = key.removeprefix(PREFIX)
            value = parse_json(text, f"metadata {key}", ModelError)
            if name in fields and value != fields[name]:
                raise ModelError(
                    f"metadata says {name} = {value!r}, but the graph has {fields[name]}: "
                    "export the model again"
                )
            fields[name] = value
        return cls.from_dict(fields)


def _check_version(version: object) -> None:
    if version != FORMAT_VERSION:
        raise ModelError(
            f"expected a manifest of format version {FORMAT_VERSION}, found "
            f"{argument_shown(version)}: use the hashkit release that wrote it, or export again"
        )
