from __future__ import annotations

import amqp.exceptions
import pytest

from laneway import errors
from laneway.broker.refusal import is_final, no_entry, refusal

NO_ROUTE = amqp.exceptions.ChannelError("Basic.return", reply_code=312)


def words(error: Exception, *, sent: bool = False, blocked: str | None = None) -> Exception:
    return refusal(error, where="the virtual host 'jobs'", seconds=3, sent=sent, blocked=blocked)


@pytest.mark.parametrize(
    ("error", "leaf", "final"),
    [
        (amqp.exceptions.MessageNacked(), errors.QueueFull, True),
        (amqp.exceptions.AccessRefused("no", reply_code=403), errors.BrokerRefusedLogin, True),
        (amqp.exceptions.NotAllowed("no", reply_code=530), errors.VirtualHostMissing, True),
        (amqp.exceptions.NotFound("no", reply_code=404), errors.TopologyMissing, True),
        (NO_ROUTE, errors.Unroutable, True),
        (
            amqp.exceptions.PreconditionFailed("no", reply_code=406),
            errors.PublishError,
            True,
        ),
        (ConnectionRefusedError("no"), errors.BrokerUnreachable, False),
        (amqp.exceptions.RecoverableConnectionError("no"), errors.BrokerUnreachable, False),
        (amqp.exceptions.ConnectionForced("bye", reply_code=320), errors.BrokerUnreachable, False),
    ],
)
def test_one_leaf_each(error: Exception, leaf: type[Exception], final: bool) -> None:
    assert type(words(error)) is leaf
    assert is_final(error) == final


def test_silence_after_sending_may_be_acceptance() -> None:
    late = words(TimeoutError(), sent=True)
    assert isinstance(late, errors.PublishTimeout)
    assert late.maybe_accepted


def test_an_alarm_is_told_from_silence() -> None:
    unsent = words(TimeoutError(), blocked="low on memory")
    assert isinstance(unsent, errors.BrokerBlocked)
    assert not unsent.maybe_accepted
    assert "Nothing was sent" in str(unsent)


def test_what_is_none_of_the_brokers_business_passes() -> None:
    error = KeyError("x")
    assert words(error) is error
    assert is_final(error)


@pytest.mark.parametrize(
    ("error", "leaf", "cure"),
    [
        (amqp.exceptions.AccessRefused("no"), errors.BrokerRefusedLogin, "user, password"),
        (amqp.exceptions.NotAllowed("no"), errors.VirtualHostMissing, "topology apply"),
        (ConnectionRefusedError("no"), errors.BrokerUnreachable, "laneway up"),
        (amqp.exceptions.ConnectionForced("bye"), errors.BrokerUnreachable, "laneway up"),
    ],
)
def test_who_is_not_let_in_learns_why(
    error: Exception, leaf: type[errors.PublishError], cure: str
) -> None:
    found = no_entry(error, where="the virtual host 'jobs'", seconds=5, more="Try 'laneway up'.")
    assert type(found) is leaf
    assert not found.maybe_accepted
    assert "the virtual host 'jobs'" in str(found)
    assert cure in str(found)
