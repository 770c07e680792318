"""The clients over which a worker can consume, and what each of them can do.

``LANEWAY_BROKER_URL`` chooses by its scheme: ``amqp://`` and ``amqps://`` mean py-amqp, and
``librabbitmq://`` the C client of the extra ``laneway[librabbitmq]``. The choice concerns only the
connection on which a worker takes its jobs: everything that publishes, declares or looks needs what
only py-amqp has (confirms, mandatory returns, deadlines) and goes over py-amqp whatever is chosen.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Final, Literal

from laneway.errors import SettingsError

#: The names of the clients.
ClientName = Literal["py-amqp", "librabbitmq"]
#: What a client may be able to do; the keys of :attr:`Client.abilities`.
Ability = Literal[
    "consume",
    "acknowledge",
    "publish",
    "confirms",
    "mandatory",
    "TLS",
    "heartbeats",
    "consumer cancel",
    "connection.blocked",
    "deadlines",
    "negative acks",
    "channel errors",
    "gevent and eventlet",
    "IPv6 literals",
    "safety from hostile messages",
]


@dataclass(frozen=True, kw_only=True)
class Client:
    """One AMQP client and its abilities."""

    name: ClientName
    #: Ability to (whether it has it, what that means for a worker).
    abilities: dict[Ability, tuple[bool, str]]

    def can(self, ability: Ability) -> bool:
        """Whether the client has the ability."""
        return self.abilities[ability][0]

    def why_not(self, ability: Ability) -> str:
        """The reason and the cure, for the error that refuses something."""
        words = self.abilities[ability][1]
        return f"{self.name} has no {ability}: {words}. Use amqp:// or amqps:// (py-amqp) instead."


_PY_AMQP: Final = Client(
    name="py-amqp",
    abilities={
        "consume": (True, "prefetch, and several consumers on a channel"),
        "acknowledge": (True, "one by one or `multiple`"),
        "publish": (True, ""),
        "confirms": (True, "`publisher_confirms`, acks and nacks"),
        "mandatory": (True, "returned messages become errors"),
        "TLS": (True, "`amqps://` with `ssl_` options"),
        "heartbeats": (True, "negotiated; a silent peer is noticed"),
        "consumer cancel": (True, "a deleted queue makes the worker connect and look again"),
        "connection.blocked": (True, "an alarm of the broker is told with its reason"),
        "deadlines": (True, "connecting, reading and writing"),
        "negative acks": (True, "`basic.reject`, which is all that Celery uses"),
        "channel errors": (True, "by reply code"),
        "gevent and eventlet": (True, "its sockets are Python's"),
        "IPv6 literals": (True, ""),
        "safety from hostile messages": (True, "whatever the broker holds can be read"),
    },
)
_LIBRABBITMQ: Final = Client(
    name="librabbitmq",
    abilities={
        "consume": (True, "prefetch, and several consumers on a channel"),
        "acknowledge": (True, "one by one or `multiple`"),
        "publish": (True, "without any confirm, so never for a job"),
        "confirms": (
            False,
            "`confirm.select` cannot be called, and an ack from the broker ends the connection",
        ),
        "mandatory": (False, "a returned message ends the connection with 'Bad frame read'"),
        "TLS": (False, "the wheel is built without it"),
        "heartbeats": (
            False,
            "only TCP keepalive; the broker notices a lost worker by its own, if at all",
        ),
        "consumer cancel": (
            False,
            "a worker does not notice that its queue was deleted, and waits until restarted",
        ),
        "connection.blocked": (False, "an alarm of the broker only makes a publish hang"),
        "deadlines": (
            False,
            "opening the socket is bounded; a broker that accepts and never answers is not",
        ),
        "negative acks": (True, "`basic.reject`, which is all that Celery uses"),
        "channel errors": (True, "by reply code, read from the text of the error"),
        "gevent and eventlet": (False, "its sockets are C's, so one wait stops all greenlets"),
        "IPv6 literals": (False, "it splits the address at the first colon"),
        "safety from hostile messages": (
            False,
            "an empty body ends the connection, headers that are not UTF-8 can end the process",
        ),
    },
)

CLIENTS: Final[dict[ClientName, Client]] = {"py-amqp": _PY_AMQP, "librabbitmq": _LIBRABBITMQ}
# What Celery's pools of greenlets are called.
_GREEN_POOLS: Final = frozenset({"gevent", "eventlet"})


def refuse_worker(name: ClientName, *, pool: str, secure: bool, queue: str) -> None:
    """Refuse a worker that could not keep its promises over this client.

    Args:
        name: the client.
        pool: the name of Celery's pool.
        secure: whether the queue is a secure one.
        queue: its name, for the message.

    Raises:
        SettingsError: says which ability is missing, what for, and the cure.
    """
    client = CLIENTS[name]
    if pool in _GREEN_POOLS and not client.can("gevent and eventlet"):
        raise SettingsError(f"the pool {pool!r}: {client.why_not('gevent and eventlet')}")
    if secure and not client.can("safety from hostile messages"):
        raise SettingsError(
            f"the secure queue {queue!r} needs a client that no message can harm. "
            f"{client.why_not('safety from hostile messages')}"
        )
    if name == "librabbitmq" and find_spec("librabbitmq") is None:
        raise SettingsError(
            "LANEWAY_BROKER_URL: librabbitmq:// needs the C client, which is not installed: "
            "pip install 'laneway[librabbitmq]' (Linux on x86-64 with glibc), or use amqp://"
        )
