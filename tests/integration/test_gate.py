"""The gate and the letters of a real worker, pool by pool."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any

import amqp
import pytest

from laneway.publish.frames import Publish, publish_method
from support.brokers import depth
from support.letter_stream import letters
from support.workers import WorkerProcess, environment, make_app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from laneway.broker import BrokerAddress
    from laneway.local import PrivateRedis

pytestmark = pytest.mark.integration

POOLS = ["prefork", "direct", "threads", "solo"]
JSON = {"content_type": "application/json", "content_encoding": "utf-8"}
JOB = b"[[1, 2], {}, {}]"


@pytest.fixture(scope="module", params=POOLS)
def shared_worker(
    request: pytest.FixtureRequest, module_topology: BrokerAddress, redis: PrivateRedis
) -> Iterator[WorkerProcess]:
    size = "1" if request.param == "solo" else "2"
    env = environment(module_topology, redis.url)
    with WorkerProcess("low", env, "--pool", request.param, "--concurrency", size) as worker:
        yield worker
        assert worker.stop() == 0


@pytest.fixture
def worker(shared_worker: WorkerProcess, topology: BrokerAddress) -> WorkerProcess:
    del topology  # empties the queues
    shared_worker.facts.clear()
    return shared_worker


def put(address: BrokerAddress, body: bytes, properties: bytes, queue: str = "low") -> None:
    """Publish what no library would write."""
    app = make_app(address)
    app.publisher("jobs").publish(Publish(publish_method("jobs", queue), properties, body))


def written(headers: Any = None, **properties: Any) -> bytes:
    given = {**JSON, "delivery_mode": 2, **properties}
    if headers is not None:
        given["application_headers"] = headers
    return bytes(amqp.Message(**given)._serialize_properties())


def table(*items: bytes) -> bytes:
    """Properties with content type, encoding and headers of these raw items."""
    content = b"".join(items)
    kinds = b"\x10application/json\x05utf-8"
    return struct.pack(">H", 0xE000) + kinds + struct.pack(">I", len(content)) + content


def item(name: bytes, value: bytes) -> bytes:
    return bytes([len(name)]) + name + value


def text(value: bytes) -> bytes:
    return b"S" + struct.pack(">I", len(value)) + value


ADD = (item(b"task", text(b"plain.add")), item(b"id", text(b"row")))
NESTED = b"".join(b"A" + struct.pack(">I", 5 * (4000 - level)) for level in range(4001))

ROWS = {
    "no JSON": (b"\xff\xfe", written({"task": "plain.add", "id": "row"})),
    "no headers": (b"{}", written()),
    "no properties": (JOB, struct.pack(">H", 0)),
    "no body": (b"", written({"task": "plain.add", "id": "row"})),
    "no id": (JOB, written({"task": "plain.add"})),
    "protocol 1": (b'{"task": "plain.add", "id": "row"}', written({})),
    "task is a number": (JOB, written({"task": 7, "id": ["x"]})),
    "pickle": (
        b"cos\nsystem\n(S'true'\ntR.",
        written(
            {"task": "plain.add", "id": "row"},
            content_type="application/x-python-serialize",
            content_encoding="binary",
        ),
    ),
    "yaml": (
        b"[1]",
        written({"task": "plain.add", "id": "row"}, content_type="application/x-yaml"),
    ),
    "kombu's trusted text": (
        b"\xff\xff\xff",
        written(
            {"task": "plain.add", "id": "row"},
            content_type="application/text",
            content_encoding="binary",
        ),
    ),
    "time limit x": (JOB, written({"task": "plain.add", "id": "row", "timelimit": "x"})),
    "retries": (JOB, written({"task": "plain.add", "id": "row", "retries": -1})),
    "eta": (JOB, written({"task": "plain.add", "id": "row", "eta": "soon"})),
    "expires": (JOB, written({"task": "plain.add", "id": "row", "expires": 3.5})),
    "a method of the request": (JOB, written({"task": "plain.add", "id": "row", "get": "x"})),
    "callbacks": (b'[[1, 2], {}, {"callbacks": [7]}]', written({"task": "plain.add", "id": "row"})),
    "embed replaces the id": (
        b'[[1, 2], {}, {"id": "other"}]',
        written({"task": "plain.add", "id": "row"}),
    ),
    "nested without end": (
        b"[[" + b"[" * 100_000 + b"]" * 100_000 + b"], {}, {}]",
        written({"task": "plain.add", "id": "row"}),
    ),
    "a compressed bomb": (
        zlib.compress(b"[[" + b" " * 200_000_000 + b"], {}, {}]"),
        written({"task": "plain.add", "id": "row", "compression": "application/x-gzip"}),
    ),
    "unknown compression": (
        JOB,
        written({"task": "plain.add", "id": "row", "compression": "rot13"}),
    ),
    "a time after the year 9999": (JOB, table(*ADD, item(b"at", b"T" + b"\xff" * 8))),
    "tables without end": (JOB, table(*ADD, item(b"deep", NESTED))),
    "text that is no UTF-8": (
        JOB,
        struct.pack(">H", 0xA000) + b"\x02\xff\xff" + struct.pack(">I", 0),
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_what_is_no_job_is_one_letter_and_the_worker_lives(
    topology: BrokerAddress, redis: PrivateRedis, worker: WorkerProcess, row: str
) -> None:
    body, properties = ROWS[row]
    app = make_app(topology, redis.url)
    put(topology, body, properties)
    worker.wait_for("quarantined")
    [told] = worker.wait_for("dead_lettered")
    assert app.send_task("plain.add", (1, 1), queue="low").get(timeout=60) == 2
    # (What the broker took from the test before has the same id.)
    letter = [one for one in letters(topology, lambda _: True) if one.id == told.letter][-1]
    assert letter.outcome == "quarantined"
    assert letter.queue == "low"
    assert letter.original is not None
    assert letter.original.body == body
    # (RabbitMQ 4 sorts the headers of what it takes.)
    assert sorted(letter.original.properties) == sorted(properties)
    assert len(worker.of("dead_lettered")) == len(worker.of("quarantined")) == 1
    assert depth(topology, "low") == depth(topology, "dead.inbox") == 0


def test_a_failed_job_is_one_letter_with_its_bytes_and_facts(
    topology: BrokerAddress, redis: PrivateRedis, worker: WorkerProcess
) -> None:
    app = make_app(topology, redis.url)
    failed = app.send_task("plain.fail", ("no such order",), queue="low", priority=6)
    [told] = worker.wait_for("dead_lettered", task_id=failed.id)
    [letter] = letters(topology, failed.id)
    assert (letter.id, letter.outcome, letter.by) == (f"{failed.id}.0", "failed", "worker")
    assert (letter.error_type, letter.message) == ("ValueError", "no such order")
    assert letter.place == "support.tasks:fail"
    assert letter.traceback is not None
    assert "no such order" in letter.traceback
    assert (letter.attempts, letter.deliveries, letter.priority) == (1, 1, 6)
    assert letter.first_at == letter.at
    assert letter.root_id == failed.id
    assert letter.original is not None
    assert letter.original.routing_key == "low"
    assert b"no such order" in letter.original.body
    assert (told.letter, told.cause, told.outcome) == (letter.id, letter.cause, "failed")
    assert depth(topology, "dead.inbox") == 0
    with pytest.raises(ValueError, match="no such order"):
        failed.get(timeout=10)


def test_one_cause_on_every_pool(
    topology: BrokerAddress, redis: PrivateRedis, worker: WorkerProcess
) -> None:
    app = make_app(topology, redis.url)
    failed = app.send_task("plain.fail", ("another text",), queue="low")
    [told] = worker.wait_for("dead_lettered", task_id=failed.id)
    assert told.cause == "2a302a15400a"
