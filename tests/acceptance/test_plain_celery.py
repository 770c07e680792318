"""Celery's own command on a Laneway application: it works, or refuses with the cure."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Self

import pytest

from laneway.broker import broker_address
from laneway.broker.management import Management
from support.cli import Cli
from support.workers import make_app

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from laneway import Laneway
    from laneway.broker import BrokerAddress
    from laneway.workloads import LocalPlatform

pytestmark = pytest.mark.integration

CELERY = [sys.executable, "-m", "celery", "-A", "support.tasks:app"]


@pytest.fixture(scope="module")
def address(platform: LocalPlatform) -> Iterator[BrokerAddress]:
    """Virtual hosts without workers, in which nothing stands yet."""
    urls, management = platform.address.urls, platform.address.management_url
    address = broker_address(urls, management, vhost_prefix=f"test-{secrets.token_hex(5)}-", env={})
    yield address
    with Management(address) as client:
        for kind in ("jobs", "secure"):
            client.delete_vhost(address.vhost(kind))


@pytest.fixture(scope="module")
def environment(
    platform: LocalPlatform, address: BrokerAddress, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """The environment of commands that use these virtual hosts; the topology stands."""
    cli = Cli(tmp_path_factory.mktemp("home"), **platform.environment)
    cli = cli.having(LANEWAY_VHOST_PREFIX=address.vhost_prefix)
    assert cli("topology", "apply", "--yes").status == 0
    return dict(cli.environment)


@pytest.fixture
def producer(address: BrokerAddress, platform: LocalPlatform) -> Iterator[Laneway]:
    app = make_app(address, platform.result_backend)
    yield app
    app.close()


class Process:
    """A command that runs until it is told to stop; use as a context manager."""

    def __init__(self, command: list[str], environment: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("w") as out:
            self.process = subprocess.Popen(
                command,
                env=environment,
                cwd=log.parent,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def said(self) -> str:
        return self.log.read_text()


def celery(environment: dict[str, str], *arguments: str, **more: str) -> tuple[int, str, str]:
    """Run ``celery -A …`` to its end: status, stdout, stderr."""
    done = subprocess.run(
        [*CELERY, *arguments],
        env={**environment, **more},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout, done.stderr


def refused(answer: tuple[int, str, str]) -> str:
    """The one message of a command that was refused."""
    status, _, err = answer
    assert status == 1, err
    assert "Traceback" not in err
    assert err.count("laneway: ") == 1
    return err


@pytest.fixture(scope="module")
def high(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """``celery -A … worker -Q high``; gives its node name."""
    name = "high@plain"
    log = tmp_path_factory.mktemp("worker") / "high.log"
    command = [*CELERY, "worker", "-Q", "high", "-n", name, "-l", "info"]
    with Process(command, environment, log) as worker:
        until = time.monotonic() + 60
        while celery(environment, "inspect", "ping", "-d", name)[0] != 0:
            assert worker.process.poll() is None, worker.said()
            assert time.monotonic() < until, worker.said()
        yield name
    assert worker.process.returncode == 0, worker.said()
    assert "Traceback" not in worker.said()


def inspect(environment: dict[str, str], worker: str, what: str) -> Any:
    status, out, err = celery(environment, "inspect", what, "--json", "-d", worker)
    assert status == 0, err
    return json.loads(out)[worker]


# Workers


def test_a_worker_of_one_queue(high: str, producer: Laneway) -> None:
    done = producer.send_task("plain.where", queue="high", priority=7).get(timeout=60)
    assert done == {"priority": 7, "queue": "high", "hostname": high}


def test_a_worker_of_the_secure_queue(
    environment: dict[str, str], producer: Laneway, tmp_path: Path
) -> None:
    command = [*CELERY, "worker", "-Q", "secure", "-n", "secure@plain"]
    with Process(command, environment, tmp_path / "secure.log") as worker:
        assert producer.send_task("vault.pay", (3,)).get(timeout=60) == 300, worker.said()
    assert worker.process.returncode == 0


def test_no_queue(environment: dict[str, str]) -> None:
    err = refused(celery(environment, "worker"))
    assert "exactly one queue" in err
    assert "none" in err
    assert "celery -A … worker -Q QUEUE" in err
    assert "default, high, low, secure" in err


def test_two_queues(environment: dict[str, str]) -> None:
    err = refused(celery(environment, "worker", "-Q", "high,low"))
    assert "got: high, low" in err
    assert "one worker a queue" in err


def test_an_unknown_queue(environment: dict[str, str]) -> None:
    assert "did you mean 'high'?" in refused(celery(environment, "worker", "-Q", "hgih"))


def test_a_pool_that_cannot_keep_the_files_promise(environment: dict[str, str]) -> None:
    err = refused(celery(environment, "worker", "-Q", "default", "-P", "threads"))
    assert "time_limit" in err
    assert "prefork" in err


def test_purging_at_the_start(environment: dict[str, str]) -> None:
    err = refused(celery(environment, "worker", "-Q", "low", "--purge"))
    assert "laneway queues purge low" in err


def policy_with(tmp_path: Path, name: str, text: str, routes: str = "ROUTES = []\n") -> str:
    (tmp_path / "queues").mkdir()
    (tmp_path / "routing.py").write_text(routes)
    for queue, more in {"default": "", name: text}.items():
        head = f'summary = "{queue}"\nservice_level = "1s"\n'
        (tmp_path / "queues" / f"{queue}.toml").write_text(head + more)
    return str(tmp_path)


def test_a_pool_that_the_file_names_must_be_said(
    environment: dict[str, str], tmp_path: Path
) -> None:
    policy = policy_with(tmp_path, "low", "[worker]\npool = 'threads'\n")
    err = refused(celery(environment, "worker", "-Q", "low", LANEWAY_POLICY=policy))
    assert "-P threads" in err


def test_a_broken_policy(environment: dict[str, str], tmp_path: Path) -> None:
    policy = policy_with(tmp_path, "low", "colour = 'red'\n", "ROUTES = [1]\n")
    err = refused(celery(environment, "worker", "-Q", "low", LANEWAY_POLICY=policy))
    assert "the policy has 2 problems" in err


def test_settings_that_contradict(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "shopapp.py").write_text(
        "from laneway import Laneway\n"
        "app = Laneway('shop', task_serializer='pickle', task_routes={'a': {'queue': 'b'}})\n"
    )
    for verb in (["worker", "-Q", "low"], ["beat"], ["inspect", "ping"]):
        done = subprocess.run(
            [sys.executable, "-m", "celery", "-A", "shopapp", *verb],
            env={**environment, "PYTHONPATH": str(tmp_path)},
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        err = refused((done.returncode, done.stdout, done.stderr))
        assert "task_serializer" in err
        assert "task_routes" in err


def test_another_broker_on_the_command_line(environment: dict[str, str]) -> None:
    done = subprocess.run(
        [*CELERY[:3], "-b", "amqp://elsewhere", *CELERY[3:], "worker", "-Q", "low"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert "LANEWAY_BROKER_URL" in refused((done.returncode, done.stdout, done.stderr))


def test_a_topology_that_was_never_applied(environment: dict[str, str], tmp_path: Path) -> None:
    policy = policy_with(tmp_path, "extra", "")
    status, _, err = celery(environment, "worker", "-Q", "extra", LANEWAY_POLICY=policy)
    assert status == 78
    assert "laneway topology apply" in err
    assert "Traceback" not in err


# inspect


def test_inspect(high: str, environment: dict[str, str], producer: Laneway, tmp_path: Path) -> None:
    assert inspect(environment, high, "ping") == {"ok": "pong"}
    registered = inspect(environment, high, "registered")
    assert {"plain.add", "vault.pay"} <= {name.split()[0] for name in registered}
    stats = inspect(environment, high, "stats")
    assert stats["pool"]["max-concurrency"] == 2, "as queues/high.toml says"
    [queue] = inspect(environment, high, "active_queues")
    assert queue["name"] == "high"

    go_on = tmp_path / "go-on"
    job = producer.send_task("plain.hold", (str(go_on),), queue="high")
    try:
        until = time.monotonic() + 60
        while not (active := inspect(environment, high, "active")):
            assert time.monotonic() < until
        assert [one["id"] for one in active] == [job.id]
    finally:
        go_on.touch()


# beat


def test_beat_publishes_to_the_queue_of_the_policy(
    environment: dict[str, str], address: BrokerAddress, tmp_path: Path
) -> None:
    (tmp_path / "timetable.py").write_text(
        "from laneway import Laneway\n"
        "app = Laneway('timetable', beat_schedule={\n"
        "    'urgent': {'task': 'plain.urgent', 'schedule': 1.0},\n"
        "    'pay': {'task': 'vault.pay', 'schedule': 1.0, 'args': [1]},\n"
        "    'low': {'task': 'plain.add', 'schedule': 1.0, 'options': {'queue': 'low'}},\n"
        "    'typo': {'task': 'plain.add', 'schedule': 1.0, 'options': {'queue': 'hgih'}},\n"
        "})\n"
    )
    command = [sys.executable, "-m", "celery", "-A", "timetable", "beat", "-l", "info"]
    own = {**environment, "PYTHONPATH": str(tmp_path)}
    app = make_app(address)
    with (
        app.connection_for_write(address.kombu_urls("jobs")) as jobs,
        app.connection_for_write(address.kombu_urls("secure")) as secure,
        Process(command, own, tmp_path / "beat.log") as beat,
    ):
        low = take(jobs, "low", beat)
        assert low.headers["task"] == "plain.add"
        paid = take(secure, "secure", beat)
        assert paid.headers["task"] == "vault.pay"
        # No worker of high knows this task here; it went where the policy says all the same.
        until = time.monotonic() + 60
        while "UnknownQueue" not in beat.said() or "did you mean 'high'?" not in beat.said():
            assert time.monotonic() < until, beat.said()
            time.sleep(0.1)
        assert beat.process.poll() is None, "one wrong entry does not end the others"
    assert beat.process.returncode == 0, beat.said()


def take(connection: Any, queue: str, beat: Process) -> Any:
    until = time.monotonic() + 60
    while (message := connection.default_channel.basic_get(queue, no_ack=True)) is None:
        assert time.monotonic() < until, beat.said()
        time.sleep(0.05)
    return message


# Eager


def test_eager_runs_what_is_right_and_refuses_what_is_wrong(environment: dict[str, str]) -> None:
    """Tests of a project keep working without a broker, and find wrong calls."""
    program = (
        "import laneway\n"
        "from support.tasks import add, app, pay\n"
        "app.conf.task_always_eager = True\n"
        "app.conf.task_eager_propagates = True\n"
        "assert add.delay(2, 3).get() == 5\n"
        "assert add.apply_async((2, 3), queue='low', priority=9).get() == 5\n"
        "assert (add.s(1, 1) | add.s(3)).delay().get() == 5\n"
        "assert pay.delay(1).get() == 100\n"
        "for wrong, error in [\n"
        "    ({'queue': 'hgih'}, laneway.UnknownQueue),\n"
        "    ({'queue': 'secure'}, laneway.RouteIsSecure),\n"
        "    ({'priority': 10}, laneway.InvalidPriority),\n"
        "    ({'routing_key': 'low'}, laneway.OptionRefused),\n"
        "    ({'countdown': 2**28}, laneway.OptionRefused),\n"
        "]:\n"
        "    try:\n"
        "        add.apply_async((1, 1), **wrong)\n"
        "    except error:\n"
        "        continue\n"
        "    raise SystemExit(f'{wrong} was not refused')\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        env={**environment, "LANEWAY_BROKER_URL": "amqp://nobody:here@127.0.0.1:1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
