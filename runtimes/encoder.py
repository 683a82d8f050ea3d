"""`Encoder`: a loaded model that turns images into codes."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sized
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hashkit.codes import binarize, code_size
from hashkit.errors import ConfigError, ModelError
from hashkit.imaging.content import FileContent
from hashkit.inputs.arguments import argument_shown, checked_arguments
from hashkit.manifest import Manifest
from hashkit.overlap import computed_ahead
from hashkit.preprocess import ImageSource, load
from hashkit.runtimes.bit_watch import BitWatch
from hashkit.runtimes.builtin import constant_bits_of, model_path
from hashkit.runtimes.protocol import Runtime, open_runtime
from hashkit.runtimes.settings import RuntimeSettings, batch_size_for
from hashkit.threads import available_cpus

logger = logging.getLogger(__name__)

__all__ = ["Encoder", "Images", "default_batch_size"]

Images = ImageSource | Iterable[ImageSource]
"""One image or several, as `Encoder.encode` takes them."""

_Value = TypeVar("_Value", np.uint8, np.float32)


class Encoder:
    """A model that turns images into codes.

    Threads may share an encoder. A forked process must not use its parent's encoder, but load its
    own.

    Parameters
    ----------
    runtime
        The loaded model; `Encoder.load` loads one from a file.

    Raises
    ------
    ModelError
        If the model's codes are not its packed logits under the code convention, or a logit is NaN
        or infinite for every image.
    ConfigError
        If ``runtime`` is the path or the name of a model.
    """

    def __init__(self, runtime: Runtime) -> None:
        if isinstance(runtime, str | os.PathLike):
            raise ConfigError(
                "`runtime` must be a loaded model, not a name or a path: load the model with "
                f"`Encoder.load({os.fspath(runtime)!r})`"
            )
        self._runtime = runtime
        self._said: set[str] = set()
        _check_packing(runtime)

    @classmethod
    @checked_arguments
    def load(
        cls,
        path: str | Path,
        device: str = "auto",
        *,
        runtime: str = "onnxruntime",
        n_threads: int | None = None,
        profile: str = "exact",
        batch_size: int | None = None,
    ) -> Encoder:
        """Load a built-in model, or an ONNX file that follows the model contract.

        Parameters
        ----------
        path
            The model's file, or the name of a built-in model, such as ``phash`` or ``lite0``. For a
            file of the same name, write ``./phash``.
        device
            ``auto`` (CUDA if the model runs there, otherwise the CPU), ``cpu`` or ``cuda``;
            `provider` reports the choice.
        runtime
            One of `hashkit.runtimes.protocol.RUNTIMES`.
        n_threads
            Threads on the CPU; None for one per CPU available to this process.
        profile
            On CUDA: ``exact``, the same bits in every batch and every run, or ``fast``.
        batch_size
            Batch size on a GPU; None to choose by input size.

        Raises
        ------
        ModelError
            If the file is missing or breaks the contract.
        DeviceError
            If the runtime is not installed, or ``device`` is ``cuda`` and not available.
        ConfigError
            If runtime, device or profile is unknown, or a number is less than 1.
        """
        settings = RuntimeSettings(runtime, device, n_threads, profile, batch_size)
        return cls.open(model_path(path), settings)

    @classmethod
    def open(cls, path: Path, settings: RuntimeSettings) -> Encoder:
        """Load an ONNX file like `load`, with the settings in one object."""
        opened = open_runtime(path, settings)
        try:
            return cls(opened)
        except ModelError as error:
            raise ModelError(f"{path}: {error}") from None

    def __repr__(self) -> str:
        size = "x".join(map(str, self.manifest.size))
        return f"<Encoder: {self.n_bits} bits, images {size}, {self.precision}, {self.provider}>"

    @property
    def n_bits(self) -> int:
        """Bits of a code."""
        return self.manifest.n_bits

    @property
    def manifest(self) -> Manifest:
        """The model's metadata."""
        return self._runtime.manifest

    @property
    def runtime(self) -> str:
        """Name and version of the runtime."""
        return self._runtime.name

    @property
    def provider(self) -> str:
        """The provider in use, for example ``CPUExecutionProvider``."""
        return self._runtime.provider

    @property
    def precision(self) -> str:
        """Arithmetic of the network, for example ``fp32``."""
        return self._runtime.precision

    @property
    def model_sha256(self) -> str:
        """SHA-256 of the model's file, hexadecimal."""
        return self._runtime.model_sha256

    def encode(self, images: Images) -> NDArray[np.uint8]:
        """Codes of images.

        Parameters
        ----------
        images
            One image or an iterable of images, each a path, the bytes of a file, a Pillow image
            or a uint8 array [H, W], [H, W, 3] (RGB) or [H, W, 4]; or uint8 [n, H, W, 3]. Images
            are decoded in threads, one batch ahead of the model, so an iterable may be long.

        Warns
        -----
        By logging, if the codes do not distinguish the images: one code for 16 images or more, bits
        that are constant over 32 or more, or that mostly repeat others. Each warning is given once.

        Returns
        -------
        NDArray
            uint8 [n, ceil(n_bits / 8)], in the order of ``images``; n is 1 for one image.

        Raises
        ------
        ImageError
            If an image cannot be used.
        ModelError
            If a logit of an image is NaN or infinite, so that its bit is meaningless.
        """
        empty = np.empty((0, code_size(self.n_bits)), np.uint8)
        constant = constant_bits_of(self.model_sha256)
        watch = BitWatch(_count(images), self.n_bits, logger.warning, constant, self._said)
        codes = self._map(images, lambda pixels: self._watched_codes(pixels, watch), empty)
        watch.finish()
        return codes

    def logits(self, images: Images) -> NDArray[np.float32]:
        """Logits of images, float32 [n, n_bits], before the threshold; otherwise like `encode`."""
        empty = np.empty((0, self.n_bits), np.float32)
        return self._map(images, lambda pixels: self.run(pixels)[1], empty)

    def prepare(self, image: ImageSource) -> NDArray[np.uint8]:
        """Pixels of one image as the model takes them, uint8 [height, width, 3]."""
        return load(_image(image), self.manifest.size, self.manifest.resize)

    def run(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Codes and logits of one batch of prepared pixels, uint8 [n, height, width, 3]."""
        return self._runtime.run(pixels)

    def _watched_codes(self, pixels: NDArray[np.uint8], watch: BitWatch) -> NDArray[np.uint8]:
        codes, logits = self.run(pixels)
        n_broken = int((~np.isfinite(logits)).any(axis=1).sum())
        if n_broken:
            raise ModelError(
                f"expected finite logits, found NaN or infinite ones for {n_broken} of "
                f"{len(pixels)} images: use another model, or leave these images out; `logits` "
                "shows which they are"
            )
        watch.add(np.arange(watch.n_seen, watch.n_seen + len(pixels)), pixels, logits)
        return codes

    def _map(
        self,
        images: Images,
        answer: Callable[[NDArray[np.uint8]], NDArray[_Value]],
        empty: NDArray[_Value],
    ) -> NDArray[_Value]:
        batches: Generator[NDArray[np.uint8], None, None] = self._batches(images)
        with contextlib.closing(batches):
            return np.concatenate([empty, *map(answer, batches)])

    def _batches(self, images: Images) -> Generator[NDArray[np.uint8], None, None]:
        """Pixels of images in batches; the next one is decoded while one is used."""
        sources, batch_size = _iterated(images), default_batch_size(self)
        first = list(islice(sources, batch_size))
        if len(first) < 2:  # a single query, which threads would only delay
            yield from (self.prepare(one)[None] for one in first)
            return
        batches = chain([first], iter(lambda: list(islice(sources, batch_size)), []))
        with ThreadPoolExecutor(available_cpus(), thread_name_prefix="hashkit-decode") as pool:

            def prepared(batch: list[ImageSource]) -> NDArray[np.uint8]:
                return np.stack(list(pool.map(self.prepare, batch)))

            with contextlib.closing(computed_ahead(batches, prepared)) as ahead:
                for _, pixels in ahead:
                    yield pixels


def default_batch_size(encoder: Encoder) -> int:
    """Default batch size for a model's provider and input size."""
    return batch_size_for(encoder.manifest, encoder.provider)


def _is_one(images: Images) -> bool:
    is_one = isinstance(images, str | bytes | os.PathLike | Image.Image)
    return is_one or (isinstance(images, np.ndarray) and images.ndim <= 3)


def _count(images: Images) -> int | None:
    """Number of images; None for an iterable without a length."""
    if _is_one(images):
        return 1
    return len(images) if isinstance(images, Sized) else None


def _iterated(images: Images) -> Iterator[ImageSource]:
    """Iterate over one image or several."""
    if _is_one(images):
        return iter([images])  # type: ignore[list-item]  # narrowed by the line above
    _check_is_no_file(images)
    if isinstance(images, Mapping) or not isinstance(images, Iterable):
        raise ConfigError(
            "`images` must be an image or several in a list, an array or another iterable, not "
            f"{argument_shown(images)}"
        )
    return map(_image, images)


def _image(source: Any) -> ImageSource:
    """One of several images, which may be anything that a caller put into a list."""
    if isinstance(source, str | bytes | os.PathLike | FileContent | Image.Image | np.ndarray):
        return source
    _check_is_no_file(source)
    raise ConfigError(
        "an image must be a path, the bytes of a file, a Pillow image or a uint8 array, not "
        f"{argument_shown(source)}"
    )


def _check_is_no_file(source: object) -> None:
    """Refuse an open file or a buffer: iterating over it would take lines or bytes for images."""
    if isinstance(source, bytearray | memoryview) or hasattr(source, "read"):
        kind = type(source).__name__
        how = "image.read()" if hasattr(source, "read") else "bytes(image)"
        raise ConfigError(f"expected an image file as bytes, found a {kind}: give `{how}`")


def _check_packing(runtime: Runtime) -> None:
    """Compare codes with logits on noise, and check that no bit is NaN or infinite throughout."""
    manifest = runtime.manifest
    shape = (8, manifest.height, manifest.width, 3)
    noise: NDArray[Any] = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    codes, logits = runtime.run(noise)
    broken = np.flatnonzero(~np.isfinite(logits).any(axis=0))
    if len(broken):
        raise ModelError(
            f"expected finite logits, found {len(broken)} of {manifest.n_bits} bits that are NaN "
            "or infinite for every image: the model's weights are damaged, so export it again"
        )
    if not np.array_equal(codes, binarize(logits)):
        raise ModelError(
            "output code must be output logit > 0, packed most significant bit first; "
            "the model packs its codes by another rule"
        )
