"""Encodes an image set into a code bank: decodes, encodes and writes concurrently."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from hashkit.bank.header import BankHeader, BankSource, LabelKind
from hashkit.bank.writer import BankWriter
from hashkit.datasets.decoding import DecodedBatch, decode_batches
from hashkit.datasets.imageset import ImageSet, spread_rows
from hashkit.errors import ConfigError, DatasetError, ImageError
from hashkit.overlap import computed_ahead
from hashkit.preprocess import resampler
from hashkit.runtimes.bit_watch import BitWatch
from hashkit.runtimes.builtin import constant_bits_of
from hashkit.runtimes.encoder import Encoder, default_batch_size
from hashkit.runtimes.faults import FaultLog
from hashkit.threads import check_threads

__all__ = [
    "EncodeMode",
    "EncodeProgress",
    "EncodeReport",
    "bank_header",
    "encode_to_bank",
    "header_of_codes",
]

logger = logging.getLogger(__name__)

_LONG_JOB: Final = 1000
"""Jobs of more images than this encode some in advance, to find bits that never vary."""

_SHARE_AHEAD: Final = 16
_MOST_AHEAD: Final = 256
"""They encode one image in `_SHARE_AHEAD` in advance, and at most `_MOST_AHEAD`."""

EncodeMode: TypeAlias = Literal["resume", "append", "overwrite"]


@dataclasses.dataclass(frozen=True)
class EncodeProgress:
    """Progress of an encode run.

    Attributes
    ----------
    n_done, n_total
        Images done, including skipped ones; images of the set.
    n_resumed
        Images of ``n_done`` done by an earlier run, which a rate should not count.
    n_skipped
        Images of ``n_done`` that cannot be used.
    """

    n_done: int
    n_total: int
    n_resumed: int
    n_skipped: int


@dataclasses.dataclass(frozen=True)
class EncodeReport:
    """Result of an encode run.

    Attributes
    ----------
    path
        The bank.
    n_images
        Images of the set.
    n_rows
        Rows of the bank, including those of other image sets.
    n_encoded
        Rows that this run added.
    n_resumed
        Images done by an earlier run; all of them if there was nothing left to do.
    n_skipped
        Images of the set that cannot be used, in all runs.
    faults_path
        The list of skipped images; None if there are none.
    was_complete
        Whether the bank was complete already, so that this run changed nothing.
    seconds
        Duration of this run.
    batch_size
        Images per batch.
    runtime, provider, precision
        Runtime, provider and precision that computed the codes.
    warnings
        What is wrong with the codes of this run; see `hashkit.runtimes.bit_health`.
    """

    path: Path
    n_images: int
    n_rows: int
    n_encoded: int
    n_resumed: int
    n_skipped: int
    faults_path: Path | None
    was_complete: bool
    seconds: float
    batch_size: int
    runtime: str
    provider: str
    precision: str
    warnings: tuple[str, ...] = ()

    @property
    def images_per_second(self) -> float:
        """Images per second in this run, including skipped ones."""
        return (self.n_images - self.n_resumed) / self.seconds if self.seconds > 0 else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Fields and the rate, as JSON-ready values."""
        fields = dataclasses.asdict(self) | {"images_per_second": self.images_per_second}
        fields["path"] = str(self.path)
        fields["faults_path"] = None if self.faults_path is None else str(self.faults_path)
        return fields


