"""Every error that Laneway raises, drawn once.

::

    LanewayError
    ├── PolicyError              routing.py or queues/*.toml: all problems at once
    ├── SettingsError            the application's settings contradict the policy
    ├── CallError (ValueError)   the call is wrong; nothing was published
    │   ├── UnknownQueue
    │   ├── InvalidPriority
    │   ├── RouteIsSecure
    │   ├── OptionRefused
    │   ├── ArgumentsNotSerializable
    │   └── MessageTooLarge
    ├── PublishError (kombu.OperationalError)   the broker did not accept the job
    │   ├── BrokerUnreachable
    │   ├── BrokerRefusedLogin
    │   ├── VirtualHostMissing
    │   ├── TopologyMissing
    │   ├── Unroutable
    │   ├── QueueFull
    │   ├── BrokerBlocked
    │   ├── PublishTimeout
    │   ├── ClaimsUnreachable
    │   └── BatchIncomplete
    ├── DeadLetterError          what was asked of dead letters cannot be done
    │   ├── SelectionInvalid
    │   ├── LetterUnknown
    │   └── LettersLocked
    ├── OutboxError              the outbox's table cannot be read or written
    ├── BrokerError              managing or reading the broker failed
    ├── DeadLettered             the result of a job that the broker gave up
    └── WorkerError              a worker cannot start as asked

A leaf is its docstring; the message says what was expected, what was got and what to do.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from kombu.exceptions import OperationalError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from laneway.account import BatchAccount


class LanewayError(Exception):
    """The root: ``except LanewayError`` catches all that Laneway raises on purpose.

    Attributes:
        task_id: the id of the job that was refused, when the error is about one.
        accepted: ids of the members of the same group or chord that were accepted before it.
    """

    task_id: str | None = None
    accepted: tuple[str, ...] = ()


class PolicyError(LanewayError):
    """The policy files have problems.

    Attributes:
        problems: one line each: place, what was expected, what was got, a hint.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        head = f"the policy has {count} problem{'s' if count != 1 else ''}:"
        super().__init__("\n  ".join([head, *self.problems]))

    def __reduce__(self) -> tuple[type[PolicyError], tuple[tuple[str, ...]]]:
        return type(self), (self.problems,)


class SettingsError(LanewayError):
    """Settings of the application contradict the policy or the platform's profile."""


class CallError(LanewayError, ValueError):
    """The call itself is wrong. Nothing was published."""


class UnknownQueue(CallError):
    """No file in ``queues/`` has this name."""


class InvalidPriority(CallError):
    """A priority is a whole number from 0 to 9; higher is more urgent."""


class RouteIsSecure(CallError):
    """Only ``routing.py`` leads into a secure queue, and nothing leads out of it."""


class OptionRefused(CallError):
    """An option that would go around the policy, or that would have no effect."""


class ArgumentsNotSerializable(CallError):
    """The arguments cannot be written as JSON."""


class MessageTooLarge(CallError):
    """The serialised job is larger than the limit (``LANEWAY_MAX_MESSAGE_BYTES``)."""


class PublishError(LanewayError, OperationalError):
    """The broker did not confirm the job.

    It is a ``kombu.exceptions.OperationalError`` too, so code written for Celery keeps working.

    Attributes:
        maybe_accepted: True if the job may have reached its queue all the same (the confirm was
            lost or late); False if it certainly did not.
    """

    def __init__(self, message: str, *, maybe_accepted: bool = False) -> None:
        super().__init__(message)
        self.maybe_accepted = maybe_accepted


class BrokerUnreachable(PublishError):
    """No connection to any of the brokers within the deadline."""


class BrokerRefusedLogin(PublishError):
    """User, password or permissions are wrong."""


class VirtualHostMissing(PublishError):
    """The virtual host does not exist, or this user may not enter it."""


class TopologyMissing(PublishError):
    """The exchange does not exist: ``laneway topology apply`` has not been run."""


class Unroutable(PublishError):
    """The exchange has no binding for the queue."""


class QueueFull(PublishError):
    """The queue holds ``max_length`` messages and refuses more (back-pressure)."""


class BrokerBlocked(PublishError):
    """The broker takes no publishes: its memory or disk alarm is on."""


class PublishTimeout(PublishError):
    """The confirm did not come within the deadline."""


class ClaimsUnreachable(PublishError):
    """Redis cannot say whether an equal unique job is under way, and the task is strict."""


class BatchIncomplete(PublishError):
    """Not every job of a batch was accepted: ``account`` says what became of each.

    The cause (``__cause__``) is what ended the batch: the first refusal, or what the caller's own
    code raised.

    Attributes:
        account: which jobs were accepted, refused, perhaps accepted, and never sent.
    """

    def __init__(self, message: str, *, account: BatchAccount) -> None:
        super().__init__(message, maybe_accepted=bool(account.maybe_accepted))
        self.account = account

    def __reduce__(self) -> tuple[partial[BatchIncomplete], tuple[str]]:
        return partial(type(self), account=self.account), (str(self),)


class DeadLetterError(LanewayError):
    """What was asked of dead letters cannot be done. Nothing was done."""


class SelectionInvalid(DeadLetterError):
    """A filter that no letter could ever pass, or a cursor that is none."""


class LetterUnknown(DeadLetterError):
    """There is no letter of this id, or the stream has forgotten it."""


class LettersLocked(DeadLetterError):
    """Somebody else replays or discards letters of this virtual host."""


class OutboxError(LanewayError):
    """The table of the outbox cannot be read or written as asked."""


class BrokerError(LanewayError):
    """The broker or its management interface cannot do what was asked."""


class DeadLettered(LanewayError):
    """The result of a job that the broker gave up: it expired, was rejected, or died too often.

    Attributes:
        cause: what failures of one kind have in common.
        letter: the id of its dead letter, by which it can be shown and replayed.
    """

    def __init__(self, message: str, cause: str | None = None, letter: str | None = None) -> None:
        # All of them: a result backend keeps the arguments, and makes the error anew of them.
        super().__init__(message, cause, letter)
        self.cause = cause
        self.letter = letter

    def __str__(self) -> str:
        said = [str(self.args[0])]
        if self.cause is not None:
            said.append(f"cause {self.cause}")
        if self.letter is not None:
            said.append(f"dead letter {self.letter}")
        return "; ".join(said)


class WorkerError(LanewayError):
    """The worker cannot start as asked."""
