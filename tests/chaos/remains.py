"""What is left when a run is over: jobs that still wait, and dead letters."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from chaos.messages import numbers
from laneway.topology import LETTER_STREAM

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaos.stage import Stage

#: Seconds without any message after which a stream counts as read.
_STREAM_SILENCE: Final = 2.0
#: How the names of what holds dead letters begin (Laneway's) and end (dramatiq's).
_DEAD: Final = "dead."
_DEAD_END: Final = ".XQ"


def is_dead(queue: str) -> bool:
    """Whether a queue holds dead letters."""
    return queue.startswith(_DEAD) or queue.endswith(_DEAD_END)


def take_everything(stage: Stage) -> tuple[Counter[int], Counter[int]]:
    """Empty all queues; in how many messages each job was that still waited, or was dead."""
    queued: Counter[int] = Counter()
    dead: Counter[int] = Counter()
    with stage.management() as management:
        entries = management.queue_entries(stage.vhost)
    for entry in entries:
        name = entry["name"]
        into = dead if is_dead(name) else queued
        stream = entry.get("type") == "stream"
        if stream and name != LETTER_STREAM:
            continue
        for body in _stream(stage, name) if stream else _queue(stage, name):
            into.update(numbers(body))
    return queued, dead


def _queue(stage: Stage, name: str) -> Iterator[bytes]:
    with stage.channel() as channel:
        while (message := channel.basic_get(name, no_ack=True)) is not None:
            yield _bytes(message.body)


def _stream(stage: Stage, name: str) -> list[bytes]:
    found: list[bytes] = []
    with stage.channel() as channel:
        channel.basic_qos(0, 1000, False)

        def take(message: Any) -> None:
            found.append(_bytes(message.body))
            channel.basic_ack(message.delivery_tag)

        channel.basic_consume(name, callback=take, arguments={"x-stream-offset": "first"})
        with suppress(TimeoutError):
            while True:
                channel.connection.drain_events(timeout=_STREAM_SILENCE)
    return found


def _bytes(body: Any) -> bytes:
    return body if isinstance(body, bytes) else str(body).encode()
