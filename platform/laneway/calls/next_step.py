"""The next step of finished work: a chain's next task, a callback, a chord's body, a replacement.

Celery publishes it in the worker when the task's own code has ended, before the job is
acknowledged. Were it refused, Celery would call the finished job failed. So a step waits instead:

- A queue that is full: the step waits in the broker, as a job with a delay. The delay queues hold
  it however long the queue stays full, and nobody is held up here (a worker that waited for room
  in the queue that it serves would wait for ever).
- A broker that is away or takes nothing: the worker tries again, with the job unacknowledged.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, TypeVar

from laneway.errors import BrokerBlocked, BrokerUnreachable, PublishTimeout, QueueFull

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Result = TypeVar("Result")

#: Seconds for which a step whose queue is full waits in the broker before its next try there.
PAUSE: Final = 5
#: Seconds for which a worker tries again while the broker takes nothing.
LONGEST: Final = 300.0
_BETWEEN: Final = 1.0


def is_next_step(task_id: str, options: Mapping[str, Any], parent: Any) -> bool:
    """Whether Celery publishes this, and not the code of the job that runs.

    Args:
        task_id: of the call.
        options: of the call, as given.
        parent: the task whose job runs in this process, if any.
    """
    if parent is None:
        return False
    request = parent.request
    if request.id in (options.get("parent_id"), task_id):
        # Only Celery's tracer says the parent, and only Task.replace and retry the job's own id.
        return True
    chord = request.chord
    return isinstance(chord, dict) and (chord.get("options") or {}).get("task_id") == task_id


def insist(
    publish: Callable[[int | None], Result],
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Result:
    """Publish until it is accepted.

    Args:
        publish: publishes, with so many seconds of delay or at once (None).
        clock: seconds, monotonic.
        sleep: waits.

    Raises:
        PublishError: it cannot be accepted, or was not for :data:`LONGEST` seconds.
    """
    until = clock() + LONGEST
    pause = None
    while True:
        try:
            return publish(pause)
        except QueueFull:
            if pause is not None:
                raise
            pause = PAUSE
        except (BrokerBlocked, BrokerUnreachable, PublishTimeout):
            if clock() >= until:
                raise
            sleep(_BETWEEN)
