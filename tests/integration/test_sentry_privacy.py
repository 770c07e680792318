"""Nothing of what a job was called with leaves, whatever ends it: each envelope is searched.

The canary stands in arguments, local variables, headers, results and the texts of errors. The sink
keeps every byte of every envelope, also of those that a real server would drop.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from support.envelopes import EnvelopeSink
from support.fault_tasks import CANARY, ORDER
from support.faults import APP, FAULTS, POLICY, SECURE_FAULTS, happen
from support.letter_stream import letters
from support.topology import apply_policy
from support.workers import ControlProcess, WorkerProcess, environment, make_app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from laneway.broker import BrokerAddress
    from laneway.local import PrivateRedis

pytestmark = [pytest.mark.integration, pytest.mark.broker43]

ORDINARY, SECURE = "1", "2"
HOSTILE = ("repr", "huge", "secret", "chain", "group")
#: Bytes that one envelope may have, whatever was raised.
LARGEST = 200_000


@pytest.fixture(scope="module")
def module_topology(module_address: BrokerAddress) -> BrokerAddress:
    apply_policy(module_address, POLICY)
    return module_address


@pytest.fixture(scope="module", params=["prefork", "direct"])
def searched(
    request: pytest.FixtureRequest, module_topology: BrokerAddress, redis: PrivateRedis
) -> Iterator[EnvelopeSink]:
    """All that was sent while everything failed on both queues, with everything switched on."""
    with EnvelopeSink() as sink:
        env = environment(
            module_topology,
            redis.url,
            POLICY,
            LANEWAY_SENTRY_DSN=sink.dsn(ORDINARY),
            LANEWAY_SENTRY_SECURE_DSN=sink.dsn(SECURE),
            LANEWAY_SENTRY_TRACES="1",
            LANEWAY_RELEASE="shop@4.2",
        )
        app = make_app(module_topology, redis.url, POLICY)
        pool = ("--pool", request.param)
        with (
            ControlProcess(env) as control,
            WorkerProcess("default", env, *pool, app=APP) as worker,
            WorkerProcess("secure", env, *pool, app=APP) as secure,
        ):
            happen(app, module_topology, FAULTS)
            happen(app, module_topology, SECURE_FAULTS, "secure")
            jobs = [app.send_task("faults.hostile", (kind, CANARY)).id for kind in HOSTILE]
            letters(module_topology, jobs.__contains__, len(jobs))
            jobs = [app.send_task("vault.hostile", (kind, CANARY)).id for kind in HOSTILE]
            letters(module_topology, jobs.__contains__, len(jobs), kind="secure")
            time.sleep(1)
            for process in (worker, secure, control):
                assert process.stop() == 0, process.tail()
        yield sink


def test_the_canary_is_in_no_envelope(searched: EnvelopeSink) -> None:
    assert searched.holds(CANARY) == []
    # Nor where it is cut off.
    assert searched.holds(CANARY[:12]) == []


def test_what_may_be_told_was_told(searched: EnvelopeSink) -> None:
    """The search would find something: there are events, and their words were searched."""
    assert searched.broken == []
    assert searched.holds(ORDER), "an argument that its task allows"
    assert searched.holds("was declined"), "the words of an error of an ordinary queue"
    silent = sum(1 for fault in FAULTS if not fault.events)
    ordinary, secure = (searched.of("event", project) for project in (ORDINARY, SECURE))
    assert len({event["event_id"] for event in ordinary}) == len(FAULTS) - silent + len(HOSTILE)
    assert len({event["event_id"] for event in secure}) == len(SECURE_FAULTS) + len(HOSTILE)


def test_traces_were_searched_too(searched: EnvelopeSink) -> None:
    """Every job was traced, so the search went through transactions with their data."""
    traced = searched.of("transaction", ORDINARY)
    named = {one["transaction"] for one in traced}
    # (Of what ends its process, or never runs, there is none.)
    ran = {fault.task for fault in FAULTS if fault.outcome == "failed"}
    assert ran | {"faults.hostile"} <= named
    assert all(one["contexts"]["trace"]["data"]["messaging.message.id"] for one in traced)
    # Of a secure queue there are none.
    assert searched.of("transaction", SECURE) == []


def test_a_secure_queue_tells_no_words(searched: EnvelopeSink) -> None:
    events = searched.of("event", SECURE)
    for event in events:
        values = event.get("exception", {}).get("values", [])
        assert [one["value"] for one in values if one.get("value")] == [], event
        assert not {"extra", "breadcrumbs", "logentry", "message", "request", "user"} & set(event)
        assert "vars" not in json.dumps(event)
        assert event["contexts"]["job"]["letter"]
        assert event["tags"]["queue"] == "secure"
    assert "declined" not in json.dumps(events)


def test_no_frame_tells_its_variables(searched: EnvelopeSink) -> None:
    for event in searched.events:
        for one in event.get("exception", {}).get("values", []):
            for frame in (one.get("stacktrace") or {}).get("frames", []):
                assert not frame.get("vars"), event["tags"]


def test_whatever_is_raised_an_envelope_is_small(searched: EnvelopeSink) -> None:
    assert max(map(len, searched.bodies)) < LARGEST


@pytest.mark.parametrize("project", [ORDINARY, SECURE])
def test_an_error_that_cannot_be_shown_is_an_event(searched: EnvelopeSink, project: str) -> None:
    family = {ORDINARY: "faults", SECURE: "vault"}[project]
    events = {
        event["event_id"]: event
        for event in searched.of("event", project)
        if event["tags"]["task"] == f"{family}.hostile"
    }
    types = {
        event["exception"]["values"][-1]["type"]
        for event in events.values()
        if event.get("exception")
    }
    assert {"Hostile", "ValueError", "ExceptionGroup"} <= types
    assert len(events) == len(HOSTILE)
