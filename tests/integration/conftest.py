"""Real servers for the integration tests.

One private RabbitMQ for each series and one Redis, started when a test first needs them and ended
with the session; every test module works in virtual hosts of its own, which are deleted after it. A
broker named by ``LANEWAY_BROKER_URL`` is used as it is and never stopped.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NoReturn

import pytest
from redis import Redis

from laneway.broker.address import VHOST_KINDS, BrokerAddress, broker_address
from laneway.broker.management import Management
from laneway.broker.profile import Profile, profile_of
from laneway.deadletter import DeadLetters
from laneway.local import (
    BugsinkClient,
    InstallFailed,
    LicenceNotAccepted,
    PrivateBugsink,
    PrivateRabbitMQ,
    PrivateRedis,
    RunDirectory,
    ServerNotInstalled,
    start_bugsink,
    start_rabbitmq,
    start_redis,
)
from laneway.local.broker43 import is_installed as is_43_installed
from support.envelopes import EnvelopeSink
from support.findings import Findings
from support.outboxes import KINDS, Outboxes, TestOutbox
from support.postgres import find_postgres
from support.topology import apply_policy, purge_queues
from support.workers import close_apps, make_app

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from laneway import Laneway

Series = Literal["3.10", "4.3"]


@dataclass(frozen=True, kw_only=True)
class TestBroker:
    """A running broker for tests."""

    __test__ = False

    #: Its address, without a prefix of virtual hosts.
    address: BrokerAddress
    #: What it reports, like ``4.3.6``.
    version: str
    #: The server, if the session started it: it may be paused or restarted.
    private: PrivateRabbitMQ | None

    @property
    def profile(self) -> Profile:
        """What the platform promises on it."""
        return profile_of(self.version)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    chosen = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    if "outbox" in metafunc.fixturenames and "outbox" not in chosen:
        metafunc.parametrize("outbox", KINDS, indirect=True)
    if "broker" in metafunc.fixturenames:
        brokers = _wanted_brokers(metafunc.config)
        metafunc.parametrize("broker", brokers, indirect=True, scope="session")


def _wanted_brokers(config: pytest.Config) -> list[str]:
    chosen: str = config.getoption("--broker")
    if chosen == "all":
        return ["3.10", "4.3"]
    if chosen != "auto":
        return [chosen]
    if os.environ.get("LANEWAY_BROKER_URL"):
        return ["given"]
    return ["3.10", "4.3"] if is_43_installed() else ["3.10"]


@pytest.fixture(scope="session")
def run_directory() -> Iterator[RunDirectory]:
    """What the private servers of the session belong to."""
    with RunDirectory.create() as run:
        yield run


@pytest.fixture(scope="session")
def broker(request: pytest.FixtureRequest) -> Iterator[TestBroker]:
    """A broker; the tests run once for each wanted series."""
    if request.param == "given":
        address = broker_address(vhost_prefix="")
        with Management(address) as management:
            version = management.server_version()
        yield TestBroker(address=address, version=version, private=None)
        return
    series: Series = request.param
    run: RunDirectory = request.getfixturevalue("run_directory")
    try:
        server = start_rabbitmq(run, series=series)
    except (ServerNotInstalled, InstallFailed) as error:
        _skip_on_a_laptop(f"no RabbitMQ {series}: {error}")
    with server:
        address = broker_address(server.url, server.management_url, vhost_prefix="", env={})
        yield TestBroker(address=address, version=server.version, private=server)


@pytest.fixture(autouse=True)
def _only_on_43(request: pytest.FixtureRequest) -> None:
    """Tests marked ``broker43`` run where the broker keeps the promises of 4.3."""
    if request.node.get_closest_marker("broker43"):
        broker: TestBroker = request.getfixturevalue("broker")
        if broker.profile.name != "4.3":
            pytest.skip(f"RabbitMQ {broker.version} does not promise it (make test-broker43)")


@pytest.fixture(scope="session")
def redis(run_directory: RunDirectory) -> Iterator[PrivateRedis]:
    """A Redis with ``url``."""
    try:
        server = start_redis(run_directory)
    except (ServerNotInstalled, InstallFailed) as error:
        _skip_on_a_laptop(f"no Redis: {error}")
    with server:
        yield server


@pytest.fixture
def redis_client(redis: PrivateRedis) -> Iterator[Redis]:
    """That Redis, empty, to look into."""
    with Redis.from_url(redis.url) as client:
        client.flushdb()
        yield client


@pytest.fixture(scope="session")
def bugsink(run_directory: RunDirectory) -> Iterator[PrivateBugsink]:
    """A server for errors."""
    try:
        server = start_bugsink(run_directory)
    except LicenceNotAccepted as error:
        # Nobody but a person can accept it, so CI goes on without as well.
        pytest.skip(f"{error} (make bugsink)")
    except (ServerNotInstalled, InstallFailed) as error:
        _skip_on_a_laptop(f"no Bugsink: {error}")
    with server:
        yield server


@pytest.fixture(scope="session")
def bugsink_client(bugsink: PrivateBugsink) -> Iterator[BugsinkClient]:
    """Reads from it."""
    with bugsink.client() as client:
        yield client


@pytest.fixture(scope="module")
def findings(request: pytest.FixtureRequest, bugsink_client: BugsinkClient) -> Findings:
    """A project of its own for each test module."""
    name = f"{request.module.__name__.rpartition('.')[2]}-{secrets.token_hex(3)}"
    return Findings(client=bugsink_client, project=bugsink_client.create_project(name))


@pytest.fixture
def sink() -> Iterator[EnvelopeSink]:
    """A server that keeps all that Sentry's clients send, and can misbehave."""
    with EnvelopeSink() as sink:
        yield sink


