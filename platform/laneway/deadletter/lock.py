"""One operator at a time: a lock on the broker, whose holder answers who they are.

The lock is an exclusive queue, so it ends with its holder's connection, however that ends. Others
can still send to it: whoever finds it taken asks by a message, and the holder answers it.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Final, Self

import amqp
import amqp.exceptions

from laneway.broker.connect import connection_to
from laneway.errors import BrokerError, LanewayError, LettersLocked

if TYPE_CHECKING:
    from types import TracebackType

    from kombu.connection import Connection

    from laneway.broker.address import BrokerAddress, VhostKind

#: The lock of replays and discards.
LOCK: Final = "dead.lock"
#: That of appending letters again before the stream forgets them.
RENEWAL_LOCK: Final = "dead.lock.renew"
#: Seconds that the holder has to say who they are.
_ANSWER_SECONDS: Final = 3.0
_HEARTBEAT_SECONDS: Final = 5.0
#: Seconds that the end of the block may wait for the thread that answers.
_STEP_SECONDS: Final = 0.05
_REPLY_TO: Final = "amq.rabbitmq.reply-to"


def operator() -> str:
    """Who runs this process, as ``user@host``."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = "unknown"  # a user id without a name, as containers have it
    return f"{user}@{socket.gethostname()}"


class Lock:
    """Held within its block; nobody else can hold the same one of this virtual host.

    Args:
        address: where the broker is.
        vhost: which of the two virtual hosts.
        doing: what the holder does, for whoever asks, like ``"replay"``.
        by: who the holder is.
        name: which lock.

    Raises:
        LettersLocked: somebody else holds it; the message says who.
        BrokerUnreachable: no connection.
    """

    def __init__(
        self,
        address: BrokerAddress,
        vhost: VhostKind,
        *,
        doing: str,
        by: str,
        name: str = LOCK,
    ) -> None:
        self._address = address
        self._vhost = vhost
        self._name = name
        self._holder = {"doing": doing, "by": by, "since": time.time()}
        self._open = contextlib.ExitStack()
        self._ending = threading.Event()
        self._lost: Exception | None = None
        self._thread: threading.Thread | None = None

    def check(self) -> None:
        """Go on only while it is held.

        Raises:
            BrokerError: its connection was lost, so somebody else may hold it now.
        """
        if self._lost is not None:
            raise BrokerError(
                f"the lock {self._name!r} was lost with its connection: {self._lost}. What was "
                "done so far is in the audit; start again for the rest."
            ) from self._lost

    def __enter__(self) -> Self:
        connection = self._open.enter_context(connection_to(self._address, self._vhost))
        try:
            channel = connection.channel()
            channel.queue_declare(self._name, durable=False, exclusive=True, auto_delete=False)
        except amqp.exceptions.ResourceLocked as error:
            holder = self._ask(connection)
            self._open.close()
            raise LettersLocked(
                f"somebody else replays or discards here: {holder}. Nothing was done; wait for "
                "them to end."
            ) from error
        except BaseException:
            self._open.close()
            raise
        channel.basic_consume(
            self._name, no_ack=True, callback=lambda message: self._answer(channel, message)
        )
        self._thread = threading.Thread(target=self._hold, args=(connection,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ending.set()
        if self._thread is not None:
            self._thread.join()
        with contextlib.suppress(OSError, amqp.exceptions.AMQPError, LanewayError):
            self._open.close()

    def _hold(self, connection: Connection) -> None:
        beat_at = time.monotonic()
        try:
            while not self._ending.is_set():
                with contextlib.suppress(TimeoutError):
                    connection.drain_events(timeout=_STEP_SECONDS)
                if time.monotonic() - beat_at > _HEARTBEAT_SECONDS:
                    connection.heartbeat_check()
                    beat_at = time.monotonic()
        except (OSError, amqp.exceptions.AMQPError) as error:
            self._lost = error

    def _answer(self, channel: Any, message: Any) -> None:
        reply_to = message.properties.get("reply_to")
        if reply_to:
            answer = amqp.Message(json.dumps(self._holder), content_type="application/json")
            channel.basic_publish(answer, exchange="", routing_key=reply_to)

    def _ask(self, connection: Connection) -> str:
        """Who holds it, in words."""
        answers: list[dict[str, Any]] = []
        try:
            channel = connection.channel()
            channel.basic_consume(
                _REPLY_TO, no_ack=True, callback=lambda m: answers.append(json.loads(m.body))
            )
            question = amqp.Message("who?", reply_to=_REPLY_TO)
            channel.basic_publish(question, exchange="", routing_key=self._name)
            until = time.monotonic() + _ANSWER_SECONDS
            while not answers and time.monotonic() < until:
                with contextlib.suppress(TimeoutError):
                    connection.drain_events(timeout=0.2)
            holder = answers[0]
            since = time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(holder["since"]))
            return f"{holder['by']} ({holder['doing']}), since {since}"
        except (LookupError, ValueError, TypeError, OSError, amqp.exceptions.AMQPError):
            return "somebody who does not say who they are"
