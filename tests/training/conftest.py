"""What several tests of training need."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def timm_and_torchvision():
    """Imported here, so that collecting the tests does not take seconds longer."""
    pytest.importorskip("timm")
    pytest.importorskip("torchvision")
