"""Imports OpenVINO without its analytics.

OpenVINO reports each import to Google Analytics by the package ``openvino_telemetry``, and stores
an identity in the user's home folder. This can be turned off only by a file in that folder. But
OpenVINO also works without the package, so during the import this process pretends that the
package is not installed.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

__all__ = ["openvino"]


@contextlib.contextmanager
def _not_installed(package: str) -> Iterator[None]:
    """Let imports of a package fail as if it were not installed."""
    before = sys.modules.get(package)
    sys.modules[package] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[package]
        if before is not None:
            sys.modules[package] = before


with _not_installed("openvino_telemetry"):
    import openvino
    import openvino.properties.hint
