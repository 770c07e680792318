"""The transport over the C client, as far as it needs no broker."""

from __future__ import annotations

import inspect
from importlib.util import find_spec
from typing import Any

import pytest

if find_spec("librabbitmq") is None:
    pytest.skip(
        "the extra laneway[librabbitmq] is not installed (no wheel for this platform)",
        allow_module_level=True,
    )

import amqp.exceptions
import kombu
import librabbitmq
from kombu.transport import librabbitmq as kombus

from laneway.broker import broker_address, librabbitmq_channel
from laneway.broker import librabbitmq as over_c


def test_every_member_of_a_cluster_is_entered_over_it() -> None:
    over_c.register()
    urls = broker_address("librabbitmq://u:p@one, librabbitmq://u:p@two", env={})
    connection: Any = kombu.Connection(urls.consumer_urls("jobs"))
    assert isinstance(connection.transport, over_c.Transport)
    assert connection.hostname == "one"
    connection.maybe_switch_next()
    assert connection.hostname == "two"
    assert isinstance(connection.transport, over_c.Transport)


def test_it_can_be_named_by_its_place() -> None:
    connection: Any = kombu.Connection("amqp://h", transport="laneway.broker.librabbitmq:Transport")
    assert isinstance(connection.transport, over_c.Transport)


@pytest.mark.parametrize(
    ("error", "expected", "code"),
    [
        (
            librabbitmq.ChannelError(
                "queue.declare: server channel error 404, message: NOT_FOUND - no queue 'x'"
            ),
            amqp.exceptions.NotFound,
            404,
        ),
        (
            librabbitmq.ConnectionError(
                "Couldn't log in: server connection error 403, message: ACCESS_REFUSED - no"
            ),
            amqp.exceptions.AccessRefused,
            403,
        ),
        (
            librabbitmq.ConnectionError("server connection error 320 message: CONNECTION_FORCED"),
            amqp.exceptions.ConnectionForced,
            320,
        ),
        (librabbitmq.ConnectionError("Bad frame"), amqp.exceptions.RecoverableConnectionError, 0),
        (librabbitmq.ChannelError("odd"), amqp.exceptions.RecoverableChannelError, 0),
    ],
)
def test_errors_are_told_by_their_code(error: Exception, expected: type, code: int) -> None:
    found: Any = librabbitmq_channel.as_amqp_error(error)
    assert found.reply_code == code
    assert type(found) is expected


def test_celery_reconnects_on_each_of_them() -> None:
    errors = kombu.Connection("pyamqp://h").connection_errors
    assert issubclass(amqp.exceptions.RecoverableConnectionError, errors)
    assert issubclass(amqp.exceptions.ConnectionForced, errors)
    # And this is why they are translated.
    assert not issubclass(librabbitmq.ConnectionError, errors)


# What it relies on


def test_kombus_own_channel_cannot_consume() -> None:
    """When this turns red, kombu's own transport may do, and ours may become smaller."""
    assert "on_cancel" not in inspect.signature(kombus.Channel.basic_consume).parameters
    assert "on_cancel" in inspect.signature(librabbitmq_channel.Channel.basic_consume).parameters


def test_every_method_of_the_channel_that_enters_the_library_is_wrapped() -> None:
    entering = {
        name
        for name, method in vars(librabbitmq.Channel).items()
        if inspect.isfunction(method) and "self.connection._" in inspect.getsource(method)
    }
    assert len(entering) > 10
    assert entering <= set(vars(librabbitmq_channel.Channel)), "a method that would bypass the lock"


def test_kombu_collects_through_the_transport() -> None:
    """Without ``_collect`` a lost connection is closed politely, which can hang."""

    class Lost:
        abandoned = False

        def abandon(self) -> None:
            self.abandoned = True

    connection: Any = kombu.Connection("amqp://h", transport="laneway.broker.librabbitmq:Transport")
    assert connection.transport
    connection._connection = lost = Lost()
    connection.collect()
    assert lost.abandoned


def test_the_library_is_called_without_client_properties() -> None:
    """Given any, the library touches Python's memory without the lock of the interpreter."""
    source = inspect.getsource(over_c.Transport.establish_connection)
    assert "client_properties" not in source
