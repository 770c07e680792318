"""A job whose process is gone, as the parent knows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

#: The job's hard time limit, the process died by itself, or an operator's ``terminate``.
Why = Literal["limit", "lost", "revoked"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A job whose process was ended, or ended by itself, while it ran."""

    why: Why
    task_id: str
    task: str
    #: Seconds that it had run.
    ran: float
    #: Its hard limit in seconds; 0 is none.
    limit: float
    pid: int
    #: Exit status of the process; negative is a signal's number.
    status: int
    #: What ``task.request`` held, if the process could report it.
    request: dict[str, Any] | None
