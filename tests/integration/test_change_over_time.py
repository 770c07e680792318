"""Policies, projects and brokers change while jobs are under way; docs/how-to/change.md."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import celery
import httpx
import kombu
import pytest

import laneway
from laneway.broker import broker_address
from laneway.broker.management import Management
from laneway.local import start_rabbitmq
from laneway.local.broker43 import is_installed as is_43_installed
from laneway.policy import load_policy
from laneway.topology import make_plan
from support.topology import apply_policy
from support.workers import WorkerProcess, close_apps, environment, make_app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from integration.conftest import TestBroker
    from laneway.broker import BrokerAddress
    from laneway.local import PrivateRabbitMQ, PrivateRedis, RunDirectory

pytestmark = pytest.mark.integration

SECURE = '[broker]\nvhost = "secure"\n'


def write_policy(root: Path, *routes: str, **queues: str) -> Path:
    """A policy of ``default``, ``secure`` and the queues given."""
    (root / "queues").mkdir(parents=True)
    listed = ", ".join(["Route('vault.*', queue='secure')", *routes])
    (root / "routing.py").write_text(f"from laneway import Route\nROUTES = [{listed}]\n")
    for name, text in {"default": "", "secure": SECURE, **queues}.items():
        head = f'summary = "the queue {name}"\nservice_level = "1s"\n'
        (root / "queues" / f"{name}.toml").write_text(f"{head}{text}[worker]\nconcurrency = 1\n")
    return root


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """The policy before the change: sums are worked on in ``sums``."""
    return write_policy(tmp_path / "old", "Route('plain.add', queue='sums')", sums="")


@pytest.fixture
def new(tmp_path: Path) -> Path:
    """The policy after it: the queue is now called ``maths``."""
    return write_policy(tmp_path / "new", "Route('plain.add', queue='maths')", maths="")


def depth(address: BrokerAddress, queue: str) -> int:
    with kombu.Connection(address.kombu_urls("jobs")) as connection:
        return int(connection.default_channel.queue_declare(queue, passive=True).message_count)


def wait_until(what: Callable[[], bool], seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until
        time.sleep(0.1)


def leftovers(address: BrokerAddress, policy: Path) -> dict[str, str]:
    """What ``laneway topology plan`` reports as not in the policy."""
    with Management(address) as management:
        plan = make_plan(management, load_policy(policy), address)
    return {entry.name: entry.note for entry in plan.leftovers}


# Old and new policy side by side


def test_a_producer_ahead_of_the_topology_is_refused_and_loses_nothing(
    address: BrokerAddress, old: Path, new: Path
) -> None:
    apply_policy(address, old)
    with pytest.raises(laneway.Unroutable, match="topology plan"):
        make_app(address, policy=new).send_task("plain.add", (1, 1))
    assert depth(address, "sums") == 0


def test_a_producer_one_version_ahead_of_the_workers(
    address: BrokerAddress, redis: PrivateRedis, old: Path, new: Path
) -> None:
    """Its jobs wait in the new queue; the old workers go on with what is theirs."""
    apply_policy(address, old)
    apply_policy(address, new)
    ahead = make_app(address, redis.url, new)
    behind = make_app(address, redis.url, old)
    with WorkerProcess("sums", environment(address, redis.url, old)) as worker:
        waiting = ahead.send_task("plain.add", (1, 2))
        assert behind.send_task("plain.add", (3, 4)).get(timeout=60) == 7
        assert worker.of("topology_drift") == [], "the old digest still stands"
    assert depth(address, "maths") == 1
    with WorkerProcess("maths", environment(address, redis.url, new)):
        assert waiting.get(timeout=60) == 3


def test_a_producer_one_version_behind_the_workers(
    address: BrokerAddress, redis: PrivateRedis, old: Path, new: Path
) -> None:
    """Its jobs go to the queue that it knows, which stays until somebody prunes it."""
    apply_policy(address, old)
    apply_policy(address, new)
    make_app(address, redis.url, old).send_task("plain.add", (1, 2))
    assert depth(address, "sums") == 1
    refused = WorkerProcess("sums", environment(address, redis.url, new))
    assert refused.process.wait(60) == 4
    refused.stop()
    assert "got: 'sums'" in refused.tail()
    assert depth(address, "sums") == 1


def test_a_retry_stays_where_its_job_is_although_the_route_changed(
    address: BrokerAddress, redis: PrivateRedis, tmp_path: Path
) -> None:
    before = write_policy(tmp_path / "before", extra="")
    after = write_policy(tmp_path / "after", "Route('plain.flaky', queue='extra')", extra="")
    apply_policy(address, before)
    apply_policy(address, after)
    job = make_app(address, redis.url, before).send_task("plain.flaky", (1, 1), priority=7)
    with WorkerProcess("default", environment(address, redis.url, after)) as worker:
        assert job.get(timeout=60) == {"attempt": 2, "priority": 7}
        assert {fact.queue for fact in worker.of("started", task_id=job.id)} == {"default"}


def test_the_next_step_goes_where_the_workers_policy_says(
    address: BrokerAddress, redis: PrivateRedis, old: Path, new: Path
) -> None:
    """A chain begun under the old policy is continued under the new one."""
    apply_policy(address, old)
    apply_policy(address, new)
    app = make_app(address, redis.url, old)
    chain = app.signature("plain.where", args=()) | app.signature(
        "plain.add", args=(1, 2), immutable=True
    )
    chain.apply_async()
    # This one names the queue that is gone: it must not be dropped in silence.
    step = app.signature("plain.add", args=(3, 4), immutable=True, queue="sums")
    (app.signature("plain.where") | step).apply_async()
    with WorkerProcess("default", environment(address, redis.url, new)) as worker:
        worker.wait_for("refused", error_type="UnknownQueue")
        wait_until(lambda: depth(address, "maths") == 1)
        worker.wait_for("dead_lettered")
    assert depth(address, "sums") == 0


# A renamed queue and a removed queue that hold jobs


def test_a_renamed_queue_is_drained_by_its_old_workers(
    address: BrokerAddress, redis: PrivateRedis, old: Path, new: Path
) -> None:
    apply_policy(address, old)
    behind = make_app(address, redis.url, old)
    jobs = [behind.send_task("plain.add", (n, n)) for n in range(5)]
    delayed = behind.send_task("plain.add", (50, 50), countdown=3)
    apply_policy(address, new)
    wait_until(lambda: leftovers(address, new)["sums"].startswith("5 messages,"))
    jobs.append(make_app(address, redis.url, new).send_task("plain.add", (5, 5)))
    with (
        WorkerProcess("sums", environment(address, redis.url, old)) as theirs,
        WorkerProcess("maths", environment(address, redis.url, new)) as ours,
    ):
        assert [job.get(timeout=60) for job in jobs] == [0, 2, 4, 6, 8, 10]
        assert delayed.get(timeout=60) == 100
        theirs.wait_for("succeeded", 6)
        ours.wait_for("succeeded", 1)
    wait_until(lambda: "0 messages" in leftovers(address, new)["sums"])


def test_a_removed_queue_is_drained_and_a_late_retry_comes_back_to_it(
    address: BrokerAddress, redis: PrivateRedis, tmp_path: Path
) -> None:
    before = write_policy(tmp_path / "before", "Route('plain.flaky', queue='extra')", extra="")
    after = write_policy(tmp_path / "after")
    apply_policy(address, before)
    job = make_app(address, redis.url, before).send_task("plain.flaky", (1, 2), priority=8)
    apply_policy(address, after)
    with WorkerProcess("extra", environment(address, redis.url, before)) as worker:
        worker.wait_for("retried", task_id=job.id)
        assert worker.stop() == 0
    # The retry waits in the broker; whoever still has the old version finishes it.
    wait_until(lambda: depth(address, "extra") == 1)
    with WorkerProcess("extra", environment(address, redis.url, before)):
        assert job.get(timeout=60) == {"attempt": 2, "priority": 8}
    assert "extra" in leftovers(address, after)


# From Celery, and from broker to broker


OLD_PROJECT = """\
from celery import Celery

