"""The bank, the model and the threads of a server, from its start to its end."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

import numpy as np

from hashkit._version import __version__
from hashkit.bank.reader import Bank
from hashkit.bank_set.opening import banks_of
from hashkit.bank_set.reader import BankSet
from hashkit.errors import ImageError
from hashkit.runtimes.encoder import Encoder
from hashkit.server.failures import RequestError
from hashkit.server.live_bank import LiveBank, Snapshot
from hashkit.server.metrics import Metrics
from hashkit.server.pictures import Pictures
from hashkit.server.queries import SearchOptions
from hashkit.server.repair import files_without_rows, repaired_text
from hashkit.server.searcher import Encoded, Searcher
from hashkit.server.settings import ServerSettings
from hashkit.server.uploads import NewImage, Uploads
from hashkit.server.writable import WritableBank
from hashkit.threads import available_cpus
from hashkit.workflow.models import check_made_by
from hashkit.workflow.row_images import RowImages, sources_of
from hashkit.workflow.search_results import Query
from hashkit.workflow.warm_up import warm_up

__all__ = ["Service"]

P = ParamSpec("P")
Result = TypeVar("Result")

logger: Final = logging.getLogger("hashkit.server")


class Service:
    """A bank, the model that made it, and what is done with them.

    Parameters
    ----------
    bank
        The open bank or bank set.
    encoder
        The model.
    images
        Finds the images of rows.
    settings
        Settings of the server.
    place
        Where clients add images; None for nowhere. It is closed at the end.

    Raises
    ------
    BankMismatchError
        If another model made it.
    """

    def __init__(
        self,
        bank: Bank | BankSet,
        encoder: Encoder,
        images: RowImages,
        settings: ServerSettings,
        place: WritableBank | None = None,
    ) -> None:
        self.settings = settings
        check_made_by(banks_of(bank), encoder.model_sha256)
        self.bank = LiveBank(bank)
        self.metrics = Metrics(self.bank)
        self.pictures = Pictures(images)
        self.searcher = Searcher(self.bank, encoder, settings.limits, self.metrics)
        self.uploads: Uploads | None = None
        if place is not None:
            self.uploads = Uploads(place, self.bank, settings.limits.max_batch)
        self._ready = asyncio.Event()
        self.failure: Exception | None = None
        self.stop: Callable[[], None] = lambda: None
        self._readers = ThreadPoolExecutor(available_cpus(), thread_name_prefix="pictures")
        self._size = encoder.manifest.size

    async def warm_up(self) -> None:
        """Load or compile what the first request would wait for; then the server is ready.

        If that fails, so does the server.
        """
        try:
            await self.in_thread(warm_up, self.bank.latest.opened)
            blank = np.zeros((*self._size, 3), np.uint8)
            encoded = await self.searcher.encoded(blank)
            await self.searcher.answer(Query("", encoded.code, None), SearchOptions(1))
            await self._repair()
        except Exception as error:
            self.failure = error
            self.stop()
        else:
            self._ready.set()

    @property
    def is_ready(self) -> bool:
        """Whether requests are answered without delay."""
        return self._ready.is_set()

    async def ready(self) -> None:
        """Wait until the server is ready: requests that come while it starts are not lost."""
        await self._ready.wait()

    async def _repair(self) -> None:
        """Add the files that a killed server left without a row."""
        if self.uploads is None:
            return
        folder = self.uploads.folder
        names = await self.in_thread(files_without_rows, folder, self.bank.latest.banks[0])
        left_out: list[str] = []
        for name in names:
            try:
                encoded = await self.searcher.encoded(folder / name)
                await self.uploads.add(NewImage(name, None, encoded.code))
            except (ImageError, RequestError) as error:
                left_out.append(f"{name} ({error})")
        if names:
            logger.warning("%s", repaired_text(folder, len(names), left_out))

    def about(self) -> dict[str, Any]:
        """Facts about the bank and the server, for `/about`."""
        limits = self.settings.limits
        return {
            "title": self.settings.title or _name_of(self.bank.latest),
            **self.bank.about(),
            "writable": self.uploads is not None,
            "max_bytes": limits.max_bytes,
            "max_k": limits.max_k,
            "can_rerank": True,
            "version": __version__,
        }

    async def encoded_row(self, bank: Bank, row: int, options: SearchOptions) -> Encoded:
        """The code of a row; if logits are needed, its image is encoded again."""
        if not options.rerank:
            return Encoded(bank.codes[row])
        image = await self.in_thread(self.pictures.source, bank, row)
        return await self.searcher.encoded(image)

    def bank_with(self, row: int) -> tuple[Bank, int]:
        """The bank of a row as it is now, and the row there.

        Raises
        ------
        RequestError
            404 if it has no such row, or the row is deleted.
        """
        now = self.bank.current()
        if not now.is_live(row):
            raise RequestError(404, f"there is no row {row}, or it was deleted")
        return now.located(row)

    def row_named(self, name: str) -> int:
        """The first row with a name.

        Raises
        ------
        RequestError
            404 if there is none.
        """
        rows = self.bank.current().rows_named(name)
        if not rows:
            raise RequestError(404, f"there is no image named {name[:80]!r}")
        return rows[0]

    async def in_thread(
        self, work: Callable[P, Result], *args: P.args, **kwargs: P.kwargs
    ) -> Result:
        """The result of a function that reads files, in one of a few threads."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._readers, functools.partial(work, *args, **kwargs))

    def close(self) -> None:
        """End the threads."""
        if self.uploads is not None:
            self.uploads.close()
        self._readers.shutdown(wait=True, cancel_futures=True)
        self.searcher.close()


def _name_of(snapshot: Snapshot) -> str:
    """Name of the bank's images: that of their folder or set, without a path."""
    names = {Path(source.dataset).name for source in sources_of(snapshot.bank)}
    return names.pop() if len(names) == 1 else snapshot.bank.path.stem
