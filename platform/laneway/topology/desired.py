"""What must stand in each virtual host, derived from the policy. Pure: nothing is asked or done.

::

    publish ──> jobs ──> high, default, low          (topic; the routing key is the queue's name)
    publish with a delay ──> celery_delayed_27..0 ──> celery_delayed_delivery ──> jobs
    expired, rejected, delivery limit ──> dead ──> dead.inbox      (fanout, quorum)
    a pause ──> laneway.paused.<queue>               (quorum; a message while it is paused)
    the load of a worker ──> worker.reports          (fanout; each control process binds a queue)
    envelopes of dead letters ──> dead.letters; what was done with them ──> dead.audit   (streams)

The streams are bound to nothing: they are written by the default exchange with their name as the
routing key, mandatory and confirmed like everything, so no binding can be missing or send there
what does not belong there.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from laneway.topology.delays import DELIVERY_EXCHANGE, delay_bindings, delay_levels
from laneway.topology.parts import BindingPart, ExchangePart, Part, PolicyPart, QueuePart

if TYPE_CHECKING:
    from collections.abc import Iterator

    from laneway.broker.address import VhostKind
    from laneway.broker.profile import Profile, ProfileName
    from laneway.policy import Policy
    from laneway.policy.queues import Queue

#: The topic exchange of each virtual host.
JOBS_EXCHANGE: Final = "jobs"
#: Where the broker sends what it gives up.
DEAD_EXCHANGE: Final = "dead"
#: What the broker gave up, until the keeper has made letters of it.
DEAD_INBOX: Final = "dead.inbox"
#: The stream of dead letters.
LETTER_STREAM: Final = "dead.letters"
#: The stream of what was done with dead letters.
AUDIT_STREAM: Final = "dead.audit"
#: How long dead letters are kept. By age only: a limit by size silently drops confirmed letters.
LETTER_RETENTION: Final = "30D"

#: What the workers report of their load, for whoever listens: control processes.
REPORTS_EXCHANGE: Final = "worker.reports"

_PAUSED: Final = "laneway.paused."
_DIGEST_PREFIX: Final = "laneway.topology."
_DIGEST_DIGITS: Final = 16
_STREAM: Final = {"x-queue-type": "stream"}
_REFUSE: Final[dict[str, Any]] = {"overflow": "reject-publish"}
_QUORUM: Final = {"x-queue-type": "quorum"}


@dataclass(frozen=True, kw_only=True)
class Topology:
    """What must stand in one virtual host."""

    #: Which of the two.
    vhost: VhostKind
    #: The profile it is made for.
    profile: ProfileName
    exchanges: tuple[ExchangePart, ...]
    queues: tuple[QueuePart, ...]
    bindings: tuple[BindingPart, ...]
    policies: tuple[PolicyPart, ...]
    #: The delay levels, as kombu declares them.
    delays: tuple[Part, ...]

    @property
    def parts(self) -> tuple[Part, ...]:
        """Everything."""
        return (*self.exchanges, *self.queues, *self.bindings, *self.policies, *self.delays)

    @property
    def digest(self) -> str:
        """Sixteen hexadecimal digits that change when anything of it does, whatever the order."""
        content = sorted(json.dumps([p.kind, asdict(p)], sort_keys=True) for p in self.parts)
        text = json.dumps([self.vhost, self.profile, content])
        return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_DIGITS]


def desired_topology(policy: Policy, profile: Profile, vhost: VhostKind) -> Topology:
    """What must stand in one virtual host on a broker of this profile."""
    queues = tuple(policy.vhost_queues(vhost).values())
    return Topology(
        vhost=vhost,
        profile=profile.name,
        exchanges=(
            ExchangePart(name=JOBS_EXCHANGE, type="topic"),
            ExchangePart(name=DEAD_EXCHANGE, type="fanout"),
            ExchangePart(name=REPORTS_EXCHANGE, type="fanout"),
        ),
        queues=(
            QueuePart(name=DEAD_INBOX, arguments=_QUORUM),
            QueuePart(name=LETTER_STREAM, arguments=_STREAM),
            QueuePart(name=AUDIT_STREAM, arguments=_STREAM),
            *(QueuePart(name=pause_mark(q.name), arguments=_QUORUM) for q in queues),
            *(QueuePart(name=q.name, arguments=profile.queue_arguments()) for q in queues),
        ),
        bindings=(
            BindingPart(source=DEAD_EXCHANGE, destination=DEAD_INBOX, routing_key=""),
            *(binding for queue in queues for binding in queue_bindings(queue.name)),
        ),
        policies=(
            *_own_policies(profile),
            *(_policy(pause_mark(queue.name), _endless(profile)) for queue in queues),
            *(
                _policy(queue.name, _queue_definition(queue, profile))
                for queue in sorted(queues, key=lambda q: q.name)
            ),
        ),
        delays=delay_levels(),
    )


def digest_exchange(digest: str) -> str:
    """The exchange whose existence says that this topology was applied here."""
    return f"{_DIGEST_PREFIX}{digest}"


def is_digest_exchange(name: str) -> bool:
    """Whether :func:`digest_exchange` made this name."""
    return name.startswith(_DIGEST_PREFIX)


def pause_mark(queue: str) -> str:
    """The queue that holds a message while ``queue`` is paused."""
    return f"{_PAUSED}{queue}"


def queue_bindings(queue: str) -> Iterator[BindingPart]:
    """What brings jobs to a queue, published without and with a delay."""
    yield BindingPart(source=JOBS_EXCHANGE, destination=queue, routing_key=queue)
    for part in delay_bindings(queue, JOBS_EXCHANGE):
        if isinstance(part, BindingPart):
            yield part


def late_binding(queue: str) -> BindingPart:
    """What brings a delayed job for a queue that is gone to the dead letters instead."""
    return BindingPart(
        source=DELIVERY_EXCHANGE,
        destination=DEAD_EXCHANGE,
        destination_type="exchange",
        routing_key=f"#.{queue}",
    )


def _own_policies(profile: Profile) -> Iterator[PolicyPart]:
    # They also keep a policy for all queues (".*") of somebody else away from these.
    yield _policy(DEAD_INBOX, _endless(profile))
    yield _policy(LETTER_STREAM, {"max-age": LETTER_RETENTION})
    yield _policy(AUDIT_STREAM, {"max-age": LETTER_RETENTION})
    yield PolicyPart(name="laneway.delays", pattern=r"^celery_delayed_[0-9]+$", definition=_REFUSE)


def _endless(profile: Profile) -> dict[str, Any]:
    """Of a queue that gives up nothing: reading it again and again loses nothing either."""
    return _REFUSE | ({"delivery-limit": -1} if profile.default_delivery_limit else {})


def _policy(queue: str, definition: dict[str, Any]) -> PolicyPart:
    return PolicyPart(
        name=f"laneway.{queue}", pattern=f"^{re.escape(queue)}$", definition=definition
    )


def _queue_definition(queue: Queue, profile: Profile) -> dict[str, Any]:
    definition: dict[str, Any] = {
        "dead-letter-exchange": DEAD_EXCHANGE,
        "max-length": queue.broker.max_length,
        "overflow": "reject-publish",
    }
    if profile.queue_type == "quorum":
        # Needs reject-publish in the same policy; without it the broker silently falls back.
        definition["dead-letter-strategy"] = "at-least-once"
    if profile.delivery_limit:
        definition["delivery-limit"] = queue.broker.delivery_limit
    if profile.consumer_timeout:
        definition["consumer-timeout"] = round(queue.consumer_timeout * 1000)
    return definition
