"""A rule of ``routing.py``: one task, or a module of them, and where they go."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Final

from laneway.types import HIGHEST_PRIORITY, LOWEST_PRIORITY

# A team's short name, or an address.
_TEAM: Final = re.compile(r"#?[a-z0-9_-]{1,64}|[^\s@#]+@[^\s@#]+")


@dataclass(frozen=True)
class Route:
    """A rule of ``routing.py``: what ``pattern`` names goes to ``queue``.

    Mistakes in it are reported when the policy is loaded, all at once.

    Args:
        pattern: a task's name (``billing.charge_card``), or a module and everything under it
            (``billing.*``).
        queue: a queue of ``queues/``.
        priority: 0 to 9, higher is more urgent; None leaves it to the call and the parent job.
        team: whose tasks these are, as Sentry calls the team (``billing``, ``#billing``) or a
            person (``ada@example.org``); None leaves it to the wider route.
    """

    pattern: str
    queue: str = field(kw_only=True)
    priority: int | None = field(default=None, kw_only=True)
    team: str | None = field(default=None, kw_only=True)
    #: Where it was written, such as ``routing.py:12``.
    where: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Frame 0 is this method, 1 the generated __init__, 2 whoever wrote ``Route(...)``.
        writer = sys._getframe(2)  # noqa: SLF001 (the documented way to a caller's line)
        place = f"{PurePath(writer.f_code.co_filename).name}:{writer.f_lineno}"
        object.__setattr__(self, "where", place)

    def __str__(self) -> str:
        return f"route {self.pattern!r} ({self.where})"

    @property
    def module(self) -> str | None:
        """The module that the pattern names, or None if it names a task."""
        return self.pattern[:-2] if self.pattern.endswith(".*") else None

    def matches(self, task: str) -> bool:
        """Whether the pattern names ``task``; a module does not name itself."""
        if self.module is None:
            return task == self.pattern
        return task.startswith(f"{self.module}.")


def priority_problem(priority: object) -> str | None:
    """What is wrong with a priority, in words, or None. True and False are no numbers here."""
    if (
        isinstance(priority, int)
        and not isinstance(priority, bool)
        and LOWEST_PRIORITY <= priority <= HIGHEST_PRIORITY
    ):
        return None
    return (
        f"expected a whole number from {LOWEST_PRIORITY} to {HIGHEST_PRIORITY} (higher is more "
        f"urgent), got: {priority!r}"
    )


def team_problem(team: object) -> str | None:
    """What is wrong with the name of a team, in words, or None."""
    if isinstance(team, str) and _TEAM.fullmatch(team):
        return None
    return (
        "expected a team as Sentry calls it, such as 'billing', or a person's address, "
        f"got: {team!r}"
    )
