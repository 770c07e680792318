"""Private servers, for real: quick to come up, alone on the machine, gone without a trace."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import pytest

from laneway.local import (
    PrivateRabbitMQ,
    PrivateServer,
    RunDirectory,
    Series,
    ServerCommandFailed,
    ServerStartFailed,
    find_rabbitmq,
    start_rabbitmq,
    start_redis,
)
from laneway.local.process import Stat

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.integration

STANDARD_PORTS = (4369, 5672, 6379, 15672, 25672)
ALL_SERIES: list[Series] = ["3.10", "4.3"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Holds the runs of this module; the space in its name is no accident."""
    folder = tmp_path_factory.mktemp("laneway home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LANEWAY_HOME", str(folder))
        yield folder


@pytest.fixture(scope="module")
def run(home: Path) -> Iterator[RunDirectory]:
    with RunDirectory.create() as run:
        yield run


@pytest.fixture(scope="module", params=ALL_SERIES)
def node(run: RunDirectory, request: pytest.FixtureRequest) -> Iterator[PrivateRabbitMQ]:
    skip_without(request.param)
    with start_rabbitmq(run, series=request.param) as node:
        assert node.version.startswith(request.param)
        yield node


def skip_without(series: Series) -> None:
    if series == "4.3" and find_rabbitmq("4.3") is None:
        pytest.skip("the RabbitMQ 4.3 folder does not exist: `make broker43` makes it")


def api(node: PrivateRabbitMQ, method: str, path: str, body: object = None) -> Any:
    address = urlsplit(node.management_url)
    answer = httpx.request(
        method,
        f"http://{address.hostname}:{address.port}/api/{path}",
        auth=(address.username or "", address.password or ""),
        json=body,
    )
    answer.raise_for_status()
    return answer.json() if answer.content else None


def declare(node: PrivateRabbitMQ, kind: str) -> None:
    arguments = {"x-queue-type": kind}
    api(node, "PUT", f"queues/%2F/{kind}", {"durable": True, "arguments": arguments})


def publish(node: PrivateRabbitMQ, queue: str) -> None:
    message = {
        "properties": {"delivery_mode": 2},
        "routing_key": queue,
        "payload": "x",
        "payload_encoding": "string",
    }
    answer = api(node, "POST", "exchanges/%2F/amq.default/publish", message)
    assert answer == {"routed": True}


def wait_for_messages(node: PrivateRabbitMQ, queue: str, count: int) -> float:
    started = time.monotonic()
    while time.monotonic() < started + 20:
        if api(node, "GET", f"queues/%2F/{queue}").get("messages") == count:
            return time.monotonic() - started
        time.sleep(0.05)
    raise AssertionError(f"{queue} does not show {count} messages")