app = Celery("shop", broker={broker!r}, backend={backend!r})


@app.task(name="plain.add")
def add(a, b):
    return a + b
"""


@pytest.fixture
def old_vhost(address: BrokerAddress, management: Management) -> Iterator[str]:
    """The virtual host of a project that still runs on plain Celery."""
    name = f"{address.vhost_prefix}shop"
    management.create_vhost(name)
    yield name
    management.delete_vhost(name)


@pytest.fixture
def old_project(
    address: BrokerAddress, redis: PrivateRedis, old_vhost: str, tmp_path: Path
) -> Iterator[Any]:
    """The project as it was, as a file ``oldshop.py`` and as a producer."""
    # Where librabbitmq is installed, plain Celery would take that for amqp://, and die of it.
    broker = f"py{address.urls[0]}/{old_vhost}"
    (tmp_path / "oldshop.py").write_text(OLD_PROJECT.format(broker=broker, backend=redis.url))
    app = celery.Celery("shop", broker=broker, backend=redis.url, set_as_current=False)
    yield app
    app.backend.result_consumer.stop()
    app.backend.client.close()
    app.close()


def waiting(project: Any) -> int:
    with project.connection_for_read() as connection:
        declared = connection.default_channel.queue_declare("celery", passive=True)
    return int(declared.message_count)


def test_an_old_projects_queue_is_drained_by_its_old_worker(
    address: BrokerAddress, redis: PrivateRedis, old_project: Any, tmp_path: Path
) -> None:
    """The first way: nothing is moved, the last release before the change empties its queue."""
    apply_policy(address)
    before = [old_project.send_task("plain.add", (n, n)) for n in range(3)]
    after = make_app(address, redis.url).send_task("plain.add", (5, 5))
    command = [sys.executable, "-m", "celery", "-A", "oldshop", "worker", "-c", "1"]
    worker = subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert [job.get(timeout=60) for job in before] == [0, 2, 4]
        wait_until(lambda: waiting(old_project) == 0)
    finally:
        worker.terminate()
        worker.wait(60)
    assert depth(address, "default") == 1, "the old worker takes nothing from Laneway"
    with WorkerProcess("default", environment(address, redis.url)):
        assert after.get(timeout=60) == 10


def test_an_old_projects_queue_is_moved_by_a_shovel(
    address: BrokerAddress, redis: PrivateRedis, broker: TestBroker, old_project: Any
) -> None:
    """The second way: its jobs run on Laneway's workers, though Laneway did not publish them."""
    apply_policy(address)
    jobs = [old_project.send_task("plain.add", (n, n)) for n in range(3)]
    flaky = old_project.send_task("plain.flaky", (1, 1))
    vhost = urlsplit(old_project.conf.broker_url).path.lstrip("/")
    with shovel(broker, vhost, "celery", f"{address.urls[0]}/{address.vhost('jobs')}", "default"):
        wait_until(lambda: depth(address, "default") == 4)
        with WorkerProcess("default", environment(address, redis.url)) as worker:
            assert [job.get(timeout=60) for job in jobs] == [0, 2, 4]
            assert flaky.get(timeout=60)["attempt"] == 2
            assert worker.stop() == 0, worker.tail()
        # Whoever publishes with the old version meanwhile is not forgotten.
        old_project.send_task("plain.add", (9, 9))
        wait_until(lambda: depth(address, "default") == 1)
    assert waiting(old_project) == 0


