"""A connection and a channel of librabbitmq, the C client, without its traps.

- An error is py-amqp's, by its reply code, so that Celery reconnects instead of ending.
- An exception of a callback arrives as itself, not as a ``SystemError``.
- One thread at a time is inside the C library, which has no locks.
- A body is copied out of the library's buffers.
- What the client cannot do is refused (:mod:`laneway.broker.client`), never ignored.

Why each: docs/design/librabbitmq.md. Importing this module needs ``laneway[librabbitmq]``.
"""

from __future__ import annotations

import functools
import os
import re
import select
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Final

import amqp.exceptions
import librabbitmq
from kombu.transport import librabbitmq as kombus

from laneway.broker.client import CLIENTS
from laneway.broker.wire_properties import wire_properties
from laneway.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

# select(2), which the C client waits with, corrupts memory beyond this.
_FD_LIMIT: Final = 1024
_CODE: Final = re.compile(r"(?:channel|connection) error (\d{3}),? message: (.*)", re.DOTALL)
_CLIENT: Final = CLIENTS["librabbitmq"]


def as_amqp_error(error: Exception) -> Exception:
    """py-amqp's exception for one of the C client, which puts the reply code in words.

    Args:
        error: ``librabbitmq.ConnectionError`` or ``librabbitmq.ChannelError``.
    """
    if found := _CODE.search(str(error)):
        code, text = int(found[1]), found[2]
        if known := amqp.exceptions.ERROR_MAP.get(code):
            exact: Exception = known(text, None, None, code)
            return exact
    lost: type[Exception] = amqp.exceptions.RecoverableConnectionError
    if isinstance(error, librabbitmq.ChannelError):
        lost = amqp.exceptions.RecoverableChannelError
    return lost(str(error))


def _call(
    method: Callable[..., Any], *, asks: bool, names: str | None = None
) -> Callable[..., Any]:
    """A method of the C client's channel, one thread at a time, with py-amqp's errors.

    Args:
        method: the channel's method.
        asks: it waits for an answer, while which deliveries may have been read and laid aside.
        names: the first parameter, where the library needs bytes: of text it makes bytes itself,
            and frees them while it does not hold the interpreter, which crashes Python 3.12.
    """

    @functools.wraps(method)
    def call(self: Channel, *args: Any, **kwargs: Any) -> Any:
        connection = self.connection
        if connection is None or not connection.connected:
            raise amqp.exceptions.RecoverableConnectionError("the connection is closed")
        if names is not None:
            first, *args = args or [kwargs.pop(names, "")]  # type: ignore[assignment]
            args = (first.encode() if isinstance(first, str) else first, *args)
        with connection.inside:
            try:
                return method(self, *args, **kwargs)
            except (librabbitmq.ConnectionError, librabbitmq.ChannelError) as error:
                raise as_amqp_error(error) from error
            finally:
                if asks:
                    connection.look_again()

    return call


class Message(kombus.Message):
    """A delivery whose body is its own: the C client's memory is used again for the next."""

    def __init__(
        self, channel: Any, props: dict[str, Any], info: dict[str, Any], body: Any
    ) -> None:
        # Without its headers: kombu would decompress the body as they say, without a bound.
        super().__init__(channel, {**props, "headers": None}, info, bytes(body))
        self.headers, self.properties = props.get("headers") or {}, props