def encode_to_bank(
    encoder: Encoder,
    image_set: ImageSet,
    path: str | os.PathLike[str],
    *,
    source: BankSource,
    batch_size: int | None = None,
    n_workers: int | None = None,
    strict: bool = False,
    mode: EncodeMode = "resume",
    allow_other_provider: bool = False,
    may_be_empty: bool = False,
    progress: Callable[[EncodeProgress], None] | None = None,
    warn: Callable[[str], None] = logger.warning,
) -> EncodeReport:
    """Encode all images of a set into a bank, in the set's order, in constant memory.

    Images that cannot be used are skipped and listed in ``<bank>.faults.jsonl``
    (`hashkit.runtimes.faults`). If an error, Ctrl-C or a kill ends the run early, the bank keeps
    its committed rows, and the same call continues from there.

    Parameters
    ----------
    encoder
        The model.
    image_set
        The images.
    path
        The bank.
    source
        Where the set came from; stored in the bank.
    batch_size
        Images per batch; None to choose by provider and input size.
    n_workers
        Threads that decode; None for one per CPU available to this process.
    strict
        Whether to stop at the first image that cannot be used; the rows before it are kept.
    mode
        ``resume``: continue the bank if it exists, otherwise make it. ``append``: add the set to
        the bank, or make it if it does not exist. ``overwrite``: make the bank again.
    allow_other_provider
        Whether another runtime or provider may continue the bank.
    may_be_empty
        Whether a bank without rows may be complete, such as a shard without a usable image.
    progress
        Called after every batch, and once at the start.
    warn
        Called with a sentence if the codes do not tell images apart, for example because the
        network ends in a sigmoid; logged by default.

    Raises
    ------
    ConfigError
        If a setting is invalid, or ``source`` does not match the set.
    BankMismatchError
        If an existing bank has another model or image list.
    BankError
        If the bank cannot be written, or another process is writing it.
    ImageError
        If ``strict`` is set and an image cannot be used.
    DatasetError
        If no image can be used.
    KeyboardInterrupt
        On Ctrl-C, after all finished rows have been committed.
    """
    started = time.perf_counter()
    batch_size = default_batch_size(encoder) if batch_size is None else batch_size
    n_workers = check_threads(n_workers, "n_workers")
    _check_settings(image_set, source, batch_size, mode)
    header = bank_header(encoder, image_set, source)
    with _open_writer(Path(path), header, image_set, mode, allow_other_provider) as writer:
        constant = constant_bits_of(encoder.model_sha256)
        watch = BitWatch(len(image_set), encoder.n_bits, warn, constant)
        run = _EncodeRun(encoder, image_set, writer, watch, strict, progress)
        if run.was_complete:
            logger.info("%s is complete: there is nothing to do", path)
        else:
            run.encode(batch_size, n_workers)
            if not may_be_empty:
                run.check_some_usable()
            writer.complete()
        n_rows = writer.n_committed
    return EncodeReport(
        path=Path(path),
        n_images=len(image_set),
        n_rows=n_rows,
        n_encoded=n_rows - run.n_rows_before,
        n_resumed=run.n_resumed,
        n_skipped=run.faults.n_skipped,
        faults_path=run.faults.path if run.faults.path.exists() else None,
        was_complete=run.was_complete,
        seconds=time.perf_counter() - started,
        batch_size=batch_size,
        runtime=encoder.runtime,
        provider=encoder.provider,
        precision=encoder.precision,
        warnings=tuple(watch.warnings),
    )


def bank_header(encoder: Encoder, image_set: ImageSet, source: BankSource) -> BankHeader:
    """Metadata of a bank of ``image_set`` made by ``encoder``."""
    label_kind: LabelKind = "none"
    if image_set.labels is not None:
        label_kind = "multi" if image_set.is_multi_label else "single"
    is_resized = image_set.pixels is None or image_set.pixels.shape[1:3] != encoder.manifest.size
    return BankHeader(
        **_code_fields(encoder, is_resized=is_resized),
        class_names=image_set.class_names,
        label_kind=label_kind,
        source=source,
        has_files=image_set.root is not None,
    )


def header_of_codes(encoder: Encoder, header: BankHeader) -> BankHeader:
    """A header with what ``encoder`` adds to it: model, runtime, provider and resampler."""
    return dataclasses.replace(header, **_code_fields(encoder, is_resized=True))


def _code_fields(encoder: Encoder, *, is_resized: bool) -> dict[str, Any]:
    """Fields of a header that say how the codes were computed."""
    return {
        "n_bits": encoder.n_bits,
        "manifest": encoder.manifest,
        "model_sha256": encoder.model_sha256,
        "runtime": encoder.runtime,
        "provider": encoder.provider,
        "precision": encoder.precision,
        "resampler": resampler() if is_resized else "",
    }