def test_jobs_move_from_classic_queues_on_3_10_to_quorum_queues_on_4_3(
    address: BrokerAddress, broker: TestBroker, redis: PrivateRedis, run_directory: RunDirectory
) -> None:
    if broker.profile.name != "3.10" or not is_43_installed():
        pytest.skip("starts from RabbitMQ 3.10 and needs 4.3 beside it")
    apply_policy(address)
    behind = make_app(address, redis.url)
    priorities = [3, 9, 0, 7, 4, 9, 1, 5]
    for priority in priorities:
        behind.send_task("plain.where", priority=priority)
    behind.send_task("plain.where", priority=8, countdown=2)
    with start_rabbitmq(run_directory, series="4.3") as server:
        there = broker_address(
            server.url, server.management_url, vhost_prefix=address.vhost_prefix, env={}
        )
        apply_policy(there)
        make_app(there, redis.url).send_task("plain.where", priority=6)
        target = f"{there.urls[0]}/{there.vhost('jobs')}"
        with shovel(broker, address.vhost("jobs"), "default", target, "default"):
            wait_until(lambda: depth(there, "default") == len(priorities) + 2)
        assert depth(address, "default") == 0
        with WorkerProcess(
            "default", environment(there, redis.url), "--concurrency", "1"
        ) as worker:
            started = worker.wait_for("started", len(priorities) + 2)
        close_apps()
    assert [fact.priority for fact in started] == sorted([*priorities, 8, 6], reverse=True)


@contextmanager
def shovel(broker: TestBroker, vhost: str, queue: str, target: str, to: str) -> Iterator[None]:
    """RabbitMQ's own mover, as docs/how-to/change.md sets it up."""
    if broker.private is None:
        pytest.skip("enables a plugin, which is for a broker of our own only")
    enable_shovel(broker.private)
    url = f"{broker.address.management_url}/api/parameters/shovel/{quote(vhost, safe='')}/move"
    value = {
        "src-protocol": "amqp091",
        "src-uri": f"{broker.address.urls[0]}/{vhost}",
        "src-queue": queue,
        "dest-protocol": "amqp091",
        "dest-uri": target,
        "dest-queue": to,
        "ack-mode": "on-confirm",
        "src-delete-after": "never",
    }
    httpx.put(url, json={"value": value}).raise_for_status()
    try:
        yield
    finally:
        httpx.delete(url).raise_for_status()


def enable_shovel(server: PrivateRabbitMQ) -> None:
    """What ``rabbitmq-plugins enable rabbitmq_shovel`` does."""
    file = "element(2, application:get_env(rabbit, enabled_plugins_file))"
    plugins = "[rabbitmq_management, rabbitmq_shovel]."
    server.ctl("eval", f'file:write_file({file}, "{plugins}"), rabbit_plugins:ensure({file}).')
