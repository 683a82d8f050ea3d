"""What several tests of training need."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def timm_and_torchvision():
    """Imported here, because it takes seconds that collecting the tests should not cost."""
    pytest.importorskip("timm")
    pytest.importorskip("torchvision")
