"""What a message may be at most."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from laneway.worker.gate.json_types import CONTAINERS

if TYPE_CHECKING:
    from laneway.app import Laneway


class Limits(NamedTuple):
    """What a message may be at most."""

    #: Bytes of a body, as it comes and decompressed: RabbitMQ's own limit since 4.0.
    body_bytes: int = 16 * 1024 * 1024
    #: Lists and mappings inside each other. Python's own JSON stops near a thousand, in the middle
    #: of a retry or of a result.
    depth: int = 256
    #: Seconds for which a job of an unknown task is handed back.
    unknown_task_grace: float = 300.0


def limits_of(app: Laneway, queue: str) -> Limits:
    """What the messages of a queue may be at most."""
    grace = app.policy.queue(queue).worker.unknown_task_grace
    # What this application may publish it can run, too.
    largest = max(Limits().body_bytes, app.max_message_bytes)
    return Limits(body_bytes=largest, unknown_task_grace=grace)


def is_deep(value: Any, most: int) -> bool:
    """Whether lists and mappings are inside each other more than ``most`` times."""
    level = [value]
    for _ in range(most):
        inner: list[Any] = []
        for one in level:
            items = one.values() if type(one) is dict else one
            inner += [item for item in items if type(item) in CONTAINERS]
        if not inner:
            return False
        level = inner
    return True
