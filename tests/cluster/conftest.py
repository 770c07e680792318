"""One plane for all tests of a session, and a namespace for each test."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from cluster import given
from cluster.errors import ClusterUnavailable
from cluster.keda import keda as start_keda
from cluster.plane import Plane
from cluster.plane import plane as start_plane

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster.given import Cluster
    from cluster.keda import Keda

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """The control plane of this session; the test skips where none can run."""
    if given.is_given():
        pytest.skip("needs a plane of its own, and LANEWAY_CLUSTER=given")
    try:
        with start_plane(tmp_path_factory.mktemp("plane-logs")) as started:
            yield started
    except ClusterUnavailable as problem:
        pytest.skip(str(problem))


@pytest.fixture(scope="session")
def keda(plane: Plane) -> Iterator[Keda]:
    """KEDA on the plane, from the first test that asks for it."""
    try:
        with start_keda(plane) as started:
            yield started
    except ClusterUnavailable as problem:
        pytest.skip(str(problem))


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """The plane, or the given cluster: for what needs nothing but the API."""
    if not given.is_given():
        own: Plane = request.getfixturevalue("plane")
        return own
    try:
        return given.Given(tmp_path_factory.mktemp("given"))
    except ClusterUnavailable as problem:
        pytest.skip(str(problem))


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A Kubernetes namespace of the test's own."""
    name = f"laneway-test-{next(_numbers)}"
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")
