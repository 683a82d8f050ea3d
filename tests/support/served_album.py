"""An album of drawn images, and the application that serves it, for the tests of the server."""

from __future__ import annotations

import contextlib
import functools
import io
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import uvicorn
from PIL import Image
from starlette.testclient import TestClient

import hashkit
from hashkit.bank_set.opening import open_bank_or_set
from hashkit.runtimes.encoder import Encoder
from hashkit.server.app import make_app
from hashkit.server.connections import limited_connections
from hashkit.server.limits import ServerLimits
from hashkit.server.service import Service
from hashkit.server.serving import address_of, open_listener
from hashkit.server.settings import ServerSettings
from hashkit.server.writable import WritableBank
from hashkit.workflow.row_images import RowImages

TOKEN = "a token of this test".replace(" ", "-")
WRITER = {"Authorization": f"Bearer {TOKEN}"}
HERE = "http://localhost"


@functools.cache
def encoder() -> Encoder:
    return Encoder.load("phash", "cpu")


def picture(seed: int, suffix: str = "PNG", side: int = 40, **options: object) -> bytes:
    """An image file with a code that differs from those of other seeds."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)
    with io.BytesIO() as file:
        image.save(file, suffix, **options)
        return file.getvalue()


def make_album(folder: Path, n_images: int = 5) -> Path:
    """A folder ``album`` of images, and a bank of it; returns the bank's path."""
    for seed in range(n_images):
        path = folder / "album" / f"{'sub/' if seed % 2 else ''}{seed}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(seed))
    bank = folder / "album.h5"
    hashkit.encode(folder / "album", encoder(), bank).close()
    return bank


@contextlib.contextmanager
def client_of(
    bank: Path,
    *,
    writable: Path | None = None,
    limits: ServerLimits | None = None,
    **settings: object,
) -> Iterator[TestClient]:
    """A client of a server in this process; the server is ready."""
    served = ServerSettings(
        writable=writable,
        token=TOKEN if writable else "",
        limits=limits or ServerLimits(),
        **settings,
    )
    place = None if writable is None else WritableBank.open(bank, writable, encoder())
    try:
        service = Service(
            open_bank_or_set(bank), encoder(), RowImages(only_below=True), served, place
        )
    except BaseException:
        if place is not None:
            place.close()
        raise
    with TestClient(make_app(service), base_url=HERE, raise_server_exceptions=False) as client:
        while client.get("/readyz").status_code != 200:
            assert service.failure is None
        yield client


class Served:
    """A server on a port of this machine, in a thread of this process."""

    def __init__(self, bank: Path, settings: ServerSettings) -> None:
        opened = hashkit.Bank.open(bank)
        service = Service(opened, encoder(), RowImages(only_below=True), settings)
        self._listener = open_listener(settings)
        self.address = address_of(self._listener)
        http = limited_connections(settings.limits)
        config = uvicorn.Config(make_app(service), http=http, ws="none", log_config=None)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._listener],))
        self._thread.start()

    def stop(self) -> None:
        """End the server; it may have ended already."""
        self._server.should_exit = True
        self._thread.join()
        self._listener.close()
