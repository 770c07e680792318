"""Why a publish was refused: from what the libraries raise to the one error that says the cure."""

from __future__ import annotations

from typing import Final

import amqp.exceptions
from kombu.exceptions import OperationalError

from laneway import errors

_NO_ROUTE: Final = 312


def is_final(error: Exception) -> bool:
    """Whether a second try would only repeat the answer; a lost connection may be made again."""
    if isinstance(error, amqp.exceptions.MessageNacked | amqp.exceptions.ChannelError):
        return True
    # A ConnectionError of AMQP's, but no accident.
    if isinstance(error, amqp.exceptions.NotAllowed | amqp.exceptions.AccessRefused):
        return True
    return not isinstance(error, OSError | amqp.exceptions.ConnectionError | OperationalError)


def no_entry(
    error: Exception, *, where: str, seconds: float, more: str, maybe_accepted: bool = False
) -> errors.PublishError:
    """The error for somebody whom the broker did not let in.

    Args:
        error: what a library raised while connecting.
        where: how people call the place, without password.
        seconds: how long it was tried.
        more: what else there is to say if nothing answered.
        maybe_accepted: a message may have reached the broker before.
    """
    match error:
        case amqp.exceptions.AccessRefused():
            return errors.BrokerRefusedLogin(
                f"the broker refused us on {where}: {error}. Check user, password and "
                "permissions of LANEWAY_BROKER_URL."
            )
        case amqp.exceptions.NotAllowed():
            return errors.VirtualHostMissing(
                f"the broker does not let us into {where}: {error}. Create it with 'laneway "
                "topology apply', or check LANEWAY_VHOST_PREFIX."
            )
        case _:
            return errors.BrokerUnreachable(
                f"no connection to {where} within {seconds:g} s: {type(error).__name__}: "
                f"{error}. Is the broker up, and LANEWAY_BROKER_URL right? {more}",
                maybe_accepted=maybe_accepted,
            )


def refusal(
    error: Exception, *, where: str, seconds: float, sent: bool, blocked: str | None
) -> Exception:
    """The error for the caller.

    Args:
        error: what a library raised.
        where: how people call the place, without password.
        seconds: how long it was tried.
        sent: the message may have reached the broker.
        blocked: why the broker takes no publishes, if it said so.

    Returns:
        A leaf of :class:`laneway.errors.PublishError`; ``error`` itself if it is none of the
        broker's business.
    """
    maybe = "The job was sent and may still be accepted." if sent else "Nothing was sent."
    match error:
        case amqp.exceptions.MessageNacked():
            return errors.QueueFull(
                "the queue holds as many messages as it may (broker.max_length in its file) "
                "and refuses more. Slow down, add workers, or raise the limit."
            )
        case amqp.exceptions.AccessRefused() | amqp.exceptions.NotAllowed():
            return no_entry(error, where=where, seconds=seconds, more=maybe, maybe_accepted=sent)
        case amqp.exceptions.NotFound():
            return errors.TopologyMissing(
                f"an exchange is missing on {where}: {error}. Run 'laneway topology apply'."
            )
        case amqp.exceptions.AMQPError() if error.reply_code == _NO_ROUTE:
            return errors.Unroutable(
                f"the broker has no binding for this job on {where}. Run 'laneway topology "
                "plan' to see what is missing."
            )
        case TimeoutError() if blocked is not None:
            return errors.BrokerBlocked(
                f"the broker takes no publishes ({blocked}): its memory or disk alarm is on "
                f"('laneway doctor' shows it). {maybe}",
                maybe_accepted=sent,
            )
        case TimeoutError() if sent:
            return errors.PublishTimeout(
                f"{where} did not confirm within {seconds:g} s. {maybe} Publish it again "
                "only if running it twice does no harm.",
                maybe_accepted=True,
            )
        case OSError() | amqp.exceptions.ConnectionError() | OperationalError():
            return no_entry(error, where=where, seconds=seconds, more=maybe, maybe_accepted=sent)
        case amqp.exceptions.ChannelError():
            return errors.PublishError(f"{where} refused the message: {error}")
        case _:
            return error
