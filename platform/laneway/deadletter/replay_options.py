"""How to replay dead letters, and what a replay did."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from laneway.deadletter.republish import DEFAULT_MAX_REPLAYS

if TYPE_CHECKING:
    from laneway.deadletter.republish import Edit


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayOptions:
    """How to replay. Every field has a default that is safe."""

    #: Jobs that are replayed first; the rest only when all of them succeeded. None: no such test.
    first: int | None = None
    #: Seconds to wait for their ends, and at the end of a replay of nothing but them.
    wait: float = 60.0
    #: Jobs per second; None is as fast as the broker takes them.
    rate: float | None = None
    #: Stop when a larger share of the jobs that ended failed again, 0 to 1.
    stop_share: float = 0.1
    #: Letters of jobs that were replayed so often are left alone.
    max_replays: int = DEFAULT_MAX_REPLAYS
    #: Publish under new ids: the job's result is then another's.
    new_ids: bool = False
    #: Other arguments.
    edit: Edit | None = None
    #: What it is for; stands in the audit.
    reason: str | None = None
    #: Who does it; ``user@host`` of this process if None.
    by: str | None = None
    #: Only say what would be done.
    dry_run: bool = False

    def __post_init__(self) -> None:
        for name, fits, expected in (
            ("first", self.first is None or self.first >= 1, "at least 1"),
            ("wait", self.wait >= 0, "at least 0 seconds"),
            ("rate", self.rate is None or self.rate > 0, "above 0"),
            ("stop_share", 0 <= self.stop_share <= 1, "from 0 to 1"),
            ("max_replays", self.max_replays >= 1, "at least 1"),
        ):
            if not fits:
                raise ValueError(f"{name}: expected {expected}, got: {getattr(self, name)}")


@dataclass(slots=True, kw_only=True)
class ReplayAccount:
    """What a replay did."""

    #: Names it in the audit.
    run: str
    #: Letters that were selected when it began.
    selected: int = 0
    #: Jobs that the broker confirmed; in a dry run, those that would be published.
    replayed: int = 0
    #: Letters that were left alone, by the reason.
    left: Counter[str] = field(default_factory=Counter)
    #: Of the first jobs: how many succeeded and failed again.
    succeeded: int = 0
    failed_again: int = 0
    #: Jobs that were sent twice, because a connection was lost before their confirm.
    sent_twice: int = 0
    #: Why it ended before its end.
    stopped: str | None = None
