"""A worker's application and what a broker would deliver to it, without one: how do jobs end?"""

from __future__ import annotations

import json
import types
from typing import TYPE_CHECKING, Any

import amqp
from celery.app.trace import build_tracer

from laneway import Laneway
from laneway.broker.deliveries import Delivery
from laneway.policy import load_policy
from support.workers import POLICY

if TYPE_CHECKING:
    from collections.abc import Callable

    from laneway.worker.letters import Failure


def make_app(name: str, *, backend: str = "disabled://") -> Laneway:
    """An application with the tests' policy, which reaches no broker; its tasks come next."""
    return Laneway(
        name,
        policy=load_policy(POLICY),
        set_as_current=False,
        broker="amqp://nobody:here@nowhere",
        backend=backend,
    )


def serve(app: Laneway, queue: str = "low") -> Laneway:
    """Let it run jobs in this process, as one of a worker does: it has all its tasks."""
    app.finalize()
    app.serve(queue)
    for task in app.tasks.values():
        task.__trace__ = build_tracer(task.name, task, app.loader, f"{queue}@here", app=app)
    return app


def delivery(task: str, *args: Any, raw: bytes | None = None, **headers: Any) -> Delivery:
    """The job ``7a`` as a process of the direct pool gets it.

    Args:
        task: its name.
        args: what it is called with.
        raw: its properties, instead of right ones.
        headers: of its message, besides the usual ones.
    """
    message = amqp.Message(
        application_headers={"task": task, "id": "7a", **headers},
        content_type="application/json",
        content_encoding="utf-8",
    )
    properties = message._serialize_properties() if raw is None else raw
    body = json.dumps([args, {}, {}]).encode()
    return Delivery(1, b"c", False, "jobs", "low", properties, body)


def message(task: str, bury: Callable[[Failure], object] | None, **headers: Any) -> Any:
    """The same job as the parent of Celery's pools has it; without ``bury`` it has no letter."""
    made = types.SimpleNamespace(
        headers={"id": "7a", "task": task, **headers},
        body=b"",
        payload=([], {}, {}),
        properties={},
        delivery_info={},
        content_type="application/json",
        content_encoding="utf-8",
    )
    if bury is not None:
        made.bury = bury
    return made
