"""The keeper: whatever the broker gives up becomes a dead letter, and its result a failure."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import kombu
import pytest
from amqp import Message
from amqp.serialization import decode_properties_basic
from celery import chord
from kombu.transport.native_delayed_delivery import calculate_routing_key

from laneway.broker.address import VHOST_KINDS
from laneway.checkup.broker import BrokerCheckup
from laneway.control import ControlApp, Keeper, Results
from laneway.deadletter.cause import cause_of
from laneway.errors import DeadLettered, TopologyMissing
from laneway.policy import load_policy
from laneway.topology import DEAD_INBOX, LETTER_STREAM
from support.brokers import depth, elsewhere, port_of
from support.letter_stream import forget_letters, read_letters
from support.proxy import Proxy
from support.topology import apply_policy
from support.workers import POLICY, ControlProcess, WorkerProcess, environment, make_app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.conftest import TestBroker
    from laneway.broker import BrokerAddress
    from laneway.broker.address import VhostKind
    from laneway.deadletter.letter import Letter
    from laneway.facts import Fact
    from laneway.local import PrivateRedis

pytestmark = pytest.mark.integration

PATIENCE = 60
HEADERS = {
    "task": "plain.add",
    "id": "job-1",
    "root_id": "job-0",
    "retries": 2,
    "laneway_queue": "low",
    "nested": {"a": [1, {"b": None}], "é": 1.5},
    "big": 2**40,
    "laneway_ready_at": 1700000000.5,
}


@pytest.fixture
def topology(topology: BrokerAddress) -> BrokerAddress:
    """The module's virtual hosts with empty queues and no letters."""
    for kind in VHOST_KINDS:
        forget_letters(topology, kind)
    return topology


def keep(
    address: BrokerAddress, kind: VhostKind = "jobs", backend: str | None = None
) -> tuple[list[Fact], Results]:
    """What a keeper does with what is in the inbox now."""
    app = ControlApp(policy=load_policy(POLICY), address=address, backend=backend or "disabled://")
    facts: list[Fact] = []
    app.facts.listen(facts.append)
    results = Results(app)
    keeper = Keeper(app, kind, results=results, name="k@test", stop=threading.Event())
    keeper.run(once=True)
    results.stop(5)
    app.close()
    return facts, results


@contextmanager
def channel_to(address: BrokerAddress, kind: VhostKind = "jobs") -> Iterator[Any]:
    made: Any = kombu.Connection(
        address.kombu_urls(kind), connect_timeout=3, transport_options={"confirm_publish": True}
    )
    with made as connection:
        connection.ensure_connection(max_retries=5, interval_start=0)
        yield connection.default_channel


def publish(
    channel: Any, body: str, key: str = "low", exchange: str = "jobs", **properties: Any
) -> bytes:
    """Publish, and say what stood on the wire."""
    given = {
        "content_type": "application/json",
        "content_encoding": "utf-8",
        "application_headers": HEADERS,
        "delivery_mode": 2,
        "priority": 7,
        "correlation_id": "job-1",
        "timestamp": 1700000000,
        **properties,
    }
    message: Any = Message(body.encode(), **{k: v for k, v in given.items() if v is not None})
    channel.basic_publish(message, exchange, key, mandatory=True, timeout=5)
    return bytes(message._serialize_properties())


def take(channel: Any, queue: str = "low") -> Any:
    until = time.monotonic() + 10
    while time.monotonic() < until:
        if message := channel.basic_get(queue):
            return message
        time.sleep(0.05)
    raise AssertionError(f"nothing came into {queue}")


def wait_for_depth(address: BrokerAddress, queue: str, count: int) -> None:
    until = time.monotonic() + PATIENCE
    while (found := depth(address, queue)) != count:
        assert time.monotonic() < until, f"{found} in {queue}, not {count}"
        time.sleep(0.1)


