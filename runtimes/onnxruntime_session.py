"""A model file in ONNX Runtime, on CUDA or the CPU, and never silently on the other one."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from hashkit.codes import code_size
from hashkit.errors import ConfigError, DeviceError, ModelError
from hashkit.manifest import Manifest
from hashkit.runtimes import cuda
from hashkit.runtimes.contract import check_contract, read_precision
from hashkit.threads import check_threads

__all__ = ["DEVICES", "OnnxRuntimeSession"]

logger = logging.getLogger(__name__)

DEVICES: Final = ("auto", "cpu", "cuda")

_CPU: Final = "CPUExecutionProvider"
_CUDA: Final = "CUDAExecutionProvider"
_SILENT: Final = 4


class OnnxRuntimeSession:
    """A model that keeps the contract of docs/model-contract.md, ready to run.

    Parameters
    ----------
    path
        The ONNX file.
    device
        ``cpu``; ``cuda``, which fails rather than fall back; or ``auto``: CUDA if the model runs
        there, else the CPU, with the reason logged. `provider` says what it became.
    n_threads
        Threads of one operator on the CPU; None for the cores this process may use.
    allow_tf32
        Let CUDA round the factors of matrix products to 10 bits of mantissa. Faster on Ampere
        and newer, but logits then drift by about 1e-3 and bits flip; off by default.
    log_severity
        What ONNX Runtime itself writes to standard error: 0 all, 2 warnings, 3 errors, 4 nothing.

    Raises
    ------
    ModelError
        If the file is missing, not an ONNX model, or breaks the contract.
    DeviceError
        If ``device`` is ``cuda`` and the model cannot run there.
    ConfigError
        If ``device`` is unknown or ``n_threads`` less than 1.
    """

    def __init__(
        self,
        path: str | Path,
        device: str = "auto",
        *,
        n_threads: int | None = None,
        allow_tf32: bool = False,
        log_severity: int = 3,
    ) -> None:
        if device not in DEVICES:
            raise ConfigError(f"unknown device {device!r}; known: {', '.join(DEVICES)}")
        self.path = Path(path)
        self.n_threads = check_threads(n_threads, "n_threads")
        self._allow_tf32 = allow_tf32
        self._log_severity = log_severity
        self._model = _read(self.path)
        self.model_sha256: str = hashlib.sha256(self._model).hexdigest()
        if device != "cpu" and self._open_cuda(required=device == "cuda"):
            self.provider = _CUDA
        else:
            self._open_cpu()
            self.provider = _CPU
        self._model = b""  # ONNX Runtime holds its own copy

    @property
    def name(self) -> str:
        """Name and version of the runtime."""
        return f"onnxruntime {onnxruntime.__version__}"

    def run(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Codes and logits of a batch of images.

        Parameters
        ----------
        images
            uint8 [n, height, width, 3], RGB, at the model's size.

        Returns
        -------
        tuple
            Codes uint8 [n, ceil(n_bits / 8)] and logits float32 [n, n_bits].

        Raises
        ------
        ModelError
            If ``images`` does not fit, or the model fails or answers with other shapes.
        DeviceError
            If the device runs out of memory.
        """
        manifest, n_images = self.manifest, len(images)
        expected = (n_images, manifest.height, manifest.width, 3)
        if images.dtype != np.uint8 or images.shape != expected:
            raise ModelError(
                f"{self.path}: images must be uint8 [n, {manifest.height}, {manifest.width}, 3], "
                f"not {images.dtype} {list(images.shape)}"
            )
        size = code_size(manifest.n_bits)
        if not n_images:
            return np.empty((0, size), np.uint8), np.empty((0, manifest.n_bits), np.float32)
        codes, logits = self._compute(np.ascontiguousarray(images))
        if codes.shape != (n_images, size) or logits.shape != (n_images, manifest.n_bits):
            raise ModelError(
                f"{self.path}: {n_images} images of {manifest.n_bits} bits must give code "
                f"[{n_images}, {size}] and logit [{n_images}, {manifest.n_bits}], not "
                f"{list(codes.shape)} and {list(logits.shape)}"
            )
        return codes, logits

    def _compute(self, images: NDArray[np.uint8]) -> tuple[NDArray[Any], NDArray[Any]]:
        try:
            codes, logits = self._session.run(["code", "logit"], {"image": images})
        except Exception as error:
            text = _first_line(error)
            if "allocate" in text or "out of memory" in text.lower():
                raise DeviceError(
                    f"{self.path}: out of memory on a batch of {len(images)} images; "
                    f"use a smaller batch size ({text})"
                ) from None
            raise ModelError(f"{self.path}: the model failed to run ({text})") from None
        return codes, logits

    def _open_cpu(self) -> None:
        try:
            self._session = self._create(_CPU, {}, self._log_severity)
        except Exception as error:
            raise ModelError(
                f"{self.path}: not an ONNX model that ONNX Runtime "
                f"{onnxruntime.__version__} can load ({_first_line(error)})"
            ) from None
        self._accept()

    def _open_cuda(self, *, required: bool) -> bool:
        reason, level = cuda.why_no_cuda(), logging.INFO
        if reason is None:
            # From here on there is a GPU, and its owner will want to know why it idles.
            reason, level = self._try_cuda(), logging.WARNING
        if reason is None:
            return True
        if required:
            raise DeviceError(
                f"CUDA was asked for, but {reason}; use --device cpu, or auto to take what works"
            )
        logger.log(level, "running on the CPU: %s", reason)
        return False

    def _try_cuda(self) -> str | None:
        """Open the model on CUDA; the reason if that does not work."""
        cuda.load_libraries()
        options = {
            "use_tf32": int(self._allow_tf32),
            # The default, an exhaustive search, picks other kernels from run to run.
            "cudnn_conv_algo_search": "HEURISTIC",
        }
        try:
            self._session = self._create(_CUDA, options, _SILENT)
        except Exception as error:
            return f"ONNX Runtime cannot make a CUDA session ({_first_line(error)})"
        # Where CUDA's libraries do not load, ONNX Runtime gives a CPU session and no error.
        if _CUDA not in self._session.get_providers():
            return (
                "ONNX Runtime could not load its CUDA provider (CUDA or cuDNN libraries are "
                "missing or of another version)"
            )
        try:
            self._accept()
        except (DeviceError, ModelError) as error:
            return f"the model does not run there ({error})"
        return None

    def _create(self, provider: str, provider_options: dict[str, Any], severity: int) -> Any:
        onnxruntime.set_default_logger_severity(severity)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = severity
        options.intra_op_num_threads = self.n_threads
        options.use_deterministic_compute = True
        # Waiting threads would burn the cores that the encode pipeline decodes on: with spinning
        # it reached 92 % of the bare session on two cores, without 96 %, at the same bare rate.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            return onnxruntime.InferenceSession(
                self._model,
                options,
                providers=[(provider, provider_options)],
                enable_fallback=0,
            )
        finally:
            onnxruntime.set_default_logger_severity(self._log_severity)

    def _accept(self) -> None:
        """Check the graph against the contract, then that it computes at all."""
        metadata: dict[str, str] = self._session.get_modelmeta().custom_metadata_map
        on_cuda = _CUDA in self._session.get_providers()
        try:
            precision = read_precision(metadata)
            n_bits, height, width = check_contract(
                self._session.get_inputs(), self._session.get_outputs()
            )
            self.manifest: Manifest = Manifest.from_metadata(
                metadata, n_bits=n_bits, height=height, width=width
            )
        except ModelError as error:
            raise ModelError(f"{self.path}: {error}") from None
        self.precision: str = "tf32" if on_cuda and self._allow_tf32 else precision
        # Two images: a graph traced with one often has that batch baked in further down.
        self.run(np.zeros((2, height, width, 3), np.uint8))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ModelError(f"{path}: there is no such model file") from None
    except OSError as error:
        raise ModelError(f"{path}: the model cannot be read ({error.strerror})") from None


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
