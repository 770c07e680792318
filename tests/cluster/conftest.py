"""One plane for all tests of a session, and a namespace for each test."""

from __future__ import annotations

import itertools
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cluster import given
from cluster.book import Book, book
from cluster.errors import ClusterUnavailable, CommandFailed
from cluster.keda import keda as start_keda
from cluster.node.image import Image, laneway_image
from cluster.node.nodes import nodes
from cluster.plane import Plane
from cluster.plane import plane as start_plane
from cluster.rabbitmq import Broker, Endpoint, rabbitmq
from cluster.release import NAME, Release
from cluster.workload import Workload
from laneway.local import ServerNotInstalled

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping

    from cluster.given import Cluster
    from cluster.keda import Keda
    from cluster.node.node import Node

_ROOT = Path(__file__).parents[2]
_NODES = {"node-a": "one", "node-b": "two"}
_numbers = itertools.count(1)
_TAIL = 3_000


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Beside a failure: all pods, and what the nodes and the containers of the test said."""
    report = yield
    found = getattr(item, "funcargs", {})
    if report.failed and "two" in found and "plane" in found:
        report.sections += _sections(found["plane"], found["two"], found.get("namespace", ""))
    return report


def _sections(plane: Plane, made: Mapping[str, Node], namespace: str) -> Iterator[tuple[str, str]]:
    try:
        yield "pods", plane.kubectl("get", "pods", "-A", "-o", "wide")
    except CommandFailed as problem:
        yield "pods", str(problem)
    for node in made.values():
        for log in (node.log, *sorted(node.logs.glob(f"{namespace}_*.log"))):
            yield f"{node.name}/{log.name}", log.read_text(errors="replace")[-_TAIL:]


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


@pytest.fixture(scope="session")
def _nodes(plane: Plane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Node]]:
    scripts = tmp_path_factory.mktemp("scripts")
    # Pods are no root, and pytest's folders are closed to others.
    for folder in (scripts.parent, scripts.parent.parent):
        folder.chmod(0o755)
    images = {
        "laneway": laneway_image(_ROOT, scripts),
        "python": Image(entrypoint=(sys.executable,), user=65532, group=65532),
    }
    logs = tmp_path_factory.mktemp("nodes")
    with nodes(plane, _NODES, images=images, logs=logs) as made:
        yield made


@pytest.fixture
def two(plane: Plane, _nodes: Mapping[str, Node]) -> Iterator[Mapping[str, Node]]:
    """Two nodes, each in a zone of its own. Nothing is scheduled there but in tests that ask."""
    for name, node in _nodes.items():
        if not node.runs:
            node.start()
            plane.kubectl("wait", "--for=condition=Ready", f"node/{name}", "--timeout=50s")
    plane.kubectl("uncordon", *_nodes)
    yield _nodes
    plane.kubectl("cordon", *_nodes)


@pytest.fixture(scope="session")
def broker(plane: Plane) -> Iterator[Broker]:
    """RabbitMQ 4.3 in the plane's network."""
    try:
        with rabbitmq(plane) as started:
            yield started
    except ServerNotInstalled as why:
        pytest.skip(str(why))


@pytest.fixture
def prefix(namespace: str) -> str:
    """Of the test's own virtual hosts."""
    return f"{namespace}-"


@pytest.fixture
def ledger(plane: Plane, broker: Broker, prefix: str) -> Iterator[Book]:
    """What becomes of the test's jobs."""
    with book(plane, broker, prefix) as made:
        yield made


@pytest.fixture
def work(
    plane: Plane, two: Mapping[str, Node], namespace: str, broker: Broker, prefix: str, ledger: Book
) -> Workload:
    """Workers without the chart; their topology stands."""
    made = Workload(plane, namespace, broker, prefix, ledger)
    made.prepare()
    return made


@pytest.fixture
def release(
    plane: Plane, two: Mapping[str, Node], namespace: str, broker: Broker, prefix: str, ledger: Book
) -> Iterator[Release]:
    """The chart, to be installed, with a broker beside the cluster."""
    with _prepared(Release(plane, namespace, broker.endpoint, prefix, ledger.folder)) as made:
        yield made


@pytest.fixture
def release_without_broker(
    plane: Plane, two: Mapping[str, Node], namespace: str, tmp_path: Path
) -> Iterator[Release]:
    """The same, with nobody at the broker's address."""
    nobody = Endpoint(ip="10.89.250.250")
    with _prepared(Release(plane, namespace, nobody, "", tmp_path)) as made:
        yield made


@contextmanager
def _prepared(made: Release) -> Iterator[Release]:
    made.prepare()
    try:
        yield made
    finally:
        # What KEDA looks after has a finalizer of KEDA's: it goes while KEDA is there.
        made.helm("uninstall", NAME, "--ignore-not-found", "--wait", "--timeout=120s")
