"""One Ray cluster for all tests that use one: a head and two nodes on this machine."""

from __future__ import annotations

import importlib.util
import sys

import pytest
from ray_cluster import Cluster, cluster


@pytest.fixture(scope="session")
def ray_cluster(tmp_path_factory):
    """The cluster; this process finds it through its environment, as a user's shell does."""
    if sys.platform != "linux" or importlib.util.find_spec("ray") is None:
        pytest.skip("several Ray nodes on one machine need Linux, and Ray")
    with cluster(tmp_path_factory.mktemp("ray")) as one, pytest.MonkeyPatch.context() as patch:
        for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
            patch.setenv(name, one.environment[name])
        yield one


@pytest.fixture
def nodes(ray_cluster: Cluster):
    """The cluster with two nodes, whatever an earlier test did to them."""
    ray_cluster.restore(2)
    return ray_cluster
