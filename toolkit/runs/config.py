"""Settings of a training run, from which the command's flags and config.json are made.

Nothing here imports torch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from hashkit.errors import ConfigError
from hashkit.inputs.arguments import argument_shown
from hashkit.inputs.schema import json_fields
from hashkit.inputs.sizes import checked_n_bits
from hashkit.manifest import REDUCED, RESIZE_RULES, WHOLE_RULES
from hashkit.runs.embedder_settings import EmbedderSettings
from hashkit.runs.known_names import (
    ACTIVATIONS,
    CHOICES,
    FITTED,
    FROM_VIEWS,
    NETWORK_OPTIONS,
    check_loss_options,
    check_name,
    check_network_options,
    split_loss,
    split_network,
)
from hashkit.runs.setting_kinds import checked_kind
from hashkit.runs.setting_ranges import MIN_INPUT_SIZE, check_ranges

__all__ = [
    "LOSS_OPTIONS",
    "MIN_INPUT_SIZE",
    "PRECISIONS",
    "SHORT_NAMES",
    "LossDefault",
    "TrainConfig",
    "checked_settings",
]

PRECISIONS = ("fp32", "bf16", "fp16")

_NAMES = {
    "activation": ACTIVATIONS,
    "resize": RESIZE_RULES,
    "precision": PRECISIONS,
    **CHOICES,
}
"""Names that settings may have, by setting."""

SHORT_NAMES = {"lengths": "bits", "learning_rate": "lr"}
"""Names of settings in flags and in `hashkit.train`, where they differ from the field."""

N_VIEWS = 4
"""Views of an image on frozen features, where the settings leave the number open."""

LOSS_OPTIONS = (
    "margin",
    "scale",
    "quantisation",
    "label_smoothing",
    "temperature",
    "average",
    "epsilon",
)
"""Settings that belong to a loss; None stands for the loss's own value, usually its paper's."""


@dataclasses.dataclass(frozen=True)
class LossDefault:
    """Default of a loss option: a value with one loss, None with the others.

    A `TrainConfig` never holds it: where the option is not given, it has the value or None.
    """

    loss: str
    value: float

    def __str__(self) -> str:
        return f"{self.value:g} with {self.loss}"

    def of(self, loss: str) -> float | None:
        """The default with a loss."""
        return self.value if loss == self.loss else None


def _setting(default: Any, text: str) -> Any:
    """A field with its help text."""
    return dataclasses.field(default=default, metadata={"help": text})


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Settings of a training run; each field's ``help`` describes it.

    The defaults are the recipe ``best``. With another loss, the options of its loss are not set.
    ``recipe`` is the name of the recipe that the settings started from; models also record what
    differs from it (`hashkit.training.recipes.describe_recipe`).

    Raises
    ------
    ConfigError
        If a value is out of range, or a name is unknown.
    """

    recipe: str = _setting("best", "Recipe that the other settings start from; see --list-recipes.")
    network: str = _setting("compact", "Network; see hashkit train --list-recipes.")
    activation: str | None = _setting(
        None, "Activation of a compact network: relu (its own), celu or gelu."
    )
    patch: int | None = _setting(
        None, "Side of the patches that a compact network whitens first, in pixels; its own is 2."
    )
    pretrained: bool = _setting(True, "Start from pretrained weights, if the network has any.")
    lengths: tuple[int, ...] = _setting(
        (48,), "Code length; several (12,24,48) share one network and make one run each."
    )
    height: int = _setting(32, "Input height in pixels.")
    width: int = _setting(32, "Input width in pixels.")
    resize: str = _setting(
        "crop-bilinear",
        f"Resize rule: {', '.join(WHOLE_RULES)}; append {REDUCED} for photographs.",
    )
    preprocessing: str = _setting(
        "", "Preset of an embedder's preprocessing; empty to read preprocessor_config.json."
    )
    pixel_mean: tuple[float, ...] = _setting((), "Mean per channel of an embedder's input, 0..255.")
    pixel_std: tuple[float, ...] = _setting(
        (), "Standard deviation of an embedder's input, per channel."
    )
    layout: str = _setting("auto", "Layout of an embedder's input: nchw, nhwc or auto.")
    output: str = _setting("", "Output of an embedder; empty for its only one.")
    pooling: str = _setting(
        "auto", "Pooling of an embedder's tokens: class-token, mean, none or auto."
    )
    dropout: float = _setting(0.0, "Fraction of features dropped.")
    standardise: bool = _setting(True, "Keep each logit at mean 0 and variance 1 over a batch.")
    mirror: bool = _setting(
        True,
        "Average the trained model's logits of an image and its mirror image, if training mirrors.",
    )
    calibrate: bool = _setting(True, "Adjust random weights to the training images.")
    hidden: int = _setting(0, "Units of a hidden layer on frozen features; 0 for none.")
    start: str = _setting(
        "random", "Initial weights of linear heads on frozen features: random or itq."
    )
    views: int = _setting(
        0, f"Views of an image on frozen features, with cibhash; 0 for {N_VIEWS}, 1 for none."
    )
    freeze: int = _setting(0, "Number of first stages of the network to freeze; -1 for all.")
    head_first: float = _setting(
        0.0, "Fraction of the run, from its start, in which only the heads learn; 0 for none."
    )
    stage_decay: float = _setting(
        1.0, "Ratio of a stage's learning rate to that of the next stage; 1 for equal rates."
    )
    loss: str = _setting("orthohash", "Loss; see hashkit train --list-recipes.")
    margin: float | None = _setting(None, "The loss's margin.")
    scale: float | None = _setting(
        LossDefault("orthohash", 4.0), "The loss's scale of similarities."
    )
    quantisation: float | None = _setting(None, "Weight of the loss's quantisation term.")
    label_smoothing: float | None = _setting(
        LossDefault("orthohash", 0.1), "Fraction of the target spread over all classes."
    )
    temperature: float | None = _setting(None, "Temperature of a contrastive loss.")
    average: str | None = _setting(
        None, "Average the triplet hinge over active triplets (above 0) or over all valid ones."
    )
    epsilon: float | None = _setting(
        None,
        "Half-width of the triplet loss's undecided zone, 0.5 for none; slack of the "
        "mining of multi-similarity.",
    )
    distill: float = _setting(
        0.0, "Weight of preserving the similarities of frozen features in the codes; 0 for none."
    )
    batch_size: int = _setting(
        100, "Images per step; triplets per step when they come from a list."
    )
    images_per_class: int = _setting(
        0, "Images of a class kept together in a batch; 0 for automatic, 1 to shuffle all."
    )
    sampler: str = _setting(
        "shuffled",
        "Images of batches: shuffled (each once per epoch) or balanced (equally many per class).",
    )
    epochs: float = _setting(30.0, "Passes over the training images.")
    steps: int | None = _setting(None, "Number of steps, instead of epochs.")
    optimiser: str = _setting("muon", "Optimiser: muon or sgd.")
    learning_rate: float = _setting(0.03, "Peak learning rate.")
    schedule: str = _setting(
        "one-cycle", "Learning-rate policy: constant, multistep, cosine or one-cycle."
    )
    milestones: tuple[float, ...] = _setting(
        (0.6, 0.7), "Fractions of the run after which multistep multiplies the rate by gamma."
    )
    gamma: float = _setting(0.1, "Factor of multistep.")
    warmup_steps: int = _setting(0, "Steps over which the rate rises from 0.")
    momentum: float = _setting(0.9, "Momentum of gradient descent.")
    nesterov: bool = _setting(True, "Nesterov's form of momentum.")
    weight_decay: float = _setting(5e-4, "Weight decay; not applied to biases.")
    centralise: bool = _setting(False, "Centralise the gradients of matrices and kernels.")
    clip_norm: float = _setting(0.0, "Largest norm of the gradient; 0 for no limit.")
    sam: float = _setting(
        0.0, "Radius of sharpness-aware minimisation, which doubles a step's work; 0 for none."
    )
    sam_start: float = _setting(
        0.0, "Fraction of the run after which sharpness-aware minimisation begins."
    )
    ema: float = _setting(
        0.0, "Decay per step of the average of the weights, which is then the model; 0 for none."
    )
    augmentation: str = _setting(
        "auto", "Augmentation; auto chooses by image set, see docs/training.md."
    )
    policy: str = _setting(
        "none", "Random operations on each image: none, trivial (TrivialAugment) or rand."
    )
    cutout: float = _setting(
        0.25, "Side of the masked square, as a fraction of the image's; 0 for none."
    )
    cutmix: float = _setting(
        0.0,
        "Fraction of batches in which a part of each image is replaced by another's; needs labels.",
    )
    unlabelled_ratio: int = _setting(
        0, "Unlabelled images per labelled image in a step, if there are any; 0 for none."
    )
    unlabelled_weight: float = _setting(1.0, "Weight of the loss on unlabelled images.")
    confidence: float = _setting(
        0.0, "Probability from which an unlabelled image's class is trusted; 0 adapts it."
    )
    strong_policy: str = _setting(
        "rand", "Policy of operations on the unlabelled images that learn a trusted class."
    )
    strong_cutout: float = _setting(0.5, "Side of the masked square in these images.")
    holdout: float = _setting(
        0.1,
        "Fraction of the training images held out to select the checkpoint; 0 keeps the last.",
    )
    validate_epochs: int = _setting(5, "Epochs between two validations.")
    snapshot_steps: int = _setting(
        0, "Steps between snapshots; 0 makes one per epoch, 10 seconds apart or more."
    )
    keep_snapshots: int = _setting(2, "Number of snapshots to keep; 0 keeps all.")
    display_steps: int = _setting(50, "Steps between two lines of metrics.jsonl.")
    precision: str = _setting("fp32", "fp32, or mixed precision: bf16, or fp16 on a GPU.")
    channels_last: bool = _setting(True, "Channels-last layout of the convolutions.")
    seed: int = _setting(0, "Random seed of the training.")

    def __post_init__(self) -> None:
        values = {
            name: value for name, value in vars(self).items() if not isinstance(value, LossDefault)
        }
        for name, value in checked_settings(values).items():
            object.__setattr__(self, name, value)
        for name in LOSS_OPTIONS:
            default = getattr(self, name)
            if isinstance(default, LossDefault):
                object.__setattr__(self, name, default.of(self.loss))
        check_network_options(self.network, self.network_options)
        check_loss_options(self.loss, self.loss_options)
        if self.nesterov and not self.momentum:
            raise ConfigError(
                "`nesterov=True` needs a `momentum` above 0, not 0: raise it, or set "
                "`nesterov=False`"
            )
        if self.sam_start and not self.sam:
            raise ConfigError("`sam_start` needs a `sam` above 0, not 0: set it, or leave both out")
        self._check_features()

    @property
    def network_options(self) -> dict[str, str | int]:
        """The options of `NETWORK_OPTIONS` that are set, by name."""
        values = {name: getattr(self, name) for name in NETWORK_OPTIONS}
        return {name: value for name, value in values.items() if value is not None}

    @property
    def has_embedder(self) -> bool:
        """Whether codes are learned on the features of a frozen embedder, ``onnx:...``."""
        return split_network(self.network)[0] == "onnx"

    @property
    def is_fitted(self) -> bool:
        """Whether a head is fitted in place of learning by gradients."""
        return self.loss in FITTED

    @property
    def learns_from_views(self) -> bool:
        """Whether the loss compares views of images whose features an embedder computes."""
        return self.has_embedder and self.loss in FROM_VIEWS

    @property
    def n_views(self) -> int:
        """Views of each image that an embedder is run on."""
        return (self.views or N_VIEWS) if self.learns_from_views else 1

    @property
    def embedder_settings(self) -> EmbedderSettings:
        """How an embedder's images are prepared, and which output is used."""
        per_channel: dict[str, Any] = {
            "pixel_mean": self.pixel_mean or None,
            "pixel_std": self.pixel_std or None,
        }
        return EmbedderSettings(
            preprocessing=self.preprocessing,
            layout=self.layout,
            output=self.output,
            pooling=self.pooling,
            **per_channel,
        )

    def _check_features(self) -> None:
        settings = self.embedder_settings  # raises if a value is wrong
        if self.views and not self.learns_from_views:
            raise ConfigError(
                f"`views` goes with a loss that learns from views ({', '.join(FROM_VIEWS)}) and an "
                f'embedder, `network="onnx:FILE"`, not with {self.loss} and {self.network}: '
                "leave it out"
            )
        if self.start != "random" and (self.hidden or self.is_fitted or not self.has_embedder):
            raise ConfigError(
                f'`start="{self.start}"` goes with a loss and linear heads on frozen features: '
                'leave it out, or set `hidden=0` and name an embedder, `network="onnx:FILE"`'
            )
        if self.has_embedder:
            if self.head_first:
                raise ConfigError(
                    "`head_first` does not go with frozen features, on which only heads learn "
                    "anyway: leave it out"
                )
            return
        if settings != EmbedderSettings():
            raise ConfigError(
                "`preprocessing`, `pixel_mean`, `pixel_std`, `layout`, `output` and `pooling` go "
                'with an embedder: name one, as in `network="onnx:FILE"`'
            )
        if self.is_fitted:
            raise ConfigError(
                f"the method {self.loss} is fitted to the features of a frozen embedder, found the "
                f"network {self.network}: name an embedder, as in "
                '`network="onnx:efficientnet-lite0"`; torch.onnx.export makes one of your network'
            )
        if self.hidden:
            raise ConfigError(
                "`hidden` goes with frozen features: name an embedder, as in "
                '`network="onnx:efficientnet-lite0"`'
            )

    @property
    def loss_options(self) -> dict[str, float | str]:
        """The options in `LOSS_OPTIONS` that are set, by name."""
        values = {name: getattr(self, name) for name in LOSS_OPTIONS}
        return {name: value for name, value in values.items() if value is not None}

    def to_dict(self) -> dict[str, Any]:
        """Fields as JSON-ready values."""
        return json_fields(dataclasses.asdict(self))

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> TrainConfig:
        """Settings of `to_dict`'s values.

        Raises
        ------
        ConfigError
            If a name is not a setting, or a value is wrong.
        """
        unknown = fields.keys() - {field.name for field in dataclasses.fields(cls)}
        if unknown:
            raise ConfigError(f"unknown settings: {', '.join(sorted(unknown))}")
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in fields.items()
        }
        return cls(**values)


def checked_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by field of `TrainConfig`, some or all; each is checked by itself.

    Raises
    ------
    ConfigError
        If a value is of another type, out of its range or an unknown name.
    """
    kinds = {field.name: str(field.type) for field in dataclasses.fields(TrainConfig)}
    checked = {name: checked_kind(name, kinds[name], value) for name, value in settings.items()}
    if "network" in checked:
        split_network(checked["network"])
    if "loss" in checked:
        split_loss(checked["loss"])
    for field, names in _NAMES.items():
        if checked.get(field) is not None:
            check_name(field, checked[field], names)
    check_ranges(checked)
    if "lengths" in checked:
        _check_lengths(checked["lengths"])
    return checked


def _check_lengths(lengths: tuple[int, ...]) -> None:
    if not lengths or len(set(lengths)) < len(lengths):
        shown = ",".join(map(argument_shown, lengths)) or "none"
        raise ConfigError(f"`lengths` must be one or more different numbers, not {shown}")
    for n_bits in lengths:
        checked_n_bits(n_bits, "lengths", ConfigError)
