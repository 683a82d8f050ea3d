"""Every exception that hashkit raises on purpose.

::

    HashkitError
    |-- ConfigError            a setting that makes no sense (also a ValueError)
    |-- CodesError             codes of the wrong shape, type or padding (also a ValueError)
    |-- EvaluationError        codes and labels that cannot be evaluated together
    |-- ImageError             an image that cannot be used; `reason` says which way
    |-- DatasetError           an image set that cannot be opened
    |   |-- DownloadError      ... because its files could not be fetched or verified
    |   `-- ProtocolError      a split that the image set cannot give
    |-- ModelError             an ONNX file that breaks the model contract
    |   `-- ParityError        an exported model that answers differently from its source
    |-- TrainingError          a training that cannot go on
    |-- CheckpointError        a checkpoint that cannot be read or does not fit
    |-- BankError              a code bank that cannot be read or written
    |   |-- BankMismatchError  ... because version, bits, model or images do not fit
    |   `-- BankLockedError    ... because another process is writing it
    |-- IndexMismatchError     an index that is damaged, or was built of other codes
    |-- RunError               a run folder that is missing or incomplete
    |-- DeviceError            a device that was asked for and is not there
    `-- MissingExtraError      an optional dependency that is not installed (also an ImportError)

A message is one line: what was expected, what was found, how to fix it. It gives the arguments of
Python as code, `` `overwrite=True` `` or `` `seed` ``; the command line prints their flags.
"""

from __future__ import annotations

from typing import Literal

from hashkit.distribution import install_command

__all__ = [
    "BankError",
    "BankLockedError",
    "BankMismatchError",
    "CheckpointError",
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
    "TrainingError",
]

ImageFault = Literal["missing", "broken", "truncated", "too-large", "unsupported"]


class HashkitError(Exception):
    """Base of all errors that the user can mend."""


class ConfigError(HashkitError, ValueError):
    """A setting that makes no sense, or contradicts another."""


class CodesError(HashkitError, ValueError):
    """Codes whose shape, dtype, bit count or padding is not the code convention's."""


class EvaluationError(HashkitError, ValueError):
    """Codes and labels that cannot be evaluated together."""


class ImageError(HashkitError):
    """An image that cannot be used.

    Attributes
    ----------
    reason
        ``missing``, ``broken`` (not an image, or damaged), ``truncated``, ``too-large``
        (more pixels than allowed) or ``unsupported`` (an image, but of a kind without a
        defined conversion to 8-bit RGB).
    """

    def __init__(self, message: str, reason: ImageFault) -> None:
        super().__init__(message)
        self.reason: ImageFault = reason


class DatasetError(HashkitError):
    """An image set that cannot be opened."""


class DownloadError(DatasetError):
    """Files of an image set that could not be fetched or verified."""


class ProtocolError(DatasetError):
    """A split that the image set cannot give."""


class ModelError(HashkitError):
    """An ONNX file that breaks the model contract."""


class ParityError(ModelError):
    """An exported model that answers differently from its source."""


class TrainingError(HashkitError):
    """A training that cannot go on, because its loss is no longer a number."""


class CheckpointError(HashkitError):
    """A checkpoint that cannot be read, or does not fit what it is loaded into."""


class BankError(HashkitError):
    """A code bank that cannot be read or written."""


class BankMismatchError(BankError):
    """A code bank whose version, bits, model or image list does not fit."""


class BankLockedError(BankError):
    """A code bank that another process is writing."""


class IndexMismatchError(HashkitError):
    """An index that cannot be read, or was not built of the codes it is opened for."""


class RunError(HashkitError):
    """A run folder that is missing or incomplete."""


class DeviceError(HashkitError):
    """A device that was asked for and cannot be had."""


class MissingExtraError(HashkitError, ImportError):
    """An optional dependency that is not installed.

    Parameters
    ----------
    package
        The import that failed, for example ``torch``.
    extra
        The extra of the distribution that brings it, for example ``train``.
    purpose
        What needs it, as it stands in the sentence "... needs torch".
    """

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs {package}, which is not installed: {install_command(extra)}"
        )
