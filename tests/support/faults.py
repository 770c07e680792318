"""Every way in which a job ends without success: how it comes about, and what its letter says."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import amqp

from laneway.deadletter.letter import merged
from laneway.publish.frames import Publish, publish_method
from laneway.topology import JOBS_EXCHANGE
from support.fault_tasks import CANARY, ORDER
from support.letter_stream import letters, posted_now

if TYPE_CHECKING:
    from laneway import Laneway
    from laneway.broker import BrokerAddress, VhostKind
    from laneway.deadletter.letter import Letter, Outcome

POLICY = Path(__file__).parent / "fault_policy"
APP = "support.fault_tasks:app"

#: Publishes the job of a fault and returns its id.
Publisher = Callable[["Laneway"], str]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One row of the table."""

    name: str
    publish: Publisher
    #: What the letter says.
    outcome: Outcome
    #: The end of what the letter says of the error's class; None where nothing was raised.
    error: str | None = None
    #: The task as the event names it.
    task: str
    #: The attempt that failed for good; None where no code ran.
    attempt: int | None = 1
    #: Events that are wanted.
    events: int = 1
    #: Whether it can happen to a thread.
    on_threads: bool = True
    #: The broker counts its death for what else the process held.
    ends_a_process: bool = False


def sends(task: str, *arguments: Any, **options: Any) -> Publisher:
    """A job as any service publishes it, with a header of its own."""
    options = {"headers": {"customer": CANARY}, **options}
    return lambda app: str(app.send_task(task, arguments, **options).id)


def puts(body: bytes, *, task: str, queue: str = "default", **headers: Any) -> Publisher:
    """A message as no service of ours writes it."""

    def put(app: Laneway) -> str:
        job = str(uuid.uuid4())
        given = {"task": task, "id": job, "lang": "py", "argsrepr": f"({CANARY!r},)", **headers}
        message = amqp.Message(
            application_headers=given,
            content_type="application/json",
            content_encoding="utf-8",
            delivery_mode=2,
            priority=4,
        )
        properties = message._serialize_properties()
        vhost = app.policy.queue(queue).vhost
        app.publisher(vhost).publish(
            Publish(publish_method(JOBS_EXCHANGE, queue), properties, body)
        )
        return job

    return put


def _faults(family: str, queue: str) -> tuple[Fault, ...]:
    """The rows with the tasks of a family: ``faults`` or ``vault``."""
    body = f'[["{CANARY}", "{CANARY}"], {{}}, {{}}]'.encode()
    return (
        Fault(
            name="exception",
            publish=sends(f"{family}.fail", CANARY),
            outcome="failed",
            error="ValueError",
            task=f"{family}.fail",
        ),
        Fault(
            name="retry without an error exhausted",
            publish=sends(f"{family}.retry_bare", CANARY),
            outcome="failed",
            error="MaxRetriesExceededError",
            task=f"{family}.retry_bare",
            attempt=2,
        ),
        Fault(
            name="soft limit",
            publish=sends(f"{family}.soft", CANARY),
            outcome="failed",
            error="SoftTimeLimitExceeded",
            task=f"{family}.soft",
            on_threads=False,
        ),
        Fault(
            name="unknown task",
            publish=sends(f"{family}.nobody_knows_it", CANARY),
            outcome="quarantined",
            task=f"{family}.nobody_knows_it",
            attempt=None,
        ),
        Fault(
            name="rejected",
            publish=sends(f"{family}.rejected", CANARY),
            outcome="rejected",
            error="LookupError",
            task=f"{family}.rejected",
        ),
        Fault(
            name="expired",
            # (Celery also tells the broker when a job expires, and then no worker would see it.)
            publish=puts(
                body, task=f"{family}.add", queue=queue, expires="2020-01-01T00:00:00+00:00"
            ),
            outcome="expired",
            task=f"{family}.add",
            attempt=None,
        ),
        Fault(
            name="result that is no JSON",
            publish=sends(f"{family}.unserialisable", CANARY),
            outcome="failed",
            error="EncodeError",
            task=f"{family}.unserialisable",
        ),
        Fault(
            name="undecodable",
            publish=puts(b"\xff\xfe" + CANARY.encode(), task=f"{family}.add", queue=queue),
            outcome="quarantined",
            task=f"{family}.add",
            attempt=None,
        ),
        # What ends a process comes last, each alone: the broker counts it for its neighbours too.
        Fault(
            name="hard limit",
            publish=sends(f"{family}.hard", CANARY),
            outcome="time-limit",
            error="TimeLimitExceeded",
            task=f"{family}.hard",
            on_threads=False,
            ends_a_process=True,
        ),
        Fault(
            name="killed twice",
            publish=sends(f"{family}.killed", CANARY),
            outcome="lost",
            task=f"{family}.killed",
            attempt=None,
            on_threads=False,
            ends_a_process=True,
        ),
    )


#: On an ordinary queue.
FAULTS = (
    *_faults("faults", "default"),
    Fault(
        name="with an argument that may be told",
        publish=sends("faults.allowed", ORDER, CANARY),
        outcome="failed",
        error="ValueError",
        task="faults.allowed",
    ),
    Fault(
        name="autoretry exhausted",
        publish=sends("faults.autoretry", CANARY),
        outcome="failed",
        error="ConnectionError",
        task="faults.autoretry",
        attempt=3,
    ),
    Fault(
        name="expected",
        publish=sends("faults.expected", CANARY),
        outcome="failed",
        error="KeyError",
        task="faults.expected",
        events=0,
    ),
)

#: On a secure queue.
SECURE_FAULTS = _faults("vault", "secure")


def happen(
    app: Laneway, address: BrokerAddress, faults: Sequence[Fault], kind: VhostKind = "jobs"
) -> dict[str, Letter]:
    """Publish what fails; the letters by the name of the fault."""
    jobs: dict[str, str] = {}
    for fault in faults:
        if not fault.ends_a_process:
            jobs[fault.publish(app)] = fault.name
    found = letters(address, jobs.__contains__, len(jobs), kind=kind)
    for fault in faults:
        if fault.ends_a_process:
            job = fault.publish(app)
            jobs[job] = fault.name
            found.append(_letter_of(address, job, fault, kind))
    return {jobs[letter.task_id or ""]: letter for letter in found}


def _letter_of(address: BrokerAddress, job: str, fault: Fault, kind: VhostKind) -> Letter:
    """The letter of a job: the keeper's report may stand there before the worker's."""
    until = time.monotonic() + 60
    reports: list[Letter] = []
    while time.monotonic() < until and fault.outcome not in {one.outcome for one in reports}:
        time.sleep(0.1)
        reports = posted_now(address, job, kind=kind)
    assert reports, f"no letter of {fault.name}"
    return reduce(merged, reports)
