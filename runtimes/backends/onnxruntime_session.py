"""Models in ONNX Runtime on CUDA or the CPU, without silent fallback."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from hashkit.errors import DeviceError, ModelError
from hashkit.messages.foreign_errors import foreign_message
from hashkit.runtimes import cuda
from hashkit.runtimes.backends.fixed_batch import FixedBatch
from hashkit.runtimes.loaded import LoadedModel
from hashkit.runtimes.model_file import ModelFile
from hashkit.runtimes.settings import RuntimeSettings, batch_size_for
from hashkit.threads import check_threads

__all__ = ["OnnxRuntimeSession", "create_session", "cuda_options"]

logger = logging.getLogger(__name__)

_CPU: Final = "CPUExecutionProvider"
_CUDA: Final = "CUDAExecutionProvider"
_SILENT: Final = 4

onnxruntime.disable_telemetry_events()  # only builds for Windows send them; not tried there


class OnnxRuntimeSession(LoadedModel):
    """A model that follows the contract of docs/model-contract.md, loaded by ONNX Runtime.

    Parameters
    ----------
    path
        The ONNX file.
    device
        ``cpu``; ``cuda``, which raises an error instead of falling back; or ``auto``: CUDA if the
        model runs there, otherwise the CPU, with the reason logged. `provider` reports the choice.
    n_threads
        Threads per operator on the CPU; None for one per CPU available to this process.
    profile
        Profile on CUDA. ``exact``: fp32, convolutions chosen by rule, and batches of one size
        (`FixedBatch`), so that an image's bits depend only on the image. ``fast``: convolutions
        chosen by timing, and TF32, which rounds factors to 10 bits of mantissa; logits then
        change by about 1e-3, and bits flip.
    batch_size
        Images per batch in ``exact``; None to choose by input size.
    log_severity
        What ONNX Runtime writes to standard error: 0 all, 2 warnings, 3 errors, 4 nothing. Errors
        are raised as exceptions too, and its output repeats names from the file unchanged.

    Raises
    ------
    ModelError
        If the file is missing, not an ONNX model, or breaks the contract.
    DeviceError
        If ``device`` is ``cuda`` and the model cannot run there.
    ConfigError
        If device or profile is unknown, or a number is less than 1.
    """

    def __init__(
        self,
        path: str | Path,
        device: str = "auto",
        *,
        n_threads: int | None = None,
        profile: str = "exact",
        batch_size: int | None = None,
        log_severity: int = _SILENT,
    ) -> None:
        self._settings = RuntimeSettings(
            device=device, n_threads=n_threads, profile=profile, batch_size=batch_size
        )
        self.n_threads = check_threads(n_threads, "n_threads")
        self._log_severity = log_severity
        file = ModelFile.read(Path(path))
        super().__init__(file)
        if device == "cpu" or not self._open_cuda(file, required=device == "cuda"):
            self._open_cpu(file)

    @property
    def name(self) -> str:
        """Name and version of the runtime."""
        return f"onnxruntime {onnxruntime.__version__}"

    def _compute(self, images: NDArray[np.uint8]) -> tuple[NDArray[Any], NDArray[Any]]:
        if self._batches is not None:
            return self._batches.run(images)
        codes, logits = self._session.run(["code", "logit"], {"image": images})
        return codes, logits

    def _open_cpu(self, file: ModelFile) -> None:
        try:
            session = create_session(file.data, _CPU, {}, self.n_threads, self._log_severity)
        except Exception as error:
            raise self._not_loaded(f"ONNX Runtime {onnxruntime.__version__}", error) from None
        self._accept(file, session, _CPU)

    def _open_cuda(self, file: ModelFile, *, required: bool) -> bool:
        reason, level = cuda.why_no_cuda(), logging.INFO
        if reason is None:
            # There is a GPU, so the user should know why it is not used.
            reason, level = self._try_cuda(file), logging.WARNING
        if reason is None:
            return True
        if required:
            raise cuda.not_on_cuda(reason)
        logger.log(level, "running on the CPU: %s", reason)
        return False

    def _try_cuda(self, file: ModelFile) -> str | None:
        """Open the model on CUDA; return the reason if that fails."""
        cuda.load_libraries()
        options = cuda_options(self._settings.profile)
        try:
            session = create_session(
                file.data, _CUDA, options, self.n_threads, _SILENT, self._log_severity
            )
        except Exception as error:
            return f"ONNX Runtime cannot make a CUDA session ({foreign_message(error)})"
        # If the CUDA libraries do not load, ONNX Runtime makes a CPU session without an error.
        if _CUDA not in session.get_providers():
            return (
                "ONNX Runtime could not load its CUDA provider (CUDA or cuDNN libraries are "
                "missing or of another version)"
            )
        try:
            self._accept(file, session, _CUDA)
        except (DeviceError, ModelError) as error:
            return f"the model does not run on CUDA ({error})"
        return None

    def _accept(self, file: ModelFile, session: Any, provider: str) -> None:
        """Check the graph against the contract, then check that it runs."""
        self._session, self.provider = session, provider
        self._batches: FixedBatch | None = None
        self._describe(file, session.get_inputs(), session.get_outputs())
        if provider == _CUDA and self._settings.profile == "exact":
            self._batches = self._fixed_batches()
        if provider == _CUDA and self._settings.profile == "fast" and self.precision == "fp32":
            self.precision = "tf32"
        self._try()

    def _fixed_batches(self) -> FixedBatch:
        size = self._settings.batch_size or batch_size_for(self.manifest, self.provider)
        try:
            return FixedBatch(self._session, self.manifest, size, "cuda")
        except Exception as error:
            raise DeviceError(
                f"{self.path}: no memory for buffers of {size} images; use a smaller batch size "
                f"({foreign_message(error)})"
            ) from None


def cuda_options(profile: str) -> dict[str, Any]:
    """Options of ONNX Runtime's CUDA provider for a profile."""
    if profile == "fast":
        return {"use_tf32": 1, "cudnn_conv_algo_search": "EXHAUSTIVE"}
    # An exhaustive search times kernels, so its choice differs between runs.
    return {"use_tf32": 0, "cudnn_conv_algo_search": "HEURISTIC"}


def create_session(
    model: bytes,
    provider: str,
    provider_options: dict[str, Any],
    n_threads: int,
    severity: int,
    severity_after: int | None = None,
) -> Any:
    """Make a session of ONNX Runtime on one provider.

    Parameters
    ----------
    model
        Bytes of an ONNX file.
    provider, provider_options
        As ONNX Runtime names them.
    n_threads
        Threads per operator on the CPU.
    severity
        What ONNX Runtime writes to standard error: 0 all, 2 warnings, 3 errors, 4 nothing.
    severity_after
        The same after the session is made; None for ``severity``.
    """
    onnxruntime.set_default_logger_severity(severity)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = severity
    options.intra_op_num_threads = n_threads
    options.use_deterministic_compute = True
    # Spinning threads take CPU time from the threads that decode: on two cores the encode pipeline
    # reached 92% of the rate of the bare session with spinning, and 96% without.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(
            model, options, providers=[(provider, provider_options)], enable_fallback=0
        )
    finally:
        onnxruntime.set_default_logger_severity(
            severity if severity_after is None else severity_after
        )
