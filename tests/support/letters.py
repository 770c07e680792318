"""Dead letters and their messages, made for tests."""

from __future__ import annotations

import json
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

import amqp

from laneway.broker.connect import connection_to
from laneway.deadletter import Selection, postbox
from laneway.deadletter.audit import Entry
from laneway.deadletter.cause import cause_of
from laneway.deadletter.letter import REPLAYS_HEADER, Letter, Original, letter_id
from laneway.deadletter.state import STATES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from laneway import Laneway
    from laneway.broker.address import VhostKind
    from laneway.deadletter import DeadLetters


#: All letters, whatever was done with them.
ANY = Selection(states=STATES)


def states(letters: DeadLetters) -> dict[str, str]:
    """The state of each letter."""
    return {one.id: one.state for one in letters.list(ANY, limit=10_000).letters}


def properties(task_id: str, *, replays: int = 0, task: str = "plain.add", **more: Any) -> bytes:
    """The properties of a job's message; ``headers`` come on top of the usual ones."""
    headers = {
        "lang": "py",
        "task": task,
        "id": task_id,
        "retries": 3,
        "timelimit": [None, None],
        "argsrepr": "(1, 2)",
        "kwargsrepr": "{}",
        "laneway_queue": "default",
        "laneway_ready_at": 1.5,
        **({REPLAYS_HEADER: replays} if replays else {}),
        **more.pop("headers", {}),
    }
    given = {
        "content_type": "application/json",
        "content_encoding": "utf-8",
        "delivery_mode": 2,
        "priority": 7,
        "correlation_id": task_id,
        "reply_to": "answers",
        "timestamp": 1_700_000_000,
        **more,
    }
    data = amqp.Message(application_headers=headers, **given)._serialize_properties()
    assert isinstance(data, bytes)
    return data


def letter(task_id: str, replays: int = 0, **given: Any) -> Letter:
    """A letter of a job; the fields of ``Letter`` as wanted."""
    task = given.get("task", "plain.add")
    queue = given.get("queue", "default")
    fields: dict[str, Any] = {
        "id": letter_id(task_id, replays),
        "queue": queue,
        "outcome": "failed",
        "cause": cause_of(task, "ValueError", "plain:add"),
        "at": 1_700_000_000.0,
        "by": "worker",
        "task": task,
        "task_id": task_id,
        "root_id": task_id,
        "priority": 7,
        "error_type": "ValueError",
        "message": "no funds",
        "replays": replays,
        "original": Original(
            exchange="jobs",
            routing_key=queue,
            properties=properties(task_id, replays=replays, task=task or ""),
            body=json.dumps([[1, 2], {"order": 7}, {"chain": None}]).encode(),
        ),
    }
    return Letter(**{**fields, **given})


def post_many(app: Laneway, letters: Iterable[Letter], vhost: VhostKind = "jobs") -> int:
    """Post letters one behind the other."""
    count = 0
    with app.batch() as batch:
        for one in letters:
            batch.add(vhost, one.id, "", one.queue, 0, postbox.letter_message(one))
            count += 1
    return count


class PlayedWorker(threading.Thread):
    """Takes replayed jobs from a queue and ends them as a worker would; use as a context manager.

    Args:
        app: publishes what became of them.
        queue: the queue.
        succeeds: whether a job of this id succeeds.
        vhost: the virtual host of the queue.
    """

    def __init__(
        self,
        app: Laneway,
        queue: str = "default",
        *,
        succeeds: Callable[[str], bool] = lambda _id: True,
        vhost: VhostKind = "jobs",
    ) -> None:
        super().__init__(daemon=True)
        self._app, self._queue, self._vhost = app, queue, vhost
        self._succeeds = succeeds
        self._ending = threading.Event()
        #: The ids of the jobs that it took, in order.
        self.taken: list[str] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self.join()

    def run(self) -> None:
        with connection_to(self._app.address, self._vhost) as connection:
            channel = connection.channel()
            channel.basic_qos(0, 100, False)
            channel.basic_consume(self._queue, callback=lambda m: self._end(channel, m))
            while not self._ending.is_set():
                with suppress(TimeoutError):
                    connection.drain_events(timeout=0.1)

    def _end(self, channel: Any, message: Any) -> None:
        headers = message.headers
        task_id, replays = headers["id"], headers.get(REPLAYS_HEADER, 0)
        self.taken.append(task_id)
        if self._succeeds(task_id):
            entry = Entry(
                verb="resolved",
                at=time.time(),
                by="worker@test",
                letters=(letter_id(task_id, replays - 1),),
            )
            postbox.note(self._app, self._vhost, entry)
        else:
            postbox.post(self._app, letter(task_id, replays, queue=self._queue))
        channel.basic_ack(message.delivery_info["delivery_tag"])