def processes_of(run_id: str) -> set[int]:
    found = set()
    for entry in Path("/proc").iterdir():
        try:
            mark = f"LANEWAY_RUN={run_id}".encode() in (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if mark:
            found.add(int(entry.name))
    return found


def listeners(pids: set[int]) -> set[tuple[str, int]]:
    """(address, port) of every TCP port that these processes listen on."""
    inodes = set()
    for pid in pids:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            try:
                inodes.add(str(link.readlink()).removeprefix("socket:[").removesuffix("]"))
            except OSError:
                continue
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                address, port = fields[1].split(":")
                found.add((address, int(port, 16)))
    return found


def test_quorum_queues_and_streams_work(node: PrivateRabbitMQ) -> None:
    for kind in ("quorum", "stream", "classic"):
        declare(node, kind)
        publish(node, kind)
    assert {q["name"]: q["type"] for q in api(node, "GET", "queues")} == {
        "quorum": "quorum",
        "stream": "stream",
        "classic": "classic",
    }


def test_statistics_are_about_a_second_old(node: PrivateRabbitMQ) -> None:
    declare(node, "quorum")
    api(node, "DELETE", "queues/%2F/quorum/contents")
    wait_for_messages(node, "quorum", 0)
    publish(node, "quorum")
    assert wait_for_messages(node, "quorum", 1) < 4


def test_everything_listens_on_loopback_and_not_on_standard_ports(
    run: RunDirectory, node: PrivateRabbitMQ
) -> None:
    found = listeners(processes_of(run.id))
    assert len({port for _, port in found}) >= 4
    assert {address for address, _ in found} <= {"0100007F", "0" * 24 + "01000000"}
    assert not {port for _, port in found} & set(STANDARD_PORTS)


def test_there_is_no_guest_and_no_way_in_without_the_password(node: PrivateRabbitMQ) -> None:
    address = urlsplit(node.management_url)
    overview = f"http://{address.hostname}:{address.port}/api/overview"
    assert httpx.get(overview, auth=("guest", "guest")).status_code == 401
    assert httpx.get(overview, auth=(address.username or "", "wrong")).status_code == 401
    assert node.ctl("list_users").split() == [
        "user", "tags", address.username, "[administrator]"
    ]  # fmt: skip


def test_secrets_are_in_no_command_line_environment_or_open_file(
    run: RunDirectory, node: PrivateRabbitMQ
) -> None:
    password = (urlsplit(node.url).password or "").encode()
    cookies = [file.read_bytes() for file in run.path.rglob(".erlang.cookie")]
    assert len(password) > 20
    assert cookies
    for pid in processes_of(run.id):
        for file in ("cmdline", "environ"):
            text = Path(f"/proc/{pid}/{file}").read_bytes()
            assert not [secret for secret in (password, *cookies) if secret in text]
    assert run.path.stat().st_mode & 0o077 == 0
    for config in run.path.rglob("rabbitmq.conf"):
        assert config.stat().st_mode & 0o077 == 0


def test_ctl_reports_errors_without_its_arguments(node: PrivateRabbitMQ) -> None:
    with pytest.raises(ServerCommandFailed) as failed:
        node.ctl("change_password", "nobody", "a secret")
    assert failed.value.command == "rabbitmqctl change_password"
    assert "a secret" not in str(failed.value)


def test_a_paused_broker_is_silent_and_comes_back(node: PrivateRabbitMQ) -> None:
    address = urlsplit(node.management_url)
    node.pause()
    try:
        with pytest.raises(httpx.TimeoutException):
            httpx.get(f"http://{address.hostname}:{address.port}/api/overview", timeout=0.5)
    finally:
        node.resume()
    assert api(node, "GET", "overview")["rabbitmq_version"] == node.version


@pytest.mark.slow
@pytest.mark.parametrize("crash", [False, True])
def test_a_restart_keeps_ports_and_confirmed_messages(
    node: PrivateRabbitMQ, *, crash: bool
) -> None:
    declare(node, "quorum")
    api(node, "DELETE", "queues/%2F/quorum/contents")
    publish(node, "quorum")
    url, pid = node.url, node.pid
    node.restart(crash=crash)
    assert node.url == url
    assert node.pid != pid
    wait_for_messages(node, "quorum", 1)


@pytest.mark.slow
def test_a_server_that_was_ended_stays_down_until_it_begins(node: PrivateRabbitMQ) -> None:
    node.end(crash=True)
    node.end(crash=True)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", node.port), timeout=5)
    node.begin()
    assert api(node, "GET", "overview")["rabbitmq_version"] == node.version


def test_4_3_denies_transient_queues_like_upstream(node: PrivateRabbitMQ) -> None:
    body = {"durable": False, "auto_delete": False, "arguments": {}}
    if node.version.startswith("4.3"):
        with pytest.raises(httpx.HTTPStatusError):
            api(node, "PUT", "queues/%2F/transient", body)
    else:
        api(node, "PUT", "queues/%2F/transient", body)


def test_redis_answers_only_with_its_password(run: RunDirectory) -> None:
    with start_redis(run) as server:
        address = urlsplit(server.url)
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
            connection.sendall(b"PING\r\n")
            assert b"NOAUTH" in connection.recv(100)
        (config,) = run.path.rglob("redis.conf")
        assert config.stat().st_mode & 0o077 == 0
        assert (address.password or "").encode() not in cmdline(server)
        assert listeners({server.pid}) == {("0100007F", server.port)}
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), timeout=5)


