"""The model of a collection, which is loaded only if an image has to be encoded."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from hashkit.bank_set.joined import AnyBank
from hashkit.errors import ConfigError
from hashkit.model_names import builtin_name, shown_sha256
from hashkit.runs.run import DEFAULT_RUNS_DIR
from hashkit.runtimes.builtin import BUILTIN_MODELS, model_path
from hashkit.runtimes.encoder import Encoder
from hashkit.runtimes.model_file import ModelFile
from hashkit.runtimes.settings import RuntimeSettings
from hashkit.workflow.encoding import load_encoder
from hashkit.workflow.models import kept_model
from hashkit.workflow.reporter import Reporter

__all__ = ["NEEDS_MODEL", "CollectionModel"]

NEEDS_MODEL: Final = (
    "a new bank needs a model: name one with `model=...`, an ONNX file or a built-in one: "
    f"{', '.join(BUILTIN_MODELS)}"
)


class CollectionModel:
    """The model that a user named, or otherwise the one that made the bank.

    Parameters
    ----------
    model
        A path, the name of a built-in model, or an encoder; None for the bank's.
    settings
        Ignored for an encoder.

    Raises
    ------
    ModelError
        If the model that was named is not a readable file.
    """

    def __init__(
        self,
        model: Encoder | str | os.PathLike[str] | None,
        settings: RuntimeSettings,
        reporter: Reporter,
    ) -> None:
        self._encoder = model if isinstance(model, Encoder) else None
        self._path = None if model is None or self._encoder else model_path(model)  # type: ignore[arg-type]
        # Read now, so that a wrong name is an error before a large folder is listed.
        self._sha256 = None if self._path is None else ModelFile.read(self._path).sha256
        self._settings = settings
        self._reporter = reporter

    @property
    def is_named(self) -> bool:
        """Whether a model was named."""
        return self._encoder is not None or self._path is not None

    def made(self, bank: AnyBank) -> bool:
        """Whether the model made the bank's codes; True if no model was named."""
        sha256 = self._sha256 if self._encoder is None else self._encoder.model_sha256
        return sha256 in (None, bank.header.model_sha256)

    def load(self, bank: AnyBank | None) -> Encoder:
        """Load the model; the one that made ``bank`` if none was named.

        Raises
        ------
        ConfigError
            If none was named, and the bank's is not found.
        ModelError, DeviceError
            If it cannot be used.
        """
        if self._encoder is None:
            path = self._path or self._of_bank(bank)
            self._encoder = load_encoder(path, self._settings, self._reporter)
        return self._encoder

    def _of_bank(self, bank: AnyBank | None) -> Path:
        if bank is None:
            raise ConfigError(NEEDS_MODEL)
        sha256 = bank.header.model_sha256
        name = builtin_name(sha256)
        if name is not None:
            return model_path(name, lambda _: None)
        path = kept_model(bank.path, sha256, self._reporter)
        if path is not None:
            return path
        raise ConfigError(
            f"{bank.path} was made by {shown_sha256(sha256)}, which is not built in, and neither "
            f"beside the bank nor in {DEFAULT_RUNS_DIR}/: name its file with `model=...`"
        )
