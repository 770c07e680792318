"""One thing that was looked at, and what became of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from laneway.errors import LanewayError

if TYPE_CHECKING:
    from collections.abc import Iterator

Verdict = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at."""

    #: What it is about, in a word: ``policy``, ``broker``, ``topology`` ….
    subject: str
    #: ``ok``; ``warn``: it works, but not as promised or written; ``fail``: jobs cannot flow.
    verdict: Verdict
    #: What was found.
    finding: str
    #: What to do; empty if nothing.
    cure: str = ""

    def to_dict(self) -> dict[str, Any]:
        """For machines (``--json``)."""
        return asdict(self)


def guarded(subject: str, checks: Iterator[Check]) -> Iterator[Check]:
    """What breaks off in the middle is a finding, and the rest goes on."""
    try:
        yield from checks
    except LanewayError as error:
        yield Check(subject=subject, verdict="fail", finding=str(error))