def properties_of(data: bytes) -> dict[str, Any]:
    found: dict[str, Any] = decode_properties_basic(data, 0)[0]
    return found


def test_an_expired_job_is_a_letter_with_its_original(topology: BrokerAddress) -> None:
    with channel_to(topology) as channel:
        sent = publish(channel, "[[1, 2], {}, {}]", expiration="50")
    wait_for_depth(topology, DEAD_INBOX, 1)
    facts, _ = keep(topology)
    [letter] = read_letters(topology, 1)
    assert letter.original is not None
    assert letter.original.body == b"[[1, 2], {}, {}]"
    assert properties_of(letter.original.properties) == properties_of(sent)
    assert properties_of(sent)["expiration"] == "50"
    assert (letter.original.exchange, letter.original.routing_key) == ("jobs", "low")
    assert (letter.id, letter.queue, letter.outcome) == ("job-1.0", "low", "expired")
    assert (letter.task, letter.task_id, letter.root_id) == ("plain.add", "job-1", "job-0")
    assert (letter.by, letter.error_type) == ("keeper", "Expired")
    assert letter.cause == cause_of("plain.add", "Expired", None)
    assert (letter.priority, letter.attempts, letter.ready_at) == (7, 2, 1700000000.5)
    assert abs(letter.at - time.time()) < 60
    [fact] = facts
    assert (fact.kind, fact.letter, fact.cause) == ("dead_lettered", letter.id, letter.cause)
    assert (fact.queue, fact.task, fact.outcome) == ("low", "plain.add", "expired")
    assert depth(topology, DEAD_INBOX) == 0


def test_the_bytes_are_those_of_the_broker_without_its_own(topology: BrokerAddress) -> None:
    """The broker sorts headers and has its own letter for 64 bits; nothing else differs."""
    headers = {"a": [1, {"b": None}], "id": "job-1", "task": "plain.add", "z": 1.5}
    with channel_to(topology) as channel:
        sent = publish(channel, "é", application_headers=headers, expiration="50")
    wait_for_depth(topology, DEAD_INBOX, 1)
    keep(topology)
    [letter] = read_letters(topology, 1)
    assert letter.original is not None
    assert letter.original.properties == sent
    assert letter.original.body == "é".encode()


def test_a_message_that_a_client_rejected(topology: BrokerAddress, broker: TestBroker) -> None:
    with channel_to(topology) as channel:
        sent = publish(channel, "[[], {}, {}]", expiration="60000")
        channel.basic_reject(take(channel).delivery_tag, requeue=False)
    keep(topology)
    [letter] = read_letters(topology, 1)
    assert (letter.outcome, letter.error_type) == ("rejected", "Rejected")
    assert letter.original is not None
    assert properties_of(letter.original.properties) == properties_of(sent)
    counts = broker.profile.queue_type == "quorum"
    assert (letter.deliveries or 0) >= 1 if counts else letter.deliveries is None


def test_a_job_of_many_hops_is_of_the_queue_where_it_died(topology: BrokerAddress) -> None:
    """A delay is a row of queues in which it expires: none of these is why it is dead."""
    with channel_to(topology) as channel:
        publish(
            channel, "[[], {}, {}]", calculate_routing_key(3, "low"), exchange="celery_delayed_27"
        )
        channel.basic_reject(take(channel).delivery_tag, requeue=False)
    keep(topology)
    [letter] = read_letters(topology, 1)
    assert (letter.queue, letter.outcome) == ("low", "rejected")
    assert letter.original is not None
    assert b"x-death" not in letter.original.properties
    assert b"x-last-death" not in letter.original.properties


