"""Starts a server on a bank and a model."""

from __future__ import annotations

from pathlib import Path

from hashkit.bank.reader import Bank
from hashkit.bank_set.opening import banks_of, open_bank_or_set
from hashkit.bank_set.reader import BankSet
from hashkit.errors import ConfigError
from hashkit.runtimes.settings import RuntimeSettings
from hashkit.server.service import Service
from hashkit.server.serving import address_of, open_listener, run_server
from hashkit.server.settings import ServerSettings
from hashkit.server.writable import WritableBank
from hashkit.workflow.encoding import load_encoder
from hashkit.workflow.models import model_of_banks
from hashkit.workflow.reporter import Reporter, plural
from hashkit.workflow.row_images import RowImages

__all__ = ["serve"]


def serve(
    bank: Path,
    model: Path | None,
    settings: ServerSettings,
    data_root: Path | None,
    runtime: RuntimeSettings,
    reporter: Reporter,
) -> None:
    """Answer requests about a bank until the process is told to stop.

    Parameters
    ----------
    bank
        The bank, or a bank set, which is only read.
    model
        The model that made it; None for the one that `model_of_banks` finds.
    settings
        Settings of the server.
    data_root
        The folder of the bank's images, if it was moved.
    runtime
        How to run the model.
    reporter
        Takes notes.

    Raises
    ------
    ConfigError
        If the address cannot be used, or the model is not known.
    BankError, ModelError, DeviceError
        If the bank or the model cannot be used.
    """
    if settings.writable is not None and bank.is_dir():
        raise ConfigError(
            f"{bank}: expected a bank that takes new images, found a folder: a bank set is only "
            "read, so give one bank, or leave `writable` out"
        )
    is_new = settings.writable is not None and not bank.exists()
    opened = None if is_new else open_bank_or_set(bank)
    found = model or _model_of(bank, opened, reporter)
    with open_listener(settings) as listener:
        encoder = load_encoder(found, runtime, reporter)
        place = None
        if settings.writable is not None:
            place = WritableBank.open(bank, settings.writable, encoder)
        try:
            # From here on no other process writes the bank, but one may have until now.
            now = open_bank_or_set(bank) if opened is None else opened.reload()
            images = RowImages(data_root=data_root, only_below=True)
            service = Service(now, encoder, images, settings, place)
        except BaseException:
            if place is not None:
                place.close()
            raise
        if settings.writable is not None:
            reporter.note(
                "clients with the token of HASHKIT_TOKEN may add images to "
                f"{settings.writable} and remove them"
            )
        n_images = plural(service.bank.latest.n_live, "image")
        reporter.note(f"serving {n_images} at {address_of(listener)} until Ctrl-C")
        run_server(service, listener)
        reporter.note("stopped")


def _model_of(path: Path, bank: Bank | BankSet | None, reporter: Reporter) -> Path:
    if bank is None:
        raise ConfigError(
            f"{path}: expected the model that encodes the images of a new bank, found none: give "
            "`model`, for example `model=phash`"
        )
    return model_of_banks(banks_of(bank), "hashkit serve", reporter)
