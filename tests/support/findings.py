"""What workers reported to a real server, as tests look at it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from laneway.local import BugsinkClient, BugsinkEvent, BugsinkIssue, BugsinkProject


@dataclass(frozen=True, kw_only=True)
class Findings:
    """One project of a Bugsink."""

    client: BugsinkClient
    project: BugsinkProject

    @property
    def dsn(self) -> str:
        """Where workers report to."""
        return self.project.dsn

    @property
    def issues(self) -> list[BugsinkIssue]:
        """The issues so far."""
        return self.client.issues(self.project)

    @property
    def events(self) -> list[BugsinkEvent]:
        """The events so far."""
        return self.client.all_events(self.project)

    def wait_for(self, count: int, *, patience: float = 30) -> list[BugsinkEvent]:
        """Wait until so many events are stored; all there are."""
        until = time.monotonic() + patience
        while sum(issue.events for issue in self.issues) < count:
            assert time.monotonic() < until, f"{len(self.events)} of {count} events in {patience} s"
            time.sleep(0.2)
        return self.events
