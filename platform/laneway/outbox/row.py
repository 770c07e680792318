"""One job of the outbox: what is published, and what the relay needs to know of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from laneway.errors import OptionRefused

if TYPE_CHECKING:
    from laneway.broker import VhostKind
    from laneway.publish.frames import Publish

#: The table, the same in every database.
TABLE: Final = "laneway_outbox"
#: Characters of an ordering key.
LONGEST_KEY: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A stored job. Times are seconds since 1970 of the clock of whoever wrote them."""

    #: Grows with each row; never used twice. 0: not stored yet.
    id: int = 0
    #: The job's id, the same however often it is published.
    job_id: str
    #: The task's name.
    task: str
    #: The queue that the router chose.
    queue: str
    #: 0 to 9, higher is more urgent.
    priority: int
    #: The virtual host of the queue.
    vhost: VhostKind
    #: Jobs of one key are published in the order of their ids; None: in no order.
    order_key: str | None = None
    #: The method frame, the properties and the body, as they go on the wire.
    message: Publish
    #: When it was composed.
    created_at: float
    #: Not before this time: the end of a lease, or of the wait after a refusal.
    due_at: float = 0.0
    #: The relay that holds it until ``due_at``.
    lease_owner: str | None = None
    #: How often the broker refused it.
    attempts: int = 0
    #: It was refused too often and waits for a person.
    aside: bool = False
    #: Why it was refused last.
    last_error: str | None = None


def checked_key(key: str | None) -> str | None:
    """An ordering key that every database can hold.

    Raises:
        OptionRefused: it is no text, empty, or too long.
    """
    if key is None or (type(key) is str and 0 < len(key) <= LONGEST_KEY and "\0" not in key):
        return key
    raise OptionRefused(
        f"expected key to be a text of 1 to {LONGEST_KEY} characters, got: {key!r:.100}. Nothing "
        "was stored."
    )
