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
    InvalidPriority,
    LanewayError,
    MessageTooLarge,
    OptionRefused,
    OutboxError,
    PolicyError,
    PublishError,
    PublishTimeout,
    QueueFull,
    RouteIsSecure,
    SettingsError,
    TopologyMissing,
    UnknownQueue,
    Unroutable,
    VirtualHostMissing,
    WorkerError,
)
from laneway.facts import Fact
from laneway.router import Route

__version__ = "0.1.0"

__all__ = [
    # The application and the policy's vocabulary
    "BatchAccount",
    "Fact",
    "Laneway",
    "Route",
    # Errors; their tree is drawn in laneway.errors
    "ArgumentsNotSerializable",
    "BatchIncomplete",
    "BrokerBlocked",
    "BrokerError",
    "BrokerRefusedLogin",
    "BrokerUnreachable",
    "CallError",
    "InvalidPriority",
    "LanewayError",
    "MessageTooLarge",
    "OptionRefused",
    "OutboxError",
    "PolicyError",
    "PublishError",
    "PublishTimeout",
    "QueueFull",
    "RouteIsSecure",
    "SettingsError",
    "TopologyMissing",
    "UnknownQueue",
    "Unroutable",
    "VirtualHostMissing",
    "WorkerError",
    "__version__",
]