class Channel(kombus.Channel):
    """A channel of the C client that kombu 5.7 can use."""

    Message = Message

    basic_ack = _call(kombus.Channel.basic_ack, asks=False)
    basic_reject = _call(kombus.Channel.basic_reject, asks=False)
    basic_qos = _call(kombus.Channel.basic_qos, asks=True)
    basic_get = _call(kombus.Channel.basic_get, asks=True, names="queue")
    basic_recover = _call(kombus.Channel.basic_recover, asks=True)
    flow = _call(kombus.Channel.flow, asks=True)
    queue_declare = _call(kombus.Channel.queue_declare, asks=True)
    queue_bind = _call(kombus.Channel.queue_bind, asks=True)
    queue_unbind = _call(kombus.Channel.queue_unbind, asks=True)
    queue_purge = _call(kombus.Channel.queue_purge, asks=True, names="queue")
    queue_delete = _call(kombus.Channel.queue_delete, asks=True, names="queue")
    exchange_declare = _call(kombus.Channel.exchange_declare, asks=True)
    exchange_delete = _call(kombus.Channel.exchange_delete, asks=True)
    _consume = _call(kombus.Channel.basic_consume, asks=True)
    _cancel = _call(kombus.Channel.basic_cancel, asks=True, names="consumer_tag")
    _publish = _call(kombus.Channel.basic_publish, asks=False)

    def basic_consume(
        self,
        queue: str = "",
        *args: Any,
        callback: Callable[[Any], Any] | None = None,
        on_cancel: Callable[..., Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Start a consumer; the arguments are those of py-amqp's channel.

        Raises:
            SettingsError: ``on_cancel`` is given, which would never be called.
        """
        if on_cancel is not None:
            raise SettingsError(_CLIENT.why_not("consumer cancel"))
        keep = self.connection.keep_error

        def deliver(message: Message) -> None:
            try:
                if callback is not None:
                    callback(message)
            except BaseException as error:  # noqa: BLE001 (raised again by drain_events)
                keep(error)

        return self._consume(queue, *args, callback=deliver, **kwargs)

    def basic_cancel(self, consumer_tag: str, **_: Any) -> None:
        """End a consumer; what was on its way to it goes back to its queue."""
        self.no_ack_consumers.discard(consumer_tag)
        # Without a callback the library would end the connection at the next such delivery.
        self.connection.callbacks[self.channel_id][consumer_tag] = _give_back
        self._cancel(consumer_tag)

    def basic_publish(
        self,
        message: Any,
        exchange: str = "",
        routing_key: str = "",
        mandatory: bool = False,
        immediate: bool = False,
        timeout: float | None = None,
        confirm_timeout: float | None = None,
        **properties: Any,
    ) -> Any:
        """Publish without a confirm: the broker may drop the message and nobody is told.

        Raises:
            SettingsError: something is asked for that would have no effect, or end the connection.
        """
        for ability, asked in (
            ("mandatory", mandatory or immediate),
            ("confirms", confirm_timeout is not None),
            ("deadlines", timeout is not None),
        ):
            if asked:
                raise SettingsError(_CLIENT.why_not(ability))  # type: ignore[arg-type]
        body, given = message if isinstance(message, tuple) else (message, {})
        return self._publish(
            (body, wire_properties({**given, **properties})), exchange, routing_key
        )

    def close(self) -> None:
        """Close the channel; nothing to do where the connection is gone."""
        if self.connection is not None and self.connection.connected and self.is_open:
            with self.connection.inside:
                super().close()
                self.connection.look_again()


class Connection(librabbitmq.Connection):
    """A connection of the C client that several threads may use, and that shows no password."""

    Channel = Channel
    Message = Message

    def __init__(self, *, keepalive: int, **kwargs: Any) -> None:
        #: Held by whoever is inside the C library.
        self.inside = threading.RLock()
        #: Called when deliveries may lie in the library's memory, of which no socket tells.
        self.look_again: Callable[[], object] = lambda: None
        self._raised: BaseException | None = None
        self._abandoned = False
        # The library's own heartbeats are sent only while it waits inside, so they are off.
        super().__init__(heartbeat=0, lazy=True, **kwargs)
        try:
            self.connect()
        except librabbitmq.ConnectionError as error:
            self._close_socket()  # the library forgets it after a refused login
            raise as_amqp_error(error) from error
        if self.fileno() >= _FD_LIMIT:
            self.close()
            raise amqp.exceptions.ConnectionError(
                f"librabbitmq waits with select(2), which serves file descriptors below {_FD_LIMIT}"
            )
        _keep_alive(self.fileno(), keepalive)

    def __repr__(self) -> str:
        return f"<laneway.broker.librabbitmq.Connection to {self.hostname}:{self.port}>"

    def keep_error(self, error: BaseException) -> None:
        """Keep what a callback raised until the C library has returned."""
        self._raised = self._raised or error

    def drain_events(self, timeout: float | None = None) -> None:
        """Handle one delivery.

        Args:
            timeout: seconds to wait for it; None is for ever, 0 not at all.

        Raises:
            TimeoutError: none came.
            amqp.exceptions.ConnectionError: the connection is lost.
        """
        until = None if timeout is None else time.monotonic() + timeout
        while not self._receive():
            wait = None if until is None else max(0.0, until - time.monotonic())
            # Waiting outside, so that other threads can acknowledge meanwhile.
            poll = select.poll()
            poll.register(self.fileno(), select.POLLIN)
            if not poll.poll(None if wait is None else wait * 1000) and wait == 0:
                raise TimeoutError("timed out")

    def _receive(self) -> bool:
        """Take one delivery that has begun to arrive; False if there is none."""
        with self.inside:
            if not self.connected:
                raise amqp.exceptions.RecoverableConnectionError("the connection is closed")
            try:
                super().drain_events(timeout=0.0)
            except TimeoutError:
                return False
            except (librabbitmq.ConnectionError, librabbitmq.ChannelError) as error:
                # Whatever was wrong, the library has closed the connection.
                raise amqp.exceptions.RecoverableConnectionError(str(error)) from error
            except SystemError:
                if self._raised is None:
                    raise
            raised, self._raised = self._raised, None
            if raised is not None:
                raise raised
            return True

    def channel(self, channel_id: int | None = None) -> Any:
        """Open a channel."""
        with self.inside:
            if not self.connected:
                raise amqp.exceptions.RecoverableConnectionError("the connection is closed")
            try:
                return super().channel(channel_id)
            except librabbitmq.ConnectionError as error:
                raise as_amqp_error(error) from error
            finally:
                self.look_again()

    @property
    def connected(self) -> bool:
        """Whether the connection was neither closed nor abandoned."""
        return bool(super().connected) and not self._abandoned

    def close(self) -> None:
        """Say goodbye and close; an abandoned connection is left alone."""
        with self.inside:
            if not self._abandoned:
                super().close()

    def abandon(self) -> None:
        """Close the socket without a word, as after a fork."""
        if not self._abandoned:
            self._abandoned = True
            self._close_socket()
        for channel in self.channels.values():
            channel.connection = None
        self.channels.clear()
        self.callbacks.clear()

    def _close_socket(self) -> None:
        try:
            os.close(self.fileno())
        except (OSError, ValueError):
            return


def _give_back(message: Message) -> None:
    message.channel.basic_reject(message.delivery_tag, requeue=True)


def _keep_alive(fileno: int, seconds: int) -> None:
    """Let the kernel notice that the broker's machine is gone, in about ``2 * seconds``."""
    with socket.socket(fileno=os.dup(fileno)) as same:
        same.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        same.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        same.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, max(1, seconds))
        same.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(1, seconds // 3))
        same.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
        # Also while something is on its way, where keepalive is silent.
        same.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 2000 * max(1, seconds))
