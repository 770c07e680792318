"""One event for each dead letter, on a real server, whatever ended the job; pool by pool."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from laneway.broker import broker_address
from laneway.broker.address import VHOST_KINDS
from laneway.broker.management import Management
from support.fault_tasks import CANARY
from support.faults import APP, FAULTS, POLICY, Fault, happen
from support.findings import Findings
from support.topology import apply_policy
from support.workers import ControlProcess, WorkerProcess, environment, make_app

if TYPE_CHECKING:
    from integration.conftest import TestBroker
    from laneway.deadletter.letter import Letter
    from laneway.local import BugsinkClient, BugsinkEvent, PrivateRedis

pytestmark = [pytest.mark.integration, pytest.mark.broker43]

RELEASE = "shop@4.2"
IMAGE = "shop:4.2-1"
POOLS = ("prefork", "direct", "threads")
#: Seconds after which what was not reported never will be.
QUIET = 2.0

ROWS = [
    (pool, fault) for pool in POOLS for fault in FAULTS if pool != "threads" or fault.on_threads
]


@dataclass(frozen=True, kw_only=True)
class Story:
    """What came of all faults on one pool, after everybody has left."""

    letters: dict[str, Letter]
    events: list[BugsinkEvent]
    findings: Findings

    def events_of(self, letter: Letter) -> list[BugsinkEvent]:
        return [event for event in self.events if letter_of(event) == letter.id]


def letter_of(event: BugsinkEvent) -> str | None:
    return event.contexts.get("job", {}).get("letter")


@pytest.fixture(scope="module")
def stories() -> dict[str, Story]:
    """By pool; filled as the pools come."""
    return {}


@pytest.fixture
def story(
    request: pytest.FixtureRequest,
    stories: dict[str, Story],
    broker: TestBroker,
    redis: PrivateRedis,
    bugsink_client: BugsinkClient,
) -> Story:
    pool: str = request.param
    if pool not in stories:
        stories[pool] = tell(pool, broker, redis, bugsink_client)
    return stories[pool]


def tell(
    pool: str, broker: TestBroker, redis: PrivateRedis, bugsink_client: BugsinkClient
) -> Story:
    """Let every fault happen on a pool, and read what was reported."""
    project = bugsink_client.create_project(f"faults-{pool}-{time.time_ns()}")
    findings = Findings(client=bugsink_client, project=project)
    address = broker_address(
        broker.address.urls,
        broker.address.management_url,
        vhost_prefix=f"faults-{pool}-{time.time_ns()}-",
        env={},
    )
    apply_policy(address, POLICY)
    try:
        env = environment(
            address,
            redis.url,
            POLICY,
            LANEWAY_SENTRY_DSN=findings.dsn,
            LANEWAY_RELEASE=RELEASE,
            LANEWAY_IMAGE=IMAGE,
        )
        app = make_app(address, redis.url, POLICY)
        faults = [fault for fault in FAULTS if pool != "threads" or fault.on_threads]
        options = ("--pool", pool, "--concurrency", "2")
        with (
            ControlProcess(env) as control,
            WorkerProcess("default", env, *options, app=APP) as worker,
        ):
            found = happen(app, address, faults)
            # Who has something to report does so now or when it leaves.
            time.sleep(QUIET)
            assert worker.stop() == 0, worker.tail()
            assert control.stop() == 0, control.tail()
        time.sleep(QUIET)
        return Story(letters=found, events=findings.events, findings=findings)
    finally:
        with Management(address) as management:
            for kind in VHOST_KINDS:
                management.delete_vhost(address.vhost(kind))


@pytest.mark.parametrize(
    ("story", "fault"),
    ROWS,
    ids=[f"{pool}-{fault.name}" for pool, fault in ROWS],
    indirect=["story"],
)
def test_one_event_for_each_letter(story: Story, fault: Fault) -> None:
    letter = story.letters[fault.name]
    assert letter.outcome == fault.outcome
    assert (letter.error_type or "").endswith(fault.error or "")
    events = story.events_of(letter)
    assert len(events) == fault.events, [event.data.get("exception") for event in events]
    for event in events:
        tags = event.tags
        assert tags["queue"] == "default"
        assert tags["task"] == fault.task
        assert tags["task_id"] == letter.task_id
        assert tags.get("root_id") == letter.root_id
        assert tags["outcome"] == fault.outcome
        assert tags["cause"] == letter.cause
        assert tags["priority"] == "4"
        if fault.attempt is not None:
            assert tags["attempt"] == str(fault.attempt)
        assert event.data["release"] == RELEASE
        job = event.contexts["job"]
        assert job["letter"] == letter.id
        assert job["show"] == f"laneway dead show {letter.id}"
        assert job["replay"] == f"laneway dead replay --cause {letter.cause} --first 10"
        if letter.event_id is not None:
            assert letter.event_id == event.id


@pytest.mark.parametrize("story", POOLS, indirect=True)
def test_nothing_else_is_reported(story: Story) -> None:
    """No event of a logger, of a parent process or of a retry."""
    known = {letter.id for letter in story.letters.values()}
    strange = [event.data for event in story.events if letter_of(event) not in known]
    assert strange == []
    silent = sum(1 for fault in FAULTS if fault.name in story.letters and not fault.events)
    assert len(story.events) == len(story.letters) - silent


@pytest.mark.parametrize("story", POOLS, indirect=True)
def test_each_cause_is_an_issue_of_its_own(story: Story) -> None:
    causes: dict[str, set[str]] = {}
    for event in story.events:
        causes.setdefault(event.issue, set()).add(event.tags["cause"])
    assert all(len(found) == 1 for found in causes.values()), causes
    assert len(causes) == len({event.tags["cause"] for event in story.events})


@pytest.mark.parametrize("story", POOLS, indirect=True)
def test_an_issue_is_called_what_happened(story: Story) -> None:
    titles = {issue.id: issue.title for issue in story.findings.issues}
    for event in story.events:
        job, tags = event.contexts["job"], event.tags
        what = job.get("error_type", tags["outcome"]).rpartition(".")[2]
        assert titles[event.issue].startswith(f"{what}: "), tags
        assert event.data["transaction"] == tags["task"]


@pytest.mark.parametrize("story", POOLS, indirect=True)
def test_no_argument_is_told(story: Story) -> None:
    for event in story.events:
        assert CANARY not in repr(event.data), event.tags
