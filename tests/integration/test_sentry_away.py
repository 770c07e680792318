"""A server for errors that is down, slow or overrun costs no job, no time and no clean end."""

from __future__ import annotations

import re
import socket
import time
from typing import TYPE_CHECKING

import httpx
import pytest

from laneway.local.ports import free_ports
from support.faults import APP, POLICY
from support.letter_stream import letters
from support.topology import apply_policy
from support.workers import WorkerProcess, environment, make_app

if TYPE_CHECKING:
    from laneway.broker import BrokerAddress
    from laneway.local import PrivateRedis
    from support.envelopes import EnvelopeSink

pytestmark = [pytest.mark.integration, pytest.mark.broker43]

JOBS = 30
#: Seconds that a worker may take to leave: its own 2 s for events, and what it takes without.
LEAVING = 8.0
KINDS = ("down", "slow", "429", "500", "hangs up", "nobody answers")


def counted(port: int) -> dict[str, float]:
    """``laneway_facts_total`` of the worker's queue, by kind."""
    text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    form = r'^laneway_facts_total\{kind="(\w+)",queue="default"\} (\S+)$'
    return {kind: float(value) for kind, value in re.findall(form, text, re.MULTILINE)}


@pytest.mark.parametrize(
    ("pool", "kind"),
    [*(("direct", kind) for kind in KINDS), ("prefork", "down"), ("prefork", "slow")],
)
def test_a_server_in_trouble(
    kind: str,
    pool: str,
    sink: EnvelopeSink,
    address: BrokerAddress,
    redis: PrivateRedis,
) -> None:
    (health,) = free_ports(1)
    dsn = sink.dsn()
    deaf = socket.create_server(("127.0.0.1", 0), backlog=1)
    match kind:
        case "down":
            (nobody,) = free_ports(1)
            dsn = dsn.replace(str(sink.port), str(nobody))
        case "nobody answers":
            # Connections are taken by the kernel and never by anybody else.
            dsn = dsn.replace(str(sink.port), str(deaf.getsockname()[1]))
        case "slow":
            sink.delay = 10
        case "429":
            sink.status, sink.headers = 429, {"Retry-After": "60"}
        case "500":
            sink.status = 500
        case "hangs up":
            sink.hangs_up = True
    apply_policy(address, POLICY)
    app = make_app(address, redis.url, POLICY)
    env = environment(address, redis.url, POLICY, LANEWAY_SENTRY_DSN=dsn)
    options = ("--pool", pool, "--health", str(health))
    with deaf, WorkerProcess("default", env, *options, app=APP) as worker:
        began = time.monotonic()
        # Of many causes, so that the storm control lets them through.
        jobs = {str(app.send_task("faults.until", (f"/nowhere/{n}",)).id) for n in range(JOBS // 2)}
        jobs |= {str(app.send_task("faults.fail", (f"card {n}",)).id) for n in range(JOBS // 2)}
        found = letters(address, jobs.__contains__, JOBS)
        assert {letter.task_id for letter in found} == jobs
        # A job that succeeds does so beside them.
        done = app.send_task("faults.add", ("a", "b"))
        assert done.get(timeout=30) == "ab"
        took = time.monotonic() - began
        told = counted(health)
        leaving = time.monotonic()
        assert worker.stop() == 0, worker.tail()
        leaving = time.monotonic() - leaving
    assert leaving < LEAVING, f"{kind}: {leaving:.1f} s to leave"
    assert took < 45, f"{kind}: {took:.1f} s for {JOBS} jobs"
    assert told["dead_lettered"] == JOBS
    assert told["reported"] + told.get("report_held", 0) == JOBS
    if kind in {"down", "429", "500", "hangs up"}:
        assert worker.of("report_lost"), sorted(told)