@pytest.mark.broker43
def test_a_job_that_kills_its_worker_group_whole(
    topology: BrokerAddress, redis: PrivateRedis
) -> None:
    app = make_app(topology, redis.url)
    result = app.send_task("plain.hold", ("/never",), queue="default")
    for _ in range(2):  # its delivery limit is 1
        with WorkerProcess(
            "default", environment(topology, redis.url), "--concurrency", "1"
        ) as worker:
            worker.wait_for("started", task_id=result.id)
            os.killpg(worker.process.pid, signal.SIGKILL)
            worker.process.wait(PATIENCE)
    wait_for_depth(topology, DEAD_INBOX, 1)
    keep(topology, backend=redis.url)
    [letter] = read_letters(topology, 1)
    assert (letter.id, letter.queue) == (f"{result.id}.0", "default")
    assert (letter.outcome, letter.error_type) == ("lost", "DeliveryLimitExceeded")
    assert letter.attempts == 1
    assert (letter.deliveries or 0) >= 2
    with pytest.raises(DeadLettered, match="delivery limit") as caught:
        result.get(timeout=PATIENCE)
    assert caught.value.cause == letter.cause
    assert caught.value.letter == letter.id


HOSTILE: list[dict[str, Any]] = [
    {"application_headers": None},
    {"application_headers": {}},
    {"application_headers": {"task": 1, "id": []}},
    {"application_headers": {"task": "", "id": ""}},
    {"application_headers": {"task": "t" * 5000, "id": "i" * 5000}},
    {"application_headers": {"task": "t", "id": "job-2", "retries": "x", "laneway_replays": -1}},
    {"application_headers": {**HEADERS, "laneway_ready_at": "soon", "root_id": {}, "group": 1}},
    {"application_headers": {**HEADERS, "id": "job-3", "chord": "x"}, "content_type": "pickle"},
    {"application_headers": {**HEADERS, "id": "job-4\n\x00"}, "content_encoding": "\x00"},
    {
        "application_headers": {
            "task": "plain.add",
            "id": "job-5",
            "x-death": [{"queue": n, "reason": [n], "count": "many"} for n in range(1000)],
        }
    },
    {"application_headers": {**HEADERS, "id": "job-6", "x-death": 1, "x-delivery-count": "?"}},
    {"priority": None, "correlation_id": None, "content_type": None},
]


def test_hostile_messages_neither_stop_nor_loop_it(
    topology: BrokerAddress, redis: PrivateRedis
) -> None:
    bodies = []
    with channel_to(topology) as channel:
        for number, properties in enumerate(HOSTILE):
            bodies.append(f'[{number}, {{}}, {{"chord": {number}, "errbacks": "x"}}]')
            publish(channel, bodies[-1], DEAD_INBOX, "", **properties)
        publish(channel, "[" * 100_000, DEAD_INBOX, "", correlation_id="deep")
        publish(channel, "", expiration="20")
    wait_for_depth(topology, DEAD_INBOX, len(HOSTILE) + 2)
    facts, results = keep(topology, backend=redis.url)
    assert {fact.kind for fact in facts} == {"dead_lettered"}
    assert results.counts.given_up == 0
    letters = read_letters(topology, len(HOSTILE) + 2)
    found = [letter.original.body.decode() for letter in letters if letter.original is not None]
    assert sorted(found) == sorted([*bodies, "[" * 100_000, ""])
    assert len(facts) == len(letters)
    quarantined = [letter for letter in letters if letter.outcome == "quarantined"]
    assert len(quarantined) == 5
    assert all(len(letter.id) < 300 for letter in letters)
    assert depth(topology, DEAD_INBOX) == 0


def test_two_keepers_share_the_work(topology: BrokerAddress, redis: PrivateRedis) -> None:
    env = environment(topology, redis.url)
    with ControlProcess(env) as one, ControlProcess(env) as two:
        with channel_to(topology) as channel:
            for number in range(600):
                headers = {**HEADERS, "id": f"job-{number}"}
                publish(channel, "[[], {}, {}]", application_headers=headers, expiration="1")
        letters = read_letters(topology, 600)
        assert sorted(letter.id for letter in letters) == sorted(
            f"job-{number}.0" for number in range(600)
        )
        until = time.monotonic() + PATIENCE
        while len(one.of("dead_lettered")) + len(two.of("dead_lettered")) < 600:
            assert time.monotonic() < until
            time.sleep(0.1)
        assert one.of("dead_lettered")
        assert two.of("dead_lettered")
        assert one.stop() == two.stop() == 0