@pytest.fixture(scope="session")
def outboxes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outboxes]:
    """Databases for outboxes; PostgreSQL among them where it is installed."""
    folder = tmp_path_factory.mktemp("outboxes")
    with Outboxes.on(folder, postgres=find_postgres() is not None) as made:
        yield made


@pytest.fixture
def outbox(request: pytest.FixtureRequest, outboxes: Outboxes) -> TestOutbox:
    """An empty outbox; the tests run once for each kind of database."""
    if request.param.endswith("postgres") and find_postgres() is None:
        pytest.skip("no PostgreSQL is installed (Debian: apt-get install postgresql)")
    return outboxes.make(request.param)


@pytest.fixture(scope="module")
def module_address(broker: TestBroker) -> Iterator[BrokerAddress]:
    """Virtual hosts for all tests of one module: their names are free, nothing exists yet."""
    yield from _throw_away_vhosts(broker)


@pytest.fixture
def address(broker: TestBroker) -> Iterator[BrokerAddress]:
    """Virtual hosts for one test: their names are free, nothing exists yet."""
    yield from _throw_away_vhosts(broker)


@pytest.fixture
def management(address: BrokerAddress) -> Iterator[Management]:
    """The broker's management interface."""
    with Management(address) as client:
        yield client


def _throw_away_vhosts(broker: TestBroker) -> Iterator[BrokerAddress]:
    prefix = f"test-{secrets.token_hex(5)}-"
    address = broker_address(
        broker.address.urls, broker.address.management_url, vhost_prefix=prefix, env={}
    )
    try:
        yield address
    finally:
        with Management(address) as client:
            for kind in VHOST_KINDS:
                client.delete_vhost(address.vhost(kind))


def _skip_on_a_laptop(reason: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def module_topology(module_address: BrokerAddress) -> BrokerAddress:
    """Virtual hosts for one module, in which the topology of the tests' policy stands."""
    apply_policy(module_address)
    return module_address


@pytest.fixture
def topology(module_topology: BrokerAddress) -> BrokerAddress:
    """The same, with empty queues."""
    purge_queues(module_topology)
    return module_topology


@pytest.fixture
def app(address: BrokerAddress) -> Laneway:
    """A producer of one test, where everything stands and is empty; many modules have their own."""
    apply_policy(address)
    return make_app(address)


@pytest.fixture
def letters(app: Laneway, tmp_path: Path) -> Iterator[DeadLetters]:
    """Its dead letters, with an index of their own."""
    with DeadLetters(app, folder=tmp_path / "index") as made:
        yield made


@pytest.fixture
def bare_address(address: BrokerAddress) -> BrokerAddress:
    """Virtual hosts that exist and hold nothing."""
    with Management(address) as client:
        for kind in VHOST_KINDS:
            client.create_vhost(address.vhost(kind))
    return address


@pytest.fixture(autouse=True)
def _close_apps() -> Iterator[None]:
    """Leave no connection of a producer behind."""
    yield
    close_apps()
