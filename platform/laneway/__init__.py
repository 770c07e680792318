"""Laneway: a priority-routed, multi-queue job platform on Celery and RabbitMQ."""

from laneway.account import BatchAccount
from laneway.app import Laneway
from laneway.errors import (
    ArgumentsNotSerializable,
    BatchIncomplete,
    BrokerBlocked,
    BrokerError,
    BrokerRefusedLogin,
    BrokerUnreachable,
    CallError,
    ClaimsUnreachable,
    DeadLettered,
    DeadLetterError,
    InvalidPriority,
    LanewayError,
    LettersLocked,
    LetterUnknown,
    MessageTooLarge,
    OptionRefused,
    OutboxError,
    PolicyError,
    PublishError,
    PublishTimeout,
    QueueFull,
    RouteIsSecure,
    SelectionInvalid,
    SettingsError,
    TopologyMissing,
    UnknownQueue,
    Unroutable,
    VirtualHostMissing,
    WorkerError,
)
from laneway.facts import Fact
from laneway.once.once import Once
from laneway.once.unique import Unique
from laneway.policy.route import Route
from laneway.retry.backoff import Backoff

__version__ = "0.1.0"

__all__ = [
    # The application and the policy's vocabulary
    "Backoff",
    "BatchAccount",
    "Fact",
    "Laneway",
    "Once",
    "Route",
    "Unique",
    # Errors; their tree is drawn in laneway.errors
    "ArgumentsNotSerializable",
    "BatchIncomplete",
    "BrokerBlocked",
    "BrokerError",
    "BrokerRefusedLogin",
    "BrokerUnreachable",
    "CallError",
    "ClaimsUnreachable",
    "DeadLetterError",
    "DeadLettered",
    "InvalidPriority",
    "LanewayError",
    "LetterUnknown",
    "LettersLocked",
    "MessageTooLarge",
    "OptionRefused",
    "OutboxError",
    "PolicyError",
    "PublishError",
    "PublishTimeout",
    "QueueFull",
    "RouteIsSecure",
    "SelectionInvalid",
    "SettingsError",
    "TopologyMissing",
    "UnknownQueue",
    "Unroutable",
    "VirtualHostMissing",
    "WorkerError",
    "__version__",
]
