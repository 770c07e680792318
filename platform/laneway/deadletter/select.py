"""Which dead letters are meant: filters, and cursors that stay where they are."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final, get_args

from laneway.deadletter.cause import CAUSE_DIGITS
from laneway.deadletter.letter import Outcome
from laneway.deadletter.state import STATES, State
from laneway.errors import SelectionInvalid

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Letters whose job is at rest, and nothing was decided: what is selected if nobody says otherwise.
OPEN: Final[tuple[State, ...]] = ("open",)

_CAUSE: Final = re.compile(f"[0-9a-f]{{6,{CAUSE_DIGITS}}}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Filters; a letter must pass all of them. None lets every letter pass.

    Raises:
        SelectionInvalid: a filter is none; the message says what was expected.
    """

    #: The queue that the job was for.
    queue: str | None = None
    #: The task's name; ``*`` stands for any characters, ``?`` for one.
    task: str | None = None
    #: The cause id; its first six digits are enough.
    cause: str | None = None
    outcome: Outcome | None = None
    #: Ended at this time or later, in seconds since 1970.
    since: float | None = None
    #: Ended before this time.
    until: float | None = None
    #: Stands in the error's text, whatever the case.
    text: str | None = None
    #: The states that are let through.
    states: tuple[State, ...] = OPEN
    #: Only these, by their ids.
    ids: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.cause is not None and not _CAUSE.fullmatch(self.cause):
            raise SelectionInvalid(
                f"cause: expected 6 to {CAUSE_DIGITS} hexadecimal digits, got: {self.cause!r}. "
                "'laneway dead stats' lists the causes."
            )
        if self.outcome is not None and self.outcome not in get_args(Outcome):
            raise SelectionInvalid(
                f"outcome: expected one of {', '.join(get_args(Outcome))}, got: {self.outcome!r}"
            )
        if not self.states or not set(self.states) <= set(STATES):
            raise SelectionInvalid(
                f"state: expected some of {', '.join(STATES)}, got: {', '.join(self.states)}"
            )
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise SelectionInvalid("since: expected a time before until, got a later one")

    @property
    def is_everything(self) -> bool:
        """Whether nothing but the state narrows it down."""
        return not any(
            getattr(self, field.name) for field in fields(self) if field.name != "states"
        )

    def where(self) -> tuple[str, list[Any]]:
        """The condition on the table of letters, with its values."""
        terms: list[str] = []
        values: list[Any] = []

        def add(term: str, *of: Any) -> None:
            terms.append(term)
            values.extend(of)

        marks = ", ".join("?" * len(self.states))
        # With a cause there are few: the plus keeps SQLite from going by state first.
        add(f"{'+' if self.cause or self.ids else ''}state IN ({marks})", *self.states)
        if self.queue is not None:
            add("queue = ?", self.queue)
        if self.task is not None:
            add("task GLOB ?", self.task.replace("[", "[[]"))
        if self.cause is not None and len(self.cause) == CAUSE_DIGITS:
            # With this the index gives its letters in order, however many there are.
            add("cause = ?", self.cause)
        elif self.cause is not None:
            # All causes that begin so; 'g' comes after the last hexadecimal digit.
            add("cause >= ? AND cause < ?", self.cause, f"{self.cause}g")
        if self.outcome is not None:
            add("outcome = ?", self.outcome)
        if self.since is not None:
            add("at >= ?", self.since)
        if self.until is not None:
            add("at < ?", self.until)
        if self.text is not None:
            add("instr(lower(message), lower(?)) > 0", self.text)
        if self.ids:
            add(f"id IN ({', '.join('?' * len(self.ids))})", *self.ids)
        return " AND ".join(terms), values


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place between two letters, newest first. It stays there whatever comes or goes."""

    at: float
    id: str

    def __str__(self) -> str:
        return f"{self.at!r}~{self.id}"

    @classmethod
    def parse(cls, text: str) -> Cursor:
        """The reverse of ``str``.

        Raises:
            SelectionInvalid: it is none.
        """
        at, tilde, id_ = text.partition("~")
        try:
            if not tilde or not id_:
                raise ValueError
            return cls(float(at), id_)
        except ValueError:
            raise SelectionInvalid(
                f"after: expected the cursor of a page before, got: {text!r}"
            ) from None

    def where(self) -> tuple[str, Sequence[Any]]:
        """The condition for what comes behind it."""
        return "(at, id) < (?, ?)", (self.at, self.id)
