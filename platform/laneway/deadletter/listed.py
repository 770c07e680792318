"""Dead letters as they are listed: what the index knows of each, in one value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from laneway.broker.address import VhostKind
    from laneway.deadletter.audit import Verb
    from laneway.deadletter.letter import Letter, Outcome
    from laneway.deadletter.state import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One dead letter in a list; the fields are those of ``Letter``."""

    id: str
    state: State
    vhost: VhostKind
    queue: str
    outcome: Outcome
    cause: str
    #: When it ended, in seconds since 1970.
    at: float
    first_at: float | None
    task: str | None
    task_id: str | None
    priority: int | None
    error_type: str | None
    message: str | None
    place: str | None
    attempts: int | None
    deliveries: int | None
    replays: int
    worker: str | None
    host: str | None
    version: str | None
    event_id: str | None
    #: Whether the message is there, without which nothing can be replayed.
    has_original: bool

    @classmethod
    def of(cls, row: Sequence[Any], vhost: VhostKind) -> Listed:
        """What a row of the index says that begins with :data:`COLUMNS`."""
        known: dict[str, Any] = dict(zip(_FIELDS, row, strict=False))
        return cls(vhost=vhost, has_original=known.pop("original_at") is not None, **known)


class Chosen(NamedTuple):
    """What the index must say of a letter whose message is at hand; the fields are ``Listed``'s."""

    id: str
    state: State
    queue: str
    cause: str
    task: str | None
    task_id: str | None
    priority: int | None
    replays: int
    has_original: bool


_FIELDS: Final = (
    *(name for name in Listed.__slots__ if name not in {"vhost", "has_original"}),
    "original_at",
)
#: The columns of the index's table of letters that are listed.
COLUMNS: Final = ", ".join(f"letters.{name}" for name in _FIELDS)
#: Those of ``Chosen``.
CHOSEN_COLUMNS: Final = (
    ", ".join(f"letters.{name}" for name in Chosen._fields[:-1]) + ", original_at IS NOT NULL"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some letters, newest first."""

    letters: tuple[Listed, ...]
    #: Where the next page begins; None if this is the last.
    after: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that was done with a letter."""

    verb: Verb
    #: When, in seconds since 1970.
    at: float
    #: Who: ``user@host`` of a person, the node name of a worker.
    by: str
    run: str | None
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Everything of one letter."""

    listed: Listed
    #: All of it as it stands in the stream, traceback and original included.
    letter: Letter
    #: What was done with it, oldest first.
    history: tuple[Event, ...]
    #: Later letters of the same job, by their ids.
    later: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """How many letters have something in common."""

    #: What they have in common, by field.
    of: dict[str, Any]
    count: int
    #: When the first and the last of them ended.
    first_at: float
    last_at: float
