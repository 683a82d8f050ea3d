"""Encodes images of a folder, except those whose content already has a row in the bank."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Container, Generator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashkit.bank.image_files import ImageFiles
from hashkit.codes import code_size
from hashkit.datasets.decoding import DecodedBatch, Fault, decode_batches
from hashkit.datasets.imageset import ImageSet
from hashkit.imaging.content import FileContent
from hashkit.overlap import computed_ahead
from hashkit.preprocess import ImageSource
from hashkit.runtimes.bit_watch import BitWatch
from hashkit.runtimes.builtin import constant_bits_of
from hashkit.runtimes.encoder import Encoder

__all__ = ["EncodedImages", "encode_images", "unless_known"]


@dataclasses.dataclass(frozen=True, eq=False)
class EncodedImages:
    """Codes of a batch of images.

    Attributes
    ----------
    positions
        Positions of the images in the list that was given.
    codes
        uint8 [n, ceil(n_bits / 8)].
    files
        Size, time and digest of their files.
    n_encoded
        How many of them were encoded; the others have the content of an existing row.
    faults
        The images of the batch that cannot be used.
    n_done
        Images of the list that are done, including these.
    """

    positions: NDArray[np.int64]
    codes: NDArray[np.uint8]
    files: ImageFiles
    n_encoded: int
    faults: tuple[Fault, ...]
    n_done: int


def encode_images(
    encoder: Encoder,
    folder: Path,
    names: Sequence[str],
    known_codes: Mapping[bytes, NDArray[np.uint8]],
    *,
    batch_size: int,
    n_workers: int,
    warn: Callable[[str], None],
) -> Generator[EncodedImages, None, None]:
    """Codes of images in batches, in order; close the generator if you do not exhaust it.

    Parameters
    ----------
    names
        Names of the images, relative to ``folder``.
    known_codes
        Known codes by the digest of the file; these images are neither decoded nor encoded.
    warn
        Called with a sentence if the codes do not tell the images apart.
    """
    images = ImageSet(name=folder.name or str(folder), names=names, root=folder)

    def encode(batch: DecodedBatch) -> _Codes:
        return _encode(encoder, batch, known_codes)

    watch = BitWatch(len(names), encoder.n_bits, warn, constant_bits_of(encoder.model_sha256))
    batches = decode_batches(
        images,
        unless_known(encoder.prepare, encoder.manifest.size, known_codes),
        encoder.manifest.size,
        start=0,
        batch_size=batch_size,
        n_workers=n_workers,
        with_files=True,
    )
    # Closed here, not by the garbage collector: a traceback would keep the threads alive.
    with contextlib.closing(batches), contextlib.closing(computed_ahead(batches, encode)) as ahead:
        for batch, (codes, is_new, logits) in ahead:
            watch.add(batch.rows[is_new], batch.pixels[is_new], logits)
            files = ImageFiles.unknown(0) if batch.files is None else batch.files
            n_new = int(is_new.sum())
            yield EncodedImages(batch.rows, codes, files, n_new, batch.faults, batch.stop)
    watch.finish()


def unless_known(
    prepare: Callable[[ImageSource], NDArray[np.uint8]],
    size: tuple[int, int],
    known_codes: Container[bytes],
) -> Callable[[ImageSource], NDArray[np.uint8]]:
    """A ``prepare`` that does not decode files with a known digest: it returns black pixels."""
    blank = np.zeros((*size, 3), np.uint8)

    def prepared(source: ImageSource) -> NDArray[np.uint8]:
        is_known = isinstance(source, FileContent) and source.digest() in known_codes
        return blank if is_known else prepare(source)

    return prepared


_Codes = tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.float32]]


def _encode(
    encoder: Encoder, batch: DecodedBatch, known_codes: Mapping[bytes, NDArray[np.uint8]]
) -> _Codes:
    """Codes of a batch, which of them are new, and the logits of the new ones."""
    n_images, n_bytes = len(batch.rows), code_size(encoder.n_bits)
    codes = np.empty((n_images, n_bytes), np.uint8)
    digests = [] if batch.files is None else [one.tobytes() for one in batch.files.digests]
    is_new = np.array([digest not in known_codes for digest in digests], bool)
    for at in np.flatnonzero(~is_new).tolist():
        codes[at] = known_codes[digests[at]]
    logits = np.empty((0, encoder.n_bits), np.float32)
    if is_new.any():
        codes[is_new], logits = encoder.run(batch.pixels[is_new])
    return codes, is_new, logits
