"""Starts a server on a bank and a model."""

from __future__ import annotations

from pathlib import Path

from hashkit.bank.reader import Bank
from hashkit.errors import ConfigError
from hashkit.runtimes.settings import RuntimeSettings
from hashkit.server.service import Service
from hashkit.server.serving import address_of, open_listener, run_server
from hashkit.server.settings import ServerSettings
from hashkit.workflow.encoding import load_encoder
from hashkit.workflow.models import builtin_of_banks
from hashkit.workflow.reporter import Reporter
from hashkit.workflow.row_images import RowImages

__all__ = ["serve"]


def serve(
    bank: Path,
    model: Path | None,
    settings: ServerSettings,
    runtime: RuntimeSettings,
    reporter: Reporter,
) -> None:
    """Answer requests about a bank until the process is told to stop.

    Parameters
    ----------
    bank
        The bank.
    model
        The model that made it; None for a built-in one that the bank names.
    settings, runtime
        Of the server, and of the model.
    reporter
        Takes notes.

    Raises
    ------
    ConfigError
        If the address cannot be used, or the model is not known.
    BankError, ModelError, DeviceError
        If the bank or the model cannot be used.
    """
    with open_listener(settings) as listener:
        with Bank.open(bank) as opened:
            found = model or builtin_of_banks([opened], reporter)
        if found is None:
            raise ConfigError(f"{bank}: expected the model that made it, found none: give `model`")
        encoder = load_encoder(found, runtime, reporter)
        service = Service(bank, encoder, RowImages(), settings)
        reporter.note(f"{address_of(listener)} searches {service.bank.latest.n_live:,} images")
        run_server(service, listener)
        reporter.note("stopped")
