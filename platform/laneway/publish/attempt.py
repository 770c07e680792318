"""One call of publish: it tries until the job is confirmed or refused, or its time is over."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any, Final

from laneway.broker.refusal import is_final, refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from laneway.publish.producer import JobProducer

#: Seconds that one attempt to connect may take: several must fit into a deadline.
_CONNECT_TIMEOUT: Final = 4.0


class Attempt:
    """Tries to publish one job until an answer or the end of its time.

    Args:
        where: how people call the place, without password.
        seconds: the deadline of the whole call.
    """

    __slots__ = ("_failures", "_seconds", "_sent", "_until", "_where")

    def __init__(self, *, where: str, seconds: float) -> None:
        self._where = where
        self._seconds = seconds
        self._until = time.monotonic() + seconds
        self._sent = False
        self._failures = 0

    def run(self, producer: JobProducer, send: Callable[[float], Any]) -> Any:
        """Send, and send the same again while the connection fails and time remains.

        Raises:
            PublishError: one of its leaves, when the job was not confirmed.
        """
        while True:
            try:
                if not producer.ready():
                    self._connect(producer)
                    self._wait_while_blocked(producer)
                self._sent = True
                return send(self._remaining())
            except Exception as error:
                blocked = producer.alarm.reason
                producer.discard()
                if is_final(error) or time.monotonic() >= self._until - 0.01:
                    reason = refusal(
                        error,
                        where=self._where,
                        seconds=self._seconds,
                        sent=self._sent,
                        blocked=blocked,
                    )
                    if reason is error:
                        raise
                    raise reason from error
                self._failures += 1
                # The broker may have closed an idle connection: the first new one is made at once.
                if self._failures > 1:
                    time.sleep(min(0.05, self._remaining()))
            except BaseException:
                # An interrupt or a timeout of gevent's: the confirm is still to come.
                producer.discard()
                raise

    def begin_again(self) -> None:
        """The broker answered: the deadline runs from now."""
        self._until = time.monotonic() + self._seconds
        self._failures = 0

    def _remaining(self) -> float:
        """Seconds left, at least a millisecond so that no wait becomes endless."""
        return max(0.001, self._until - time.monotonic())

    def _connect(self, producer: JobProducer) -> None:
        connection = producer.__connection__
        if not connection.connected:
            connection.connect_timeout = min(_CONNECT_TIMEOUT, self._remaining())
            connection.ensure_connection(
                interval_start=0.1,
                interval_step=0.2,
                interval_max=1.0,
                timeout=self._remaining(),
                reraise_as_library_errors=False,
            )
            producer.revive(connection)

    def _wait_while_blocked(self, producer: JobProducer) -> None:
        """Send nothing into an alarm: what is not sent is certainly not accepted."""
        while producer.alarm.reason is not None:
            if time.monotonic() >= self._until:
                raise TimeoutError
            with contextlib.suppress(TimeoutError):
                producer.__connection__.drain_events(timeout=min(0.1, self._remaining()))