def test_a_keeper_killed_in_the_middle_loses_nothing(
    topology: BrokerAddress, redis: PrivateRedis
) -> None:
    env = environment(topology, redis.url)
    with channel_to(topology) as channel:
        for number in range(1500):
            headers = {**HEADERS, "id": f"job-{number}"}
            publish(channel, "[[], {}, {}]", application_headers=headers, expiration="1")
    for count in (100, 300):
        with ControlProcess(env) as control:
            control.wait_for("dead_lettered", count)
            os.killpg(control.process.pid, signal.SIGKILL)
    last = ControlProcess(env, "--once")
    last.process.wait(PATIENCE)
    assert last.stop() == 0
    letters = read_letters(topology, 1500)
    assert {letter.id for letter in letters} == {f"job-{number}.0" for number in range(1500)}
    # At most a batch was written twice for each kill, under the same ids.
    assert len(letters) <= 1500 + 2 * 100
    assert depth(topology, DEAD_INBOX) == 0


def test_whoever_waits_for_the_result_is_told(topology: BrokerAddress, redis: PrivateRedis) -> None:
    app = make_app(topology, redis.url)
    with ControlProcess(environment(topology, redis.url)):
        result = app.send_task("plain.add", (1, 1), queue="low", expires=1)
        with pytest.raises(DeadLettered, match="expired while it waited") as caught:
            result.get(timeout=PATIENCE)
    [letter] = read_letters(topology, 1)
    assert (caught.value.cause, caught.value.letter) == (letter.cause, letter.id)
    assert letter.id in str(caught.value)
    assert result.state == "FAILURE"


def test_a_result_that_is_there_stays(topology: BrokerAddress, redis: PrivateRedis) -> None:
    app = make_app(topology, redis.url)
    with channel_to(topology) as channel:
        for name in ("done", "failed", "revoked", "running", "ignored"):
            headers = {**HEADERS, "id": name, "ignore_result": name == "ignored"}
            publish(channel, "[[], {}, {}]", DEAD_INBOX, "", application_headers=headers)
    app.backend.mark_as_done("done", 42)
    app.backend.mark_as_failure("failed", ValueError("its own words"))
    app.backend.mark_as_revoked("revoked", "by hand")
    app.backend.mark_as_started("running")
    _, results = keep(topology, backend=redis.url)
    states = {
        name: app.AsyncResult(name).state for name in ("done", "failed", "running", "ignored")
    }
    assert states == {
        "done": "SUCCESS", "failed": "FAILURE", "running": "FAILURE", "ignored": "PENDING"
    }  # fmt: skip
    assert app.AsyncResult("done").result == 42
    assert isinstance(app.AsyncResult("failed").result, ValueError)
    assert isinstance(app.AsyncResult("running").result, DeadLettered)
    assert app.AsyncResult("revoked").state == "REVOKED"
    assert (results.counts.written, results.counts.kept) == (1, 3)


def test_a_chord_with_a_dead_member_fails(topology: BrokerAddress, redis: PrivateRedis) -> None:
    app = make_app(topology, redis.url)
    env = environment(topology, redis.url)
    members = [
        app.signature("plain.add", (1, 1), queue="high"),
        app.signature("plain.add", (2, 2), queue="low", expires=1),  # nobody works there
    ]
    body = app.signature("plain.total", queue="high")
    with ControlProcess(env), WorkerProcess("high", env):
        result = chord(members, app=app)(body)
        with pytest.raises(Exception, match="expired while it waited"):
            result.get(timeout=PATIENCE)


