"""Malformed messages without a broker: both ways of reading them, and their letters.

``pytest --malformed 50000`` tries so many.
"""

from __future__ import annotations

import struct
import types
from collections import Counter
from typing import TYPE_CHECKING, Any

from amqp import spec
from hypothesis import HealthCheck, Phase, given, settings

from laneway import Laneway
from laneway.broker.deliveries import Delivery
from laneway.deadletter import envelope
from laneway.policy import load_policy
from laneway.worker import gate
from laneway.worker.direct.runner import Job, Runner
from laneway.worker.gate import Quarantine, Run
from laneway.worker.letters import Failure, LetterWriter, original_of
from laneway.worker.transport import FrameHandler, JobMessage
from support.malformed import Malformed, messages
from support.workers import POLICY

if TYPE_CHECKING:
    import pytest

DELIVER = struct.pack(">HH", *spec.Basic.Deliver)


def arrived(message: Malformed) -> JobMessage:
    """The message as a worker of Celery's pools gets it."""
    found: list[Any] = []
    on_frame = FrameHandler(types.SimpleNamespace(bytes_recv=0), lambda *parts: found.append(parts))
    size = struct.pack(">HHQ", 60, 0, len(message.body))
    on_frame((1, 1, DELIVER))
    on_frame((2, 1, size + message.properties))
    if message.body:
        on_frame((3, 1, message.body))
    [(_, _, _, incoming)] = found
    incoming.delivery_info = {"delivery_tag": 1, "exchange": "jobs", "routing_key": "low"}
    return JobMessage(incoming)


def test_whatever_comes_is_read_the_same_way_everywhere(request: pytest.FixtureRequest) -> None:
    app = Laneway("malformed", policy=load_policy(POLICY), set_as_current=False)

    @app.task(name="plain.add", shared=False)
    def add(a: int, b: int) -> int:
        return a + b

    app.finalize()
    runner = Runner(app, "low", "low@here")
    writer = LetterWriter(app, "low", "low@here")
    seen: Counter[str] = Counter()

    @settings(
        max_examples=request.config.getoption("--malformed"),
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(message=messages())
    def read(message: Malformed) -> None:
        kombus = arrived(message)
        body = kombus.body.encode() if isinstance(kombus.body, str) else kombus.body
        verdict = gate.examine(
            kombus.properties if kombus.readable else None,
            kombus.headers,
            body,
            tasks=app.tasks,
        )
        delivery = Delivery(1, b"c", False, "jobs", "low", message.properties, message.body)
        direct = runner.read(delivery)
        if isinstance(verdict, Run):
            assert isinstance(direct, Job)
            seen["Run"] += 1
            return
        assert direct == verdict
        if isinstance(verdict, Quarantine):
            seen[verdict.kind] += 1
            failure = Failure(outcome="quarantined", error_type=verdict.kind)
            original = original_of(kombus)
            assert (original.properties, original.body) == message
            letter = writer.write(kombus.headers, failure, original)
            assert envelope.decode(envelope.encode(letter)) == letter

    read()
    print(dict(seen))
