"""``hashkit.add``: adds a few rows to a bank that is in use."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hashkit.bank.compatibility import USE_ITS_MODEL, check_model
from hashkit.bank.header import BankSource
from hashkit.bank.reader import Bank
from hashkit.bank_set.editor import open_editor
from hashkit.bank_set.opening import banks_of, open_bank_or_set
from hashkit.bank_set.reader import BankSet
from hashkit.codes import check_codes
from hashkit.codesets import check_names
from hashkit.errors import ConfigError
from hashkit.inputs.arguments import argument_shown, checked_arguments_but
from hashkit.runs.run import PathText
from hashkit.runtimes.builtin import model_path
from hashkit.runtimes.encoder import Encoder, Images
from hashkit.runtimes.pipeline import header_of_codes
from hashkit.runtimes.settings import RuntimeSettings

__all__ = ["ADDED", "add"]

ADDED: Final = BankSource(
    dataset="added",
    root=None,
    protocol="",
    part="all",
    seed=None,
    n_images=None,
    names_sha256="",
)
"""The list of all rows that `add` gives a bank whose last list does not grow already."""


@checked_arguments_but("images_or_codes", "names", "labels")
def add(
    bank: Bank | BankSet | PathText,
    images_or_codes: Images | NDArray[np.uint8],
    names: Sequence[str] | None,
    *,
    labels: NDArray[Any] | Sequence[int] | None = None,
    model: Encoder | PathText | None = None,
    allow_other_provider: bool = False,
    lock_seconds: float = 10.0,
) -> list[int]:
    """Add rows to a bank; when it returns, they are safely on disk.

    Either all rows are added or none. The cost of a call does not depend on the size of the bank,
    except that it occasionally copies the bank to make room. Searches see the rows after ``bank =
    bank.reload()``. Several processes and threads may add to a bank at once; each waits for the
    others. Names are not compared with those in the bank. For many calls in one process, keep a
    `hashkit.bank.editor.BankEditor` open, which takes a tenth of the CPU time.

    Parameters
    ----------
    bank
        A complete bank, or a bank set, whose last shard gets the rows; an open object or a path.
    images_or_codes
        Packed codes, uint8 [n, ceil(n_bits / 8)]; with ``model``, an image or several, as
        `Encoder.encode` takes them.
    names
        One name per row; None for rows without names.
    labels
        int [n], -1 where unknown; or multi-hot [n, n_classes]; by default unknown in a bank that
        has one label per image.
    model
        The model that made the bank: an encoder, or a file, which each call loads again.
    allow_other_provider
        Accept codes from another device, runtime or version of Pillow than the bank's.
    lock_seconds
        Longest wait for another process that is writing the bank, seconds.

    Returns
    -------
    list of int
        The numbers of the new rows.

    Raises
    ------
    ConfigError
        If there are images but no model, or ``names`` is a single text.
    CodesError
        If codes break the code convention or have another number of bits.
    ImageError, ModelError, DeviceError
        If an image, the model or the device cannot be used.
    BankLockedError
        If another process is still writing the bank.
    BankMismatchError
        If the bank was made with another model.
    BankError
        If there is no such bank, it is not complete, names or labels do not match, or it cannot be
        written.
    """
    path = bank.path if isinstance(bank, Bank | BankSet) else os.fspath(bank)
    names = None if names is None else check_names(names, "names", ConfigError)
    if model is None:
        encoder, codes = None, _as_codes(images_or_codes)
    else:
        encoder = _loaded(model)
        with open_bank_or_set(path) as opened:  # before the images are encoded
            last = banks_of(opened)[-1].header
            check_model(opened.path, header_of_codes(encoder, last), last, USE_ITS_MODEL)
        codes = encoder.encode(images_or_codes)
    with open_editor(path, lock_seconds=lock_seconds) as editor:
        check_codes(codes, editor.header.n_bits)
        if encoder is not None:
            header = header_of_codes(encoder, editor.header)
            editor.admit(header, allow_other_provider=allow_other_provider)
        if labels is None and editor.header.label_kind == "single":
            labels = np.full(len(codes), -1)
        given = None if labels is None else np.asarray(labels)
        return list(editor.apply(codes, names, given, source=ADDED))


def _as_codes(value: Images | NDArray[np.uint8]) -> NDArray[np.uint8]:
    if isinstance(value, np.ndarray) and value.ndim == 2:
        return value
    raise ConfigError(
        "expected packed codes, uint8 [n, ceil(n_bits / 8)], or images and `model`, found "
        f"{argument_shown(value)} and no model: give the `model` that made the bank"
    )


def _loaded(model: Encoder | PathText) -> Encoder:
    if isinstance(model, Encoder):
        return model
    return Encoder.open(model_path(model), RuntimeSettings())