def test_the_rest_of_a_chain_fails_and_error_callbacks_are_called(
    topology: BrokerAddress, redis: PrivateRedis
) -> None:
    app = make_app(topology, redis.url)
    env = environment(topology, redis.url)
    first = app.signature("plain.add", (1, 1), queue="low", expires=1)
    then = app.signature("plain.add", (1,), queue="low")
    callback = app.signature("plain.where", queue="high")
    with ControlProcess(env), WorkerProcess("high", env) as worker:
        result = (first | then).apply_async(link_error=callback)
        with pytest.raises(DeadLettered):
            result.get(timeout=PATIENCE)
        worker.wait_for("succeeded", task="plain.where")


def test_a_result_backend_that_is_away_does_not_stop_letters(
    topology: BrokerAddress, redis: PrivateRedis
) -> None:
    port = int(redis.url.rpartition(":")[2].partition("/")[0])
    with Proxy("127.0.0.1", port) as proxy:
        env = environment(topology, redis.url.replace(f":{port}", f":{proxy.port}"))
        with ControlProcess(env) as control, channel_to(topology) as channel:
            proxy.refuse()
            for number in range(300):
                headers = {**HEADERS, "id": f"away-{number}"}
                publish(channel, "[[], {}, {}]", application_headers=headers, expiration="1")
            began = time.monotonic()
            control.wait_for("dead_lettered", 300)
            assert time.monotonic() - began < 20
            proxy.accept()
            app = make_app(topology, redis.url)
            with pytest.raises(DeadLettered):
                app.AsyncResult("away-299").get(timeout=PATIENCE)
            assert control.stop(timeout=15) == 0


def test_a_cut_connection_loses_nothing(topology: BrokerAddress, redis: PrivateRedis) -> None:
    with Proxy("127.0.0.1", port_of(topology)) as proxy:
        env = environment(elsewhere(topology, port=proxy.port), redis.url)
        with ControlProcess(env) as control, channel_to(topology) as channel:
            for number in range(900):
                headers = {**HEADERS, "id": f"job-{number}"}
                publish(channel, "[[], {}, {}]", application_headers=headers, expiration="1")
                if number % 300 == 150:
                    proxy.cut()
            proxy.refuse()
            time.sleep(1)
            proxy.accept()
            letters = read_letters(topology, 900, patience=PATIENCE)
            assert {one.id for one in letters} == {f"job-{n}.0" for n in range(900)}
            wait_for_depth(topology, DEAD_INBOX, 0)
            assert control.stop(timeout=15) == 0


def test_without_its_stream_it_waits_and_says_so(
    topology: BrokerAddress, redis: PrivateRedis
) -> None:
    with (
        ControlProcess(environment(topology, redis.url)) as control,
        channel_to(topology) as channel,
    ):
        publish(channel, "[[], {}, {}]", expiration="1")
        control.wait_for("dead_lettered", 1)
        channel.queue_delete(LETTER_STREAM)
        publish(channel, "[[], {}, {}]", expiration="1")
        until = time.monotonic() + PATIENCE
        while not any("letters wait in dead.inbox" in line for line in tuple(control.lines)):
            assert time.monotonic() < until
            time.sleep(0.1)
        apply_policy(topology)
        control.wait_for("dead_lettered", 2)
    assert len(read_letters(topology, 1)) == 1


def test_without_the_topology_it_waits_and_once_it_says_what_to_do(
    bare_address: BrokerAddress, redis: PrivateRedis
) -> None:
    with pytest.raises(TopologyMissing, match="laneway topology apply"):
        keep(bare_address)
    with ControlProcess(environment(bare_address, redis.url)) as control:
        until = time.monotonic() + PATIENCE
        while not any("laneway topology apply" in line for line in tuple(control.lines)):
            assert time.monotonic() < until
            time.sleep(0.1)
        apply_policy(bare_address)
        with channel_to(bare_address) as channel:
            publish(channel, "[[], {}, {}]", expiration="1")
        control.wait_for("dead_lettered", 1)


