"""The recipe that fits the images, where none was named."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from hashkit.datasets.imageset import ImageSet
from hashkit.runs.known_names import (
    BUILT_IN_EMBEDDERS,
    EXPORTED_NETWORKS,
    FITTED,
    split_network,
)
from hashkit.training.recipes import RECIPES
from hashkit.workflow.reporter import Reporter, plural

if TYPE_CHECKING:
    from hashkit.features.nearest_mean import Separation

__all__ = ["chosen_settings", "odd_class_names"]

_ODD_NAME: Final = re.compile(
    r"""
    (19|20)\d\d                                    # 2021, 2021-05, 2021 summer
    | \d{1,2}[-_. ]\d{1,2}([-_. ]\d{2,4})?$        # 05-2021
    | \d{3}(_?pana|canon|nikon|olymp|apple|msdcf|_fuji|media)
    | (camera|kamera|dcim|whatsapp|telegram|instagram|screenshots?|downloads?|backups?|old|new
       |misc|various|other|sorted|unsorted|import(ed)?|export(ed)?|album|photos?|pictures?|images?
       |jan(uary)?|feb(ruary)?|mar(ch)?|apr(il)?|may|june?|july?|aug(ust)?|sep(t(ember)?)?
       |oct(ober)?|nov(ember)?|dec(ember)?)
      ([-_. ]?(images|pictures|photos|roll|\d+))?$
    """,
    re.IGNORECASE | re.VERBOSE,
)
"""Beginnings of folder names that say when or how images arrived, not what they show."""

_SHARE: Final = 0.3


def chosen_settings(
    settings: Mapping[str, Any],
    images: ImageSet,
    reporter: Reporter,
    *,
    has_others: bool = False,
    training: NDArray[np.int64] | None = None,
) -> dict[str, Any]:
    """Settings with the recipe that fits the images, if none was named; the choice is noted.

    Images without labels get ``unlabelled``, unless a loss or a network was named; an embedder,
    ``onnx:...``, gets ``features`` or ``unlabelled``. It is noted whether names and images of
    folders look like classes.

    Parameters
    ----------
    settings
        The changes that the user gave, by field of `hashkit.runs.config.TrainConfig`.
    has_others
        Whether there are further images, to be learned from without labels.
    training
        Rows whose features are compared with their classes, if the recipe needs these; None to
        judge classes by their names alone.
    """
    chosen = _with_frozen_network(settings, reporter)
    if "recipe" in chosen:
        return chosen
    if has_others and "unlabelled_ratio" not in chosen:
        chosen["recipe"] = "few-labels"
        reporter.note("recipe few-labels: it learns from the unlabelled images too")
        return chosen
    has_embedder = "network" in chosen and split_network(chosen["network"])[0] == "onnx"
    is_fitted = chosen.get("loss") in FITTED
    if has_embedder or is_fitted:
        without_labels = is_fitted or (images.labels is None and "loss" not in chosen)
        chosen["recipe"] = "unlabelled" if without_labels else "features"
        reporter.note(f"recipe {chosen['recipe']}: it fits a head on an embedder's features")
    elif images.labels is None and not chosen.keys() & {"network", "loss"}:
        chosen["recipe"] = "unlabelled"
        reporter.note(
            f"recipe unlabelled: {images.name} has no folder for each class, so there are no "
            "labels to learn from"
        )
    elif images.labels is not None:
        seen = None
        if training is not None and not chosen.keys() & {"network", "loss"}:
            seen = _seen_classes(images, training, reporter)
        if text := _class_note(images, seen):
            reporter.note(text)
    return chosen


def _with_frozen_network(settings: Mapping[str, Any], reporter: Reporter) -> dict[str, Any]:
    """Settings with a torch network as an embedder, if the loss or the recipe is for embedders."""
    chosen = dict(settings)
    recipe = RECIPES.get(chosen.get("recipe", ""))
    needs_embedder = chosen.get("loss") in FITTED or (recipe and recipe.config.has_embedder)
    if "network" in chosen and needs_embedder:
        kind, _ = split_network(chosen["network"])
        if kind in EXPORTED_NETWORKS or chosen["network"] in BUILT_IN_EMBEDDERS:
            chosen["network"] = f"onnx:{chosen['network']}"
            reporter.note(f"network {chosen['network']}: frozen, as an embedder in ONNX")
    return chosen


def odd_class_names(names: Sequence[str]) -> list[str]:
    """Names of folders that say when or how their images arrived; empty if they are few."""
    odd = [name for name in names if _ODD_NAME.match(name)]
    return odd if len(odd) >= max(1, _SHARE * len(names)) else []


def _seen_classes(
    images: ImageSet, training: NDArray[np.int64], reporter: Reporter
) -> Separation | None:
    if images.root is None or images.is_multi_label:
        return None
    from hashkit.workflow.class_check import seen_classes

    return seen_classes(images, training, reporter)


def _class_note(images: ImageSet, seen: Separation | None) -> str:
    """What names and images say about the classes; empty if there is nothing to say."""
    odd = odd_class_names(images.class_names)
    found = "" if seen is None else f"{_seen_text(seen)}; "
    if not odd and (seen is None or seen.is_clear):
        use = '`recipe="features"` learns from such features in minutes'
        return f"{images.name}: {found}{use}" if found else ""
    if odd:
        about = (
            f"{plural(len(odd), 'folder')} of {len(images.class_names)} do not look like classes "
            f"({', '.join(odd[:3])}), and codes learn to tell the folders apart"
        )
    else:
        about = "the images do not show the classes"
    return (
        f"warning: {images.name}: {about}; {found}"
        'to search by what images show, use `recipe="unlabelled"`'
    )


def _seen_text(seen: Separation) -> str:
    share, chance = (f"{value:.2f}".lstrip("0") for value in (seen.accuracy, seen.chance))
    return (
        f"a frozen network finds the class of {share} of {plural(seen.n_images, 'image')} "
        f"({chance} by chance)"
    )
