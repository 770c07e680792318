"""What has become of a letter: the fold of the two streams.

::

    open ──> replayed ──> resolved        its job, published again, succeeded
      │          └──────> failed-again    a later letter of the same job exists
      └────> discarded

Two streams have no common order, and a letter may be reported twice, so a state never depends on
what was read first: each thing that was done leaves a mark on the letter, and the marks decide.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

#: The states of a letter.
State = Literal["open", "replayed", "resolved", "failed-again", "discarded"]
STATES: Final[tuple[State, ...]] = ("open", "replayed", "resolved", "failed-again", "discarded")

#: What leaves a mark: three verbs of the audit stream, and a later letter of the job.
Mark = Literal["replayed", "resolved", "discarded", "again"]

# Where a replay under a new id takes its ids from; any constant would do.
_NEW_IDS: Final = uuid.UUID("5f0a2c1e-9a51-4b7e-8d0e-6c1f3a7d2b90")


def state_of(marks: Iterable[tuple[Mark, int]]) -> State:
    """The state of a letter with these marks, in any order.

    Args:
        marks: what was done, and the offset of the entry that says so; a later letter has any.
    """
    last: dict[Mark, int] = {}
    for mark, entry in marks:
        last[mark] = max(entry, last.get(mark, -1))
    # A failure is not hidden by a success of the same job: with delivery at least once, a job that
    # was replayed may end in both.
    if "again" in last:
        return "failed-again"
    if "resolved" in last:
        return "resolved"
    replayed, discarded = last.get("replayed", -1), last.get("discarded", -1)
    if replayed == discarded:
        return "open"
    return "replayed" if replayed > discarded else "discarded"


def new_job_id(letter: str) -> str:
    """The id under which a letter's job is replayed, if not under its own.

    The same for each replay of one letter: whoever repeats a replay that was broken off makes no
    third job of it, and whoever sees how the new job ended knows which letter it was.
    """
    return str(uuid.uuid5(_NEW_IDS, letter))


def split_id(letter: str) -> tuple[str, int] | None:
    """Job and number of replays of a letter's id; None if it does not read like one."""
    job, dot, number = letter.rpartition(".")
    if not dot or not job or not number.isascii() or not number.isdigit() or len(number) > 9:
        return None
    return job, int(number)
