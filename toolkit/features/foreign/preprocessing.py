"""What happens to an image before an embedder sees it: resizing and normalisation.

Sources of the presets, as published:

==========  ====================================================================================
preset      source
==========  ====================================================================================
imagenet    torchvision's evaluation of ImageNet models (``Resize(256)``, ``CenterCrop(224)``)
clip        ``_transform`` in ``clip/clip.py`` of openai/CLIP
siglip      ``preprocessor_config.json`` of google/siglip-base-patch16-224
dinov2      ``make_classification_eval_transform`` in ``dinov2/data/transforms.py`` of
            facebookresearch/dinov2
==========  ====================================================================================
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Final

from hashkit.errors import ModelError
from hashkit.features.foreign.processor_config import (
    CONFIG_NAME,
    Cropping,
    ProcessorConfig,
    read_processor_config,
)
from hashkit.runs.embedder_settings import PREPROCESSINGS, EmbedderSettings

__all__ = ["PRESETS", "Preprocessing", "find_preprocessing"]

_BICUBIC: Final = 3
_BILINEAR: Final = 2

PRESETS: Final = {
    "imagenet": ProcessorConfig(
        size={"shortest_edge": 256},
        crop_size=224,
        resample=_BILINEAR,
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
    ),
    "clip": ProcessorConfig(
        size={"shortest_edge": 224},
        crop_size=224,
        resample=_BICUBIC,
        image_mean=[0.48145466, 0.4578275, 0.40821073],
        image_std=[0.26862954, 0.26130258, 0.27577711],
    ),
    "siglip": ProcessorConfig(
        size={"height": 224, "width": 224},
        resample=_BICUBIC,
        image_mean=0.5,
        image_std=0.5,
    ),
    "dinov2": ProcessorConfig(
        size={"shortest_edge": 256},
        crop_size=224,
        resample=_BICUBIC,
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
    ),
}
"""Presets by name."""

_SMOOTH: Final = frozenset({"bicubic", "lanczos"})
"""Filters that bicubic replaces; bilinear replaces the others."""


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """Resizing and normalisation of an embedder's images.

    Attributes
    ----------
    source
        Where it is from.
    size
        (height, width) of the input, pixels; None if the source does not say it.
    resize
        A rule of `hashkit.manifest.RESIZE_RULES`.
    mean, std
        Per channel, for pixels 0 to 255: the input is (pixel - mean) / std.
    asked
        What the source asks for, in words.
    differences
        In which ways ``resize`` differs from that, in words.
    """

    source: str
    size: tuple[int, int] | None
    resize: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    asked: str = ""
    differences: tuple[str, ...] = ()

    def facts(self, size: tuple[int, int]) -> dict[str, Any]:
        """JSON-ready values for the metadata, once the input's size is known."""
        differences = list(self.differences)
        if self.size is not None and self.size != size:
            differences.append(f"asked: {_shown(self.size)} pixels, used: {_shown(size)}")
        return {
            "preprocessing": self.source,
            "resize_asked": self.asked,
            "resize_differences": differences,
            "pixel_mean": list(self.mean),
            "pixel_std": list(self.std),
        }


def find_preprocessing(path: Path, settings: EmbedderSettings) -> Preprocessing:
    """Preprocessing of an ONNX file: a preset, or that of the file beside it, or from settings.

    ``pixel_mean`` and ``pixel_std`` replace the normalisation of the others.

    Raises
    ------
    ModelError
        If nothing says how images are normalised, or the file beside it cannot be used.
    """
    if settings.preprocessing:
        source, config = f"preset {settings.preprocessing}", PRESETS[settings.preprocessing]
    else:
        found = read_processor_config(path.parent / CONFIG_NAME)
        source, config = (CONFIG_NAME, found) if found else ("settings", ProcessorConfig())
    normalisation = config.normalisation()
    if settings.pixel_mean is not None and settings.pixel_std is not None:
        normalisation = settings.pixel_mean, settings.pixel_std
        source = source if source == "settings" else f"{source}, normalisation from settings"
    if normalisation is None:
        raise _not_normalised(path, source)
    cropping = config.cropping()
    shape, asked, differences = _rule(cropping)
    return Preprocessing(
        source=source,
        size=cropping.size,
        resize=f"{shape}-{'bicubic' if cropping.filter in _SMOOTH else 'bilinear'}",
        mean=normalisation[0],
        std=normalisation[1],
        asked=asked,
        differences=(*differences, *_filter_differences(cropping.filter, source)),
    )


def _not_normalised(path: Path, source: str) -> ModelError:
    choices = f"`preprocessing` ({', '.join(PREPROCESSINGS)}), or `pixel_mean` and `pixel_std`"
    if source == CONFIG_NAME:
        return ModelError(
            f"{path.parent / CONFIG_NAME}: expected image_mean and image_std, found none: add "
            f"them, or set {choices}"
        )
    return ModelError(
        f"{path}: expected to know how its images are normalised, found no {CONFIG_NAME} beside "
        f"it: copy that file there, or set {choices}"
    )


def _rule(cropping: Cropping) -> tuple[str, str, list[str]]:
    """First word of the nearest resize rule, what was asked for, and how the rule differs."""
    size, edge = cropping.size, cropping.edge
    if size is None or (edge is None and cropping.stretched is None):
        cut = f"the centre of {_shown(size)} pixels is cut out" if size and edge is None else ""
        return "crop", cut, [f"asked: {cut}; {_USED_CROP}"] if cut else []
    if edge is None:
        asked = f"the whole image is resized to {_shown(cropping.stretched or size)} pixels"
        if size == cropping.stretched:
            return "stretch", asked, []
        asked += f", and the centre of {_shown(size)} is cut out"
        return "stretch", asked, [f"asked: {asked}; used: the whole image, resized"]
    asked = f"the shorter side is resized to {edge} pixels"
    if cropping.is_cropped:
        asked += f", and the centre of {_shown(size)} is cut out"
    # The largest centred square of an image whose shorter side has that length is the same region.
    is_same = cropping.is_cropped and size == (edge, edge)
    return "crop", asked, [] if is_same else [f"asked: {asked}; {_USED_CROP}"]


_USED_CROP: Final = "used: the largest centred region of the input's shape, resized"


def _filter_differences(name: str, source: str) -> list[str]:
    if name in ("bilinear", "bicubic") or source == "settings":
        return []
    used = "bicubic" if name in _SMOOTH else "bilinear"
    return [f"asked: {f'the filter {name}' if name else 'no filter'}, used: {used}"]


def _shown(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
