"""Turns queries into answers: decoding in threads, then model and search, each in batches."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hashkit.errors import ModelError
from hashkit.preprocess import ImageSource
from hashkit.retrieval.search import search
from hashkit.runtimes.encoder import Encoder
from hashkit.runtimes.settings import GPU_PROVIDERS
from hashkit.server.batching import Batcher, give, give_error
from hashkit.server.limits import ServerLimits
from hashkit.server.live_bank import LiveBank
from hashkit.server.metrics import Metrics
from hashkit.server.queries import SearchOptions
from hashkit.threads import available_cpus
from hashkit.workflow.search_results import Query, Result, hits_of

__all__ = ["Encoded", "Searcher"]

_ON_CPU: Final = 4
"""Batch size on a CPU, images. On two cores, EfficientNet-Lite0 encodes 118 images per second in
batches of 4, 105 in batches of 1, and 80 in batches of 32, which do not fit the CPU's cache."""


@dataclasses.dataclass(frozen=True, eq=False)
class Encoded:
    """The code of an image, uint8 [ceil(n_bits / 8)], and its logits, float32 [n_bits]."""

    code: NDArray[np.uint8]
    logits: NDArray[np.float32] | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class _Image:
    """The pixels of an image, and how to search for it; None if only its code is wanted."""

    pixels: NDArray[np.uint8]
    options: SearchOptions | None


@dataclasses.dataclass(frozen=True, eq=False)
class _Task:
    query: Query
    logits: NDArray[np.float32] | None
    options: SearchOptions


class Searcher:
    """Encodes and searches.

    An image goes from the thread that decodes it to that of the model, and then to that of the
    search; the event loop gets only the answer.

    Parameters
    ----------
    bank
        What is searched.
    encoder
        The model that made it.
    limits
        For the size of batches.
    metrics
        Where work is counted.
    """

    def __init__(
        self, bank: LiveBank, encoder: Encoder, limits: ServerLimits, metrics: Metrics
    ) -> None:
        self._bank = bank
        self._encoder = encoder
        self._metrics = metrics
        self._decoders = ThreadPoolExecutor(available_cpus(), thread_name_prefix="decode")
        is_on_gpu = encoder.provider in GPU_PROVIDERS
        most = limits.max_batch if is_on_gpu else min(_ON_CPU, limits.max_batch)
        self._model: Batcher[_Image, Encoded] = Batcher(self._encode, most, "model", self._pass_on)
        self._search: Batcher[_Task, bytes] = Batcher(self._answer, limits.max_batch, "search")

    async def encoded(self, image: ImageSource) -> Encoded:
        """The code and the logits of an image.

        Raises
        ------
        ImageError
            If it cannot be used.
        ModelError
            If the model cannot encode it.
        """
        encoded: Encoded = await self._start_work(image, None)
        return encoded

    async def answer_image(self, image: ImageSource, options: SearchOptions) -> bytes:
        """The JSON of a search for an image.

        Raises
        ------
        RequestError, ImageError, ModelError
            As for `encoded` and `answer`.
        """
        answer: bytes = await self._start_work(image, options)
        return answer

    async def answer(
        self, query: Query, options: SearchOptions, logits: NDArray[np.float32] | None = None
    ) -> bytes:
        """The JSON of a search: that of one query of `hashkit search`.

        Raises
        ------
        RequestError
            422 if the bank has no such class.
        """
        return await self._search(_task(query, logits, options))

    def close(self) -> None:
        """End the threads when their work is done."""
        self._decoders.shutdown(wait=True, cancel_futures=True)
        self._model.close()
        self._search.close()

    def _start_work(self, image: ImageSource, options: SearchOptions | None) -> asyncio.Future[Any]:
        """Start work on an image; the result is its code or, with options, a search's answer."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._decoders.submit(self._decode, image, options, future)
        return future

    def _decode(
        self, image: ImageSource, options: SearchOptions | None, future: asyncio.Future[Any]
    ) -> None:
        if future.done():  # the client gave up
            return
        try:
            pixels = self._encoder.prepare(image)
        except Exception as error:
            give_error(future, error)
        else:
            self._model.add([_Image(pixels, options)], [future])

    def _pass_on(
        self,
        images: Sequence[_Image],
        futures: Sequence[asyncio.Future[Any]],
        results: Sequence[Encoded],
    ) -> None:
        """Give the codes that are wanted, and search for the other images."""
        tasks, waiting = [], []
        for image, future, encoded in zip(images, futures, results, strict=True):
            if image.options is None:
                give([future], [encoded])
            else:
                query = Query("image", encoded.code, None)
                tasks.append(_task(query, encoded.logits, image.options))
                waiting.append(future)
        if tasks:
            self._search.add(tasks, waiting)

    def _encode(self, images: Sequence[_Image]) -> list[Encoded]:
        with self._metrics.timed_batch("encode", len(images)):
            codes, logits = self._encoder.run(np.stack([image.pixels for image in images]))
        if not np.isfinite(logits).all():
            raise ModelError("expected finite logits, found NaN or infinite ones for an image")
        return [Encoded(*one) for one in zip(codes, logits, strict=True)]

    def _answer(self, tasks: Sequence[_Task]) -> list[bytes]:
        groups: dict[SearchOptions, list[int]] = collections.defaultdict(list)
        for number, task in enumerate(tasks):
            groups[task.options].append(number)
        answers = [b""] * len(tasks)
        with self._metrics.timed_batch("search", len(tasks)):
            for options, numbers in groups.items():
                found = self._found(options, [tasks[number] for number in numbers])
                for number, answer in zip(numbers, found, strict=True):
                    answers[number] = answer
        return answers

    def _found(self, options: SearchOptions, tasks: Sequence[_Task]) -> list[bytes]:
        snapshot = self._bank.current()
        banks = snapshot.banks
        logits = [task.logits for task in tasks if task.logits is not None]
        codes = np.stack([task.query.code for task in tasks])
        found = search(
            codes,
            banks,
            top_k=options.k,
            radius=options.radius,
            where=snapshot.rows_of(options.labels) if options.labels else None,
            logits=np.stack(logits) if options.rerank else None,
            oversample=options.oversample,
            index=snapshot.index,
        )
        return [
            _as_json(Result(task.query, hits).to_dict())
            for task, hits in zip(tasks, hits_of(found, banks), strict=True)
        ]


def _task(query: Query, logits: NDArray[np.float32] | None, options: SearchOptions) -> _Task:
    return _Task(query, logits if options.rerank else None, options)


def _as_json(document: dict[str, Any]) -> bytes:
    return json.dumps(document).encode("ascii")
