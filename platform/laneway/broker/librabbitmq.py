"""librabbitmq, the C client, as a transport of kombu: for consuming, at a fifth of the CPU.

:func:`register` makes it known to kombu as the scheme :data:`SCHEME`; ``transport=`` of a
``kombu.Connection`` takes ``"laneway.broker.librabbitmq:Transport"``. kombu's own transport of this
name cannot consume with kombu 5.7. Importing this module needs the extra ``laneway[librabbitmq]``.
"""

from __future__ import annotations

import socket
from typing import Any, Final

import amqp
import amqp.exceptions
from kombu.transport import TRANSPORT_ALIASES, base
from kombu.transport import librabbitmq as kombus

from laneway.broker.client import CLIENTS
from laneway.broker.librabbitmq_channel import Connection
from laneway.errors import SettingsError

#: The scheme of :func:`register`. A name of our own: kombu's ``librabbitmq`` stays what it is.
SCHEME: Final = "laneway-librabbitmq"
#: Seconds of silence after which the kernel asks whether the broker's machine is still there, when
#: no heartbeat was asked for.
KEEPALIVE: Final = 30
_CLIENT: Final = CLIENTS["librabbitmq"]


def register() -> None:
    """Make kombu know :data:`SCHEME`; calling it again changes nothing.

    A URL is how kombu names the members of a cluster: on failover it takes the transport from the
    next member's scheme and forgets the ``transport`` that it was given.
    """
    TRANSPORT_ALIASES[SCHEME] = f"{__name__}:Transport"


class Transport(kombus.Transport):
    """kombu's transport over the C client."""

    client: Any
    Connection: Any = Connection
    connection_errors = (
        *kombus.Transport.connection_errors,
        amqp.exceptions.ConnectionError,
    )
    channel_errors = (*kombus.Transport.channel_errors, amqp.exceptions.ChannelError)
    recoverable_connection_errors = amqp.Connection.recoverable_connection_errors
    recoverable_channel_errors = amqp.Connection.recoverable_channel_errors
    implements = base.Transport.implements.extend(asynchronous=True, heartbeats=False)

    def establish_connection(self) -> Any:
        """Connect.

        Raises:
            SettingsError: the connection is asked for what the client cannot do.
            OSError, amqp.exceptions.AMQPError: nobody answers, or not as hoped.
        """
        info = self.client
        options = info.transport_options or {}
        host, port = info.hostname or "localhost", int(info.port or self.default_port)
        for ability, asked in (
            ("TLS", info.ssl),
            ("confirms", options.get("confirm_publish")),
            ("connection.blocked", options.get("on_blocked") or options.get("on_unblocked")),
            ("IPv6 literals", ":" in host),
        ):
            if asked:
                raise SettingsError(_CLIENT.why_not(ability))  # type: ignore[arg-type]
        # The library opens its socket without a deadline; a machine that is away is noticed here.
        socket.create_connection((host, port), timeout=info.connect_timeout).close()
        connection = self.Connection(
            host=host,
            port=port,
            userid=info.userid or "guest",
            password=info.password or "guest",
            virtual_host=info.virtual_host or "/",
            keepalive=int(info.heartbeat or KEEPALIVE),
        )
        connection.client = info
        info.drain_events = connection.drain_events
        return connection

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:
        """Read when the socket can be read, and after each call that may have read more."""

        def read() -> None:
            if connection.connected:
                self.on_readable(connection, loop)

        connection.look_again = lambda: loop.call_soon(read)
        super().register_with_event_loop(connection, loop)

    def _collect(self, connection: Any) -> None:
        if connection is not None:
            connection.abandon()
        self.client.drain_events = None
        self.client = None