class _EncodeRun:
    """Encodes the remaining images of a set."""

    def __init__(
        self,
        encoder: Encoder,
        image_set: ImageSet,
        writer: BankWriter,
        watch: BitWatch,
        strict: bool,
        progress: Callable[[EncodeProgress], None] | None,
    ) -> None:
        self.n_resumed = writer.n_consumed
        self.n_rows_before = writer.n_committed
        self.was_complete = writer.is_complete
        self.faults = FaultLog(writer.path, len(writer.sources) - 1, writer.n_consumed)
        self._encoder = encoder
        self._image_set = image_set
        self._writer = writer
        self._watch = watch
        self._strict = strict
        self._progress = progress

    def encode(self, batch_size: int, n_workers: int) -> None:
        batches = decode_batches(
            self._image_set,
            self._encoder.prepare,
            self._encoder.manifest.size,
            start=self.n_resumed,
            batch_size=batch_size,
            n_workers=n_workers,
            with_files=self._writer.header.has_files,
        )
        self._report(self.n_resumed)
        self._look_ahead(batch_size, n_workers)
        encoded = computed_ahead(batches, lambda batch: self._encoder.run(batch.pixels))
        # Closed here, not by the garbage collector: a traceback would keep the threads alive.
        with contextlib.closing(batches), contextlib.closing(encoded):
            for batch, (codes, logits) in encoded:
                self._watch.add(batch.rows, batch.pixels, logits)
                if self._strict and batch.faults:
                    fault = batch.faults[0]
                    before = batch.before(fault.row)
                    self._write(before, codes[: len(before.rows)])
                    raise ImageError(f"{fault.message} (image {fault.row})", fault.reason)
                self._write(batch, codes)
                self._report(batch.stop)
        self._watch.finish()

    def check_some_usable(self) -> None:
        """Raise an error if no image can be used and the bank has no row."""
        n_images = len(self._image_set)
        # A bank that has rows is completed, so that more can be added to it.
        if n_images and self.faults.n_skipped == n_images and not self.n_rows_before:
            raise DatasetError(
                f"{self._image_set.name}: none of its {n_images} images can be used, "
                f"see {self.faults.path}; fix them and make the bank again with `overwrite=True`"
            )

    def _look_ahead(self, batch_size: int, n_workers: int) -> None:
        """Encode a few images of the whole set, so that a dead bit is noticed early in a long job.

        The first images alone do not show it: they may all be of one class.
        """
        n_images, contents = len(self._image_set), self._image_set.contents
        is_sequential = contents is not None and contents.is_sequential
        if n_images - self.n_resumed <= _LONG_JOB or is_sequential:
            return
        sample = self._image_set.subset(
            spread_rows(n_images, min(_MOST_AHEAD, n_images // _SHARE_AHEAD))
        )
        size = self._encoder.manifest.size
        batches = decode_batches(
            sample, self._encoder.prepare, size, start=0, batch_size=batch_size, n_workers=n_workers
        )
        with contextlib.closing(batches):
            for batch in batches:
                self._watch.add_sample(batch.pixels, self._encoder.run(batch.pixels)[1])

    def _write(self, batch: DecodedBatch, codes: NDArray[np.uint8]) -> None:
        image_set = self._image_set
        self.faults.add(batch.faults)
        names = [image_set.names[row] for row in batch.rows]
        labels = None if image_set.labels is None else image_set.labels[batch.rows]
        self._writer.write(codes, names, labels, files=batch.files, n_consumed=batch.stop)

    def _report(self, n_done: int) -> None:
        if self._progress is not None:
            n_total, n_skipped = len(self._image_set), self.faults.n_skipped
            self._progress(EncodeProgress(n_done, n_total, self.n_resumed, n_skipped))


def _open_writer(
    path: Path,
    header: BankHeader,
    image_set: ImageSet,
    mode: EncodeMode,
    allow_other_provider: bool,
) -> BankWriter:
    if mode == "resume" and path.exists():
        return BankWriter.resume(path, header, allow_other_provider=allow_other_provider)
    n_rows = len(image_set)
    n_name_bytes = sum(len(name.encode(errors="surrogateescape")) for name in image_set.names)
    if mode == "append" and path.exists():
        return BankWriter.append(
            path,
            header,
            n_rows=n_rows,
            n_name_bytes=n_name_bytes,
            allow_other_provider=allow_other_provider,
        )
    return BankWriter.create(
        path,
        header,
        n_rows=n_rows,
        n_name_bytes=n_name_bytes,
        overwrite=mode == "overwrite",
    )


def _check_settings(
    image_set: ImageSet, source: BankSource, batch_size: int, mode: EncodeMode
) -> None:
    if mode not in get_args(EncodeMode):
        raise ConfigError(f"unknown mode {mode!r}; known: {', '.join(get_args(EncodeMode))}")
    if batch_size < 1:
        raise ConfigError(f"`batch_size` must be at least 1, not {batch_size}")
    if source.n_images not in (None, len(image_set)):
        raise ConfigError(
            f"the source must be of the {len(image_set)} images of {image_set.name}, "
            f"found one of {source.n_images} images"
        )
