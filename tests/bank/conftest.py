"""Banks of a few rows in an empty folder."""

from __future__ import annotations

import pytest
from writer_samples import create, write


@pytest.fixture
def path(tmp_path):
    return tmp_path / "bank.h5"


@pytest.fixture
def complete(path):
    with create(path) as writer:
        write(writer, range(6), 6)
        writer.complete()
    return path


@pytest.fixture
def half(path):
    with create(path) as writer:
        write(writer, range(3), 3)
    return path
