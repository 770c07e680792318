"""A plain connection to one virtual host, for looking and for orders; jobs have publishers."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

import amqp.exceptions
from kombu.connection import Connection

from laneway.broker import mask_password
from laneway.broker.refusal import no_entry
from laneway.errors import BrokerError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from laneway.broker import BrokerAddress, VhostKind

#: Seconds that connecting to the broker may take.
CONNECT_TIMEOUT: Final = 5.0
#: Seconds that one answer of the broker may take.
ANSWER_TIMEOUT: Final = 10.0


@contextlib.contextmanager
def connection_to(address: BrokerAddress, kind: VhostKind) -> Iterator[Connection]:
    """An open connection to one virtual host.

    Raises:
        BrokerUnreachable: nothing answers in time.
        BrokerRefusedLogin: wrong user or password.
        VirtualHostMissing: there is no such virtual host, or it is not for this user.
        BrokerError: inside the block, the broker refused something or broke off.
    """
    vhost = address.vhost(kind)
    with Connection(
        address.kombu_urls(kind),
        connect_timeout=CONNECT_TIMEOUT,
        heartbeat=30,
        # A broker that hangs must not hang us: no answer of it takes longer.
        transport_options={"read_timeout": ANSWER_TIMEOUT, "write_timeout": ANSWER_TIMEOUT},
    ) as connection:
        try:
            connection.ensure_connection(
                max_retries=1, timeout=CONNECT_TIMEOUT, reraise_as_library_errors=False
            )
        except (OSError, amqp.exceptions.AMQPError) as error:
            raise no_entry(
                error,
                where=f"the virtual host {vhost!r} of {mask_password(address.urls[0])}",
                seconds=CONNECT_TIMEOUT,
                more="('laneway up' starts one of its own.)",
            ) from error
        try:
            yield connection
        except (OSError, amqp.exceptions.AMQPError) as error:
            raise BrokerError(f"the broker broke off on {vhost!r}: {error}") from error