def test_redis_begins_again_on_its_port_with_nothing_in_it(run: RunDirectory) -> None:
    with start_redis(run) as server:
        password = urlsplit(server.url).password
        for command, answered in ((b"SET a 1", b"+OK"), (b"GET a", b"$-1")):
            with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
                connection.sendall(f"AUTH {password}\r\n".encode() + command + b"\r\n")
                lines = connection.makefile("rb")
                assert [lines.readline().strip() for _ in range(2)] == [b"+OK", answered]
            server.stop()
            server.begin()


def cmdline(server: PrivateServer) -> bytes:
    return Path(f"/proc/{server.pid}/cmdline").read_bytes()


def test_all_at_once_and_nothing_left(home: Path, run: RunDirectory) -> None:
    series = [s for s in ALL_SERIES if find_rabbitmq(s)]
    with RunDirectory.create() as own, ThreadPoolExecutor() as pool:
        brokers = list(pool.map(lambda s: start_rabbitmq(own, series=s), [*series, *series]))
        redis = start_redis(own)
        assert len({server.url for server in (*brokers, redis)}) == len(brokers) + 1
        pids = processes_of(own.id)
        ports = listeners(pids)
        assert len(pids) > len(brokers)
        brokers[0].stop()
        brokers[0].stop()
        assert processes_of(own.id) < pids
    assert processes_of(own.id) == set()
    assert not any(alive(pid) for pid in pids)
    for _, port in ports:
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0
    assert not own.path.exists()
    assert "rabbitmq-4.3" not in Path("/proc/mounts").read_text()


def alive(pid: int) -> bool:
    stat = Stat.read(pid)
    return stat is not None and not stat.is_dead


OWNER = """
import sys, time
from laneway.local import RunDirectory, start_rabbitmq
with RunDirectory.create() as run:
    print(run.id, flush=True)
    start_rabbitmq(run, series=sys.argv[1])
    print("up", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def owner() -> Iterator[Any]:
    started: list[subprocess.Popen[str]] = []

    def start(series: Series) -> subprocess.Popen[str]:
        skip_without(series)
        command = [sys.executable, "-c", OWNER, series]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        started.append(child)
        return child

    yield start
    for child in started:
        child.kill()
        child.communicate()


@pytest.mark.parametrize("series", ALL_SERIES)
def test_the_next_start_clears_away_what_a_killed_owner_left(
    home: Path, owner: Any, series: Series
) -> None:
    child = owner(series)
    run_id = child.stdout.readline().strip()
    assert child.stdout.readline() == "up\n"
    child.kill()
    child.wait()
    left = processes_of(run_id)
    assert len(left) >= 2
    with RunDirectory.create() as run:
        assert not any(alive(pid) for pid in left)
        assert processes_of(run_id) == set()
        assert not (home / "runs" / run_id).exists()
        assert run.path.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("seconds", [0.0, 0.15, 0.6, 1.5])
@pytest.mark.parametrize("series", ALL_SERIES)
def test_an_interrupted_start_leaves_nothing(
    home: Path, owner: Any, series: Series, seconds: float, number: signal.Signals
) -> None:
    child = owner(series)
    run_id = child.stdout.readline().strip()
    time.sleep(seconds)
    child.send_signal(number)
    child.wait(20)
    assert child.stdout.read() == ""
    assert processes_of(run_id) == set()
    assert not (home / "runs" / run_id).exists()


def test_a_failed_start_says_why_and_leaves_nothing(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("laneway.local.rabbitmq.ADVANCED_CONFIG", "[{rabbit, nonsense\n")
    before = processes_of(run.id)
    with pytest.raises(ServerStartFailed, match=r"it ended with status \d") as failed:
        start_rabbitmq(run)
    assert "failed_to_read_advanced_configuration_file" in failed.value.tail
    assert failed.value.log.name == "server.log"
    assert processes_of(run.id) == before


def test_a_port_taken_meanwhile_is_exchanged(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        offers = iter([taken.getsockname()[1]])
        from laneway.local import redis
        from laneway.local.ports import free_ports

        monkeypatch.setattr(
            redis, "free_ports", lambda count: (next(offers, None) or free_ports(count)[0],)
        )
        with start_redis(run) as server:
            assert server.port != taken.getsockname()[1]
