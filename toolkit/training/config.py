"""Settings of a training run; the command's flags and config.json come from here.

Importing this module does not import torch: names are checked when settings are made.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from hashkit.codes import MAX_BITS
from hashkit.errors import ConfigError
from hashkit.manifest import RESIZE_RULES

__all__ = ["MAX_BATCH_SIZE", "MIN_INPUT_SIZE", "PRECISIONS", "TrainConfig"]

PRECISIONS = ("fp32", "bf16", "fp16")

AVERAGES = ("active", "valid")

MAX_BATCH_SIZE = 512
"""All triplets of a batch are compared, batch size cubed of them: 0.5 GiB at 512."""

MIN_INPUT_SIZE = 8
"""Smallest height and width, pixels: three pools of stride 2 must leave something."""


def _setting(default: Any, text: str) -> Any:
    """A field with what ``--help`` says of it."""
    return dataclasses.field(default=default, metadata={"help": text})


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Settings of a training run; each field's ``help`` says what it is.

    Raises
    ------
    ConfigError
        When a value is out of range or of an unknown name.
    """

    network: str = _setting("dnnh", "Network: dnnh (the paper's) or dnnh-caffe (its Caffe form).")
    n_bits: int = _setting(48, "Bits of a code.")
    height: int = _setting(32, "Input height in pixels.")
    width: int = _setting(32, "Input width in pixels.")
    resize: str = _setting("crop-bilinear", f"Resize rule: {', '.join(RESIZE_RULES)}.")
    dropout: float = _setting(0.0, "Share of features dropped, after two of the pools.")
    epsilon: float = _setting(
        0.5,
        "Half-width of the piece-wise threshold's undecided zone (dnnh); 0.5 switches it off.",
    )
    standardise: bool = _setting(
        True, "Keep each logit at mean 0 and variance 1 over a batch (dnnh; not in the paper)."
    )
    loss: str = _setting("triplet", "Loss: triplet (ranking hinge).")
    margin: float = _setting(2.0, "Bits by which dissimilar must be farther than similar.")
    average: str = _setting(
        "active", "Mean of the hinge over: active triplets (above 0) or all valid ones."
    )
    batch_size: int = _setting(100, "Images a step; triplets a step when they come from a list.")
    images_per_class: int = _setting(
        0, "Images of a class that stay together in a batch; 0 chooses, 1 shuffles plainly."
    )
    epochs: float = _setting(12.0, "Passes over the training images.")
    steps: int | None = _setting(None, "Steps, in place of epochs.")
    learning_rate: float = _setting(0.02, "Peak learning rate.")
    schedule: str = _setting(
        "one-cycle", "Learning-rate policy: constant, multistep, cosine or one-cycle."
    )
    milestones: tuple[float, ...] = _setting(
        (0.6, 0.7), "Shares of the run after which multistep multiplies the rate by gamma."
    )
    gamma: float = _setting(0.1, "Factor of multistep.")
    warmup_steps: int = _setting(0, "Steps over which the rate rises from 0.")
    momentum: float = _setting(0.9, "Momentum of gradient descent.")
    nesterov: bool = _setting(False, "Nesterov's form of momentum.")
    weight_decay: float = _setting(5e-4, "Weight decay; biases are left out.")
    clip_norm: float = _setting(1.0, "Largest norm of the gradient; 0 sets no limit.")
    augmentation: str = _setting(
        "auto", "Augmentation: auto (by image set), none, shift or shift-flip."
    )
    holdout: float = _setting(
        0.1,
        "Share of the training images held out to select the checkpoint; 0 keeps the last.",
    )
    validate_epochs: int = _setting(5, "Epochs between two looks at the held-out images.")
    snapshot_steps: int = _setting(0, "Steps between snapshots; 0 makes one an epoch.")
    keep_snapshots: int = _setting(2, "Snapshots that stay; 0 keeps all.")
    display_steps: int = _setting(50, "Steps between two lines of metrics.jsonl.")
    precision: str = _setting("fp32", "fp32, or mixed precision on a GPU: bf16 or fp16.")
    channels_last: bool = _setting(True, "Channels-last layout of the convolutions.")
    seed: int = _setting(0, "Seed of everything that training draws.")

    def __post_init__(self) -> None:
        self._check_names()
        for field, low, high in (
            ("n_bits", 1, MAX_BITS),
            ("height", MIN_INPUT_SIZE, 4096),
            ("width", MIN_INPUT_SIZE, 4096),
            ("dropout", 0, 0.99),
            ("epsilon", 0, 0.5),
            ("batch_size", 3, MAX_BATCH_SIZE),
            ("images_per_class", 0, self.batch_size),
            ("steps", 1, 10**12),
            ("warmup_steps", 0, 10**12),
            ("momentum", 0, 0.9999),
            ("weight_decay", 0, 1e6),
            ("clip_norm", 0, 1e6),
            ("holdout", 0, 0.9),
            ("validate_epochs", 1, 10**9),
            ("snapshot_steps", 0, 10**12),
            ("keep_snapshots", 0, 10**9),
            ("display_steps", 1, 10**9),
            ("seed", 0, 2**63 - 1),
        ):
            value = getattr(self, field)
            if value is not None and not low <= value <= high:
                raise ConfigError(f"{field} must be between {low} and {high}, not {value}")
        for field in ("margin", "learning_rate", "epochs", "gamma"):
            if not getattr(self, field) > 0:
                raise ConfigError(f"{field} must be above 0, not {getattr(self, field)}")
        if any(not 0 < milestone < 1 for milestone in self.milestones):
            raise ConfigError(f"milestones are shares of the run in (0, 1), not {self.milestones}")
        if self.nesterov and not self.momentum:
            raise ConfigError("nesterov needs a momentum above 0")

    def _check_names(self) -> None:
        # Here, so that the command line can show these settings without importing torch.
        from hashkit.training.augment import AUGMENTATIONS
        from hashkit.training.losses import LOSSES
        from hashkit.training.networks import NETWORKS
        from hashkit.training.schedule import SCHEDULES

        _check_name("network", self.network, NETWORKS)
        _check_name("loss", self.loss, LOSSES)
        _check_name("average", self.average, AVERAGES)
        _check_name("schedule", self.schedule, SCHEDULES)
        _check_name("resize", self.resize, RESIZE_RULES)
        _check_name("precision", self.precision, PRECISIONS)
        _check_name("augmentation", self.augmentation, ("auto", *AUGMENTATIONS))

    def to_dict(self) -> dict[str, Any]:
        """Fields as JSON-ready values."""
        fields = dataclasses.asdict(self)
        fields["milestones"] = list(self.milestones)
        return fields

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
        values = dict(fields)
        if "milestones" in values:
            values["milestones"] = tuple(values["milestones"])
        return cls(**values)


def _check_name(field: str, name: str, names: Iterable[str]) -> None:
    known = list(names)
    if name not in known:
        raise ConfigError(f"unknown {field} {name!r}; known: {', '.join(known)}")
