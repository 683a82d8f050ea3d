"""All exceptions of hashkit.

::

    HashkitError
    |-- ConfigError            an invalid setting (also a ValueError)
    |-- CodesError             codes of the wrong shape, type or padding (also a ValueError)
    |-- EvaluationError        codes and labels that cannot be evaluated together
    |-- ImageError             an image that cannot be used; `reason` is the kind of fault
    |-- DatasetError           a dataset that cannot be opened
    |   |-- DownloadError      ... because its files could not be downloaded or verified
    |   `-- ProtocolError      a split that is not possible with the dataset
    |-- ModelError             an ONNX file that violates the model contract
    |   `-- ParityError        an exported model whose outputs differ from its source's
    |-- TrainingError          a training that cannot continue
    |-- CheckpointError        a checkpoint that cannot be read or does not match
    |-- BankError              a code bank that cannot be read or written
    |   |-- BankMismatchError  ... because version, bits, model or images do not match
    |   `-- BankLockedError    ... because another process is writing it
    |-- IndexMismatchError     an index that is damaged, or was built from other codes
    |-- RunError               a run folder that is missing or incomplete
    |   `-- RunLockedError     ... because another process trains or exports it
    |-- DeviceError            a device that is not available
    |-- ClusterError           a cluster that is not available, or a job on it that failed
    `-- MissingExtraError      an optional dependency that is not installed (also an ImportError)

A message is one line without control characters: what was expected, what was found, how to fix it.
It names Python arguments as code, `` `overwrite=True` `` or `` `seed` ``; the command line prints
flags instead.
"""

from __future__ import annotations

from typing import Literal

from hashkit.distribution import install_command
from hashkit.messages.visible_text import visible

__all__ = [
    "BankError",
    "BankLockedError",
    "BankMismatchError",
    "CheckpointError",
    "ClusterError",
    "CodesError",
    "ConfigError",
    "DatasetError",
    "DeviceError",
    "DownloadError",
    "EvaluationError",
    "HashkitError",
    "ImageError",
    "ImageFault",
    "IndexMismatchError",
    "MissingExtraError",
    "ModelError",
    "ParityError",
    "ProtocolError",
    "RunError",
    "RunLockedError",
    "TrainingError",
]

ImageFault = Literal["missing", "broken", "truncated", "too-large", "unsupported"]


class HashkitError(Exception):
    """Base class of all errors that the user can fix.

    Its text is one line. Control characters are escaped, because names in a file may be anything.
    """

    def __str__(self) -> str:
        return visible(super().__str__().replace("\n", " "))


class ConfigError(HashkitError, ValueError):
    """A setting that is invalid or contradicts another."""


class CodesError(HashkitError, ValueError):
    """Codes whose shape, dtype, number of bits or padding violates the code convention."""


class EvaluationError(HashkitError, ValueError):
    """Codes and labels that cannot be evaluated together."""


class ImageError(HashkitError):
    """An image that cannot be used.

    Attributes
    ----------
    reason
        ``missing``, ``broken`` (not an image, or damaged), ``truncated``, ``too-large`` (more
        pixels than allowed) or ``unsupported`` (no defined conversion to 8-bit RGB).
    """

    def __init__(self, message: str, reason: ImageFault) -> None:
        super().__init__(message)
        self.reason: ImageFault = reason


class DatasetError(HashkitError):
    """A dataset that cannot be opened."""


class DownloadError(DatasetError):
    """Files of a dataset that could not be downloaded or verified."""


class ProtocolError(DatasetError):
    """A split that is not possible with the dataset."""


class ModelError(HashkitError):
    """An ONNX file that violates the model contract."""


class ParityError(ModelError):
    """An exported model whose outputs differ from its source's."""


class TrainingError(HashkitError):
    """A training that cannot continue, because its loss is not a finite number."""


class CheckpointError(HashkitError):
    """A checkpoint that cannot be read, or does not match what it is loaded into."""


class BankError(HashkitError):
    """A code bank that cannot be read or written."""


class BankMismatchError(BankError):
    """A code bank whose version, bits, model or image list does not match."""


class BankLockedError(BankError):
    """A code bank that another process is writing."""


class IndexMismatchError(HashkitError):
    """An index that cannot be read, or was built from other codes."""


class RunError(HashkitError):
    """A run folder that is missing or incomplete."""


class RunLockedError(RunError):
    """A run that another process trains or exports."""


class DeviceError(HashkitError):
    """A requested device that is not available."""


class ClusterError(HashkitError):
    """A cluster that is not available, or a job on it that failed."""


class MissingExtraError(HashkitError, ImportError):
    """An optional dependency that is not installed.

    Parameters
    ----------
    package
        The import that failed, for example ``torch``.
    extra
        The extra of the distribution that installs it, for example ``train``.
    purpose
        What needs the package: the subject of the sentence "... needs torch".
    """

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs {package}, which is not installed: {install_command(extra)}"
        )
