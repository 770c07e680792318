"""What a worker answers to probes and to Prometheus."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from typing import TYPE_CHECKING

import httpx
import pytest

from laneway.probes import TURN
from laneway.queue_control import pause_queue, resume_queue
from support.proxy import Proxy
from support.workers import WorkerProcess, environment, make_app

if TYPE_CHECKING:
    from pathlib import Path

    from laneway.broker import BrokerAddress
    from laneway.local import PrivateRedis

pytestmark = pytest.mark.integration

PATIENCE = 60


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def ask(port: int, page: str) -> httpx.Response:
    return httpx.get(f"http://127.0.0.1:{port}{page}", timeout=10, trust_env=False)


def number(text: str, name: str, **labels: str) -> float:
    """The value of one sample of the text."""
    found = re.findall(rf"^{name}{{([^}}]*)}} (\S+)$", text, re.MULTILINE)
    for shown, value in found:
        if all(f'{key}="{said}"' in shown for key, said in labels.items()):
            return float(value)
    return 0.0


def wait_for_status(port: int, page: str, status: int) -> httpx.Response:
    until = time.monotonic() + PATIENCE
    while (answer := ask(port, page)).status_code != status:
        assert time.monotonic() < until, f"{page}: {answer.status_code} {answer.text}"
        time.sleep(0.1)
    return answer


@pytest.mark.parametrize("pool", ["prefork", "direct", "threads", "solo"])
def test_probes_and_numbers_of_the_whole_worker(
    topology: BrokerAddress, redis: PrivateRedis, pool: str
) -> None:
    app, port = make_app(topology, redis.url), free_port()
    size = "1" if pool == "solo" else "2"
    options = ("--pool", pool, "--concurrency", size, "--health", str(port))
    with WorkerProcess("low", environment(topology, redis.url), *options) as worker:
        assert wait_for_status(port, "/readyz", 200).text == "ok\n"
        assert ask(port, "/livez").status_code == 200
        assert ask(port, "/nothing").status_code == 404
        for one in [app.send_task("plain.add", (1, 1), queue="low") for _ in range(20)]:
            assert one.get(timeout=PATIENCE) == 2
        worker.wait_for("succeeded", 20)
        until = time.monotonic() + PATIENCE
        while True:
            text = ask(port, "/metrics").text
            if number(text, "laneway_facts_total", queue="low", kind="succeeded") == 20:
                break
            assert time.monotonic() < until, text
            time.sleep(0.1)
        assert number(text, "laneway_wait_seconds_count", queue="low") == 20
        assert number(text, "laneway_runtime_seconds_count", queue="low") == 20
        assert number(text, "laneway_runtime_seconds_sum", queue="low") > 0
        assert number(text, "laneway_concurrency", queue="low") == int(size)
        assert worker.stop() == 0
    with pytest.raises(httpx.ConnectError):
        ask(port, "/livez")


@pytest.mark.parametrize("pool", ["prefork", "direct"])
def test_a_worker_without_its_broker_is_alive_and_not_ready(
    topology: BrokerAddress, redis: PrivateRedis, pool: str
) -> None:
    url, port = topology.urls[0], free_port()
    with Proxy.before(url) as proxy:
        env = environment(topology, redis.url, LANEWAY_BROKER_URL=proxy.through(url))
        with WorkerProcess("low", env, "--pool", pool, "--health", str(port)):
            wait_for_status(port, "/readyz", 200)
            proxy.refuse()
            wait_for_status(port, "/readyz", 503)
            assert ask(port, "/livez").status_code == 200
            proxy.accept()
            wait_for_status(port, "/readyz", 200)


@pytest.mark.parametrize("pool", ["prefork", "direct"])
def test_a_worker_that_starts_without_its_broker_is_alive_and_waits(
    topology: BrokerAddress, redis: PrivateRedis, pool: str
) -> None:
    """What a startup probe asks: nobody is started again because the broker is away."""
    url, port = topology.urls[0], free_port()
    with Proxy.before(url) as proxy:
        proxy.refuse()
        env = environment(topology, redis.url, LANEWAY_BROKER_URL=proxy.through(url))
        worker = WorkerProcess("low", env, "--pool", pool, "--health", str(port))
        try:
            until = time.monotonic() + PATIENCE
            while not answers(port):
                assert time.monotonic() < until
                assert worker.process.poll() is None, worker.tail()
                time.sleep(0.1)
            # Longer than the patience with a loop that turned once and then stands.
            for _ in range(int(TURN) + 5):
                assert ask(port, "/livez").status_code == 200
                answer = ask(port, "/readyz")
                assert (answer.status_code, answer.text) == (503, "not connected to the broker\n")
                time.sleep(1)
            assert number(ask(port, "/metrics").text, "laneway_ready", queue="low") == 0
            proxy.accept()
            wait_for_status(port, "/readyz", 200)
            assert number(ask(port, "/metrics").text, "laneway_ready", queue="low") == 1
        finally:
            worker.stop()


def answers(port: int) -> bool:
    """Whether somebody listens already."""
    try:
        ask(port, "/livez")
    except httpx.TransportError:
        return False
    return True


def test_a_taken_port_ends_the_worker_with_the_reason(
    topology: BrokerAddress, redis: PrivateRedis
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        worker = WorkerProcess("low", environment(topology, redis.url), "--health", str(port))
        try:
            assert worker.process.wait(PATIENCE) != 0
        finally:
            worker.stop()
    assert "Address already in use" in worker.tail()


def test_a_loop_that_stands_is_not_alive_until_it_turns_again(
    topology: BrokerAddress, redis: PrivateRedis, tmp_path: Path
) -> None:
    hold, port = tmp_path / "hold", free_port()
    env = environment(topology, redis.url, HOLD=str(hold))
    options = ("--pool", "prefork", "--health", str(port))
    with WorkerProcess("low", env, *options, app="support.standing_tasks:app"):
        wait_for_status(port, "/readyz", 200)
        hold.touch()
        assert "the parent's loop has not turned" in wait_for_status(port, "/livez", 503).text
        hold.unlink()
        wait_for_status(port, "/livez", 200)


def test_a_process_that_stands_makes_a_direct_worker_not_alive(
    topology: BrokerAddress, redis: PrivateRedis, tmp_path: Path
) -> None:
    port = free_port()
    env = environment(topology, redis.url, HOLD=str(tmp_path / "hold"))
    options = ("--pool", "direct", "--concurrency", "1", "--health", str(port))
    with WorkerProcess("low", env, *options, app="support.standing_tasks:app"):
        wait_for_status(port, "/readyz", 200)
        [told] = (make_app(topology, redis.url).control.inspect().stats() or {}).values()
        [process] = told["pool"]["processes"]
        os.kill(process, signal.SIGSTOP)
        try:
            assert f"process {process} has not" in wait_for_status(port, "/livez", 503).text
        finally:
            os.kill(process, signal.SIGCONT)
        wait_for_status(port, "/livez", 200)


@pytest.mark.parametrize("pool", ["prefork", "direct"])
def test_a_paused_worker_is_ready(topology: BrokerAddress, redis: PrivateRedis, pool: str) -> None:
    """It does what it was told: a rollout must not stand still because somebody paused a queue."""
    app, port = make_app(topology, redis.url), free_port()
    env = environment(topology, redis.url)
    with WorkerProcess("low", env, "--pool", pool, "--health", str(port)) as worker:
        wait_for_status(port, "/readyz", 200)
        pause_queue(topology, app.policy, "low")
        try:
            worker.wait_for("paused")
            assert ask(port, "/readyz").status_code == 200
        finally:
            resume_queue(topology, app.policy, "low")
        worker.wait_for("resumed")
        assert ask(port, "/readyz").status_code == 200