@pytest.mark.broker43
def test_a_message_that_is_too_large_for_a_letter_stays_where_it_is(
    topology: BrokerAddress, redis: PrivateRedis
) -> None:
    with (
        ControlProcess(environment(topology, redis.url)) as control,
        channel_to(topology) as channel,
    ):
        for number, size in enumerate((2, 13 * 2**20, 2)):
            headers = {**HEADERS, "id": f"job-{number}"}
            publish(channel, "x" * size, application_headers=headers, expiration="1")
        control.wait_for("dead_lettered", 2)
        until = time.monotonic() + PATIENCE
        while not any("max_message_size" in line for line in tuple(control.lines)):
            assert time.monotonic() < until
            time.sleep(0.1)
    assert {letter.id for letter in read_letters(topology, 2)} == {"job-0.0", "job-2.0"}
    wait_for_depth(topology, DEAD_INBOX, 1)


def test_the_doctor_misses_a_keeper(topology: BrokerAddress, redis: PrivateRedis) -> None:
    def missed() -> bool:
        checks = BrokerCheckup(load_policy(POLICY), topology).checks()
        return any("nobody makes letters" in check.finding for check in checks)

    with channel_to(topology) as channel:
        publish(channel, "[[], {}, {}]", expiration="1")
        until = time.monotonic() + PATIENCE
        while not missed():  # the broker's statistics are seconds old
            assert time.monotonic() < until
            time.sleep(0.5)
        with ControlProcess(environment(topology, redis.url)) as control:
            control.wait_for("dead_lettered", 1)
            until = time.monotonic() + PATIENCE
            while missed():
                assert time.monotonic() < until
                time.sleep(0.5)


def test_its_probes_and_numbers(topology: BrokerAddress, redis: PrivateRedis) -> None:
    def ask(page: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{port}{page}", timeout=10, trust_env=False)

    def becomes(status: int) -> str:
        until = time.monotonic() + PATIENCE
        while (answer := ask("/readyz")).status_code != status:
            assert time.monotonic() < until, answer.text
            time.sleep(0.1)
        return answer.text

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = int(one.getsockname()[1])
    with Proxy("127.0.0.1", port_of(topology)) as proxy, channel_to(topology) as channel:
        env = environment(elsewhere(topology, port=proxy.port), redis.url)
        with ControlProcess(env, "--health", str(port)) as control:
            assert becomes(200) == "ok\n"
            headers = {**HEADERS, "id": "probed"}
            publish(channel, "[[], {}, {}]", application_headers=headers, expiration="1")
            control.wait_for("dead_lettered", 1)
            until = time.monotonic() + PATIENCE
            while 'laneway_dead_inbox{vhost="jobs"} 0.0' not in (text := ask("/metrics").text):
                assert time.monotonic() < until, text
                time.sleep(0.5)
            assert 'laneway_facts_total{kind="dead_lettered",queue="low"} 1.0' in text
            assert 'laneway_keeper_working{vhost="jobs"} 1.0' in text
            assert 'laneway_keeper_results_total{end="written"} 1.0' in text
            proxy.refuse()
            assert "the keeper of 'jobs': " in becomes(503)
            assert ask("/livez").status_code == 200
            proxy.accept()
            becomes(200)
            assert control.stop(timeout=15) == 0


def test_the_secure_virtual_host_has_its_own(topology: BrokerAddress) -> None:
    with channel_to(topology, "secure") as channel:
        publish(channel, '[["4711"], {}, {}]', "secure", expiration="1")
        time.sleep(0.5)
    facts, _ = keep(topology, "secure")
    letters: list[Letter] = read_letters(topology, 1, "secure")
    assert [letter.queue for letter in letters] == ["secure"]
    assert "4711" not in repr(facts)
