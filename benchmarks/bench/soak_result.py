"""What a soak brought: looks at memory and backlog over its time, the account, and its faults."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any, Final, Self

from bench.account import Account

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

#: Memory that grew by no more than this part between the second and the last quarter is flat.
FLAT: Final = 0.03


@dataclass(frozen=True, kw_only=True)
class Look:
    """What was seen at one moment."""

    #: Seconds since the soak began.
    at: float
    #: Starts of jobs until now.
    starts: int
    #: Jobs that wait in the queue.
    waiting: int
    #: The proportional set size in MB: all processes of the worker together, its largest, the
    #: publisher.
    worker: float
    largest: float
    publisher: float


@dataclass(kw_only=True)
class Soak:
    """What a soak brought; it is written as it stands."""

    #: What ran: the machine, versions, the command.
    about: dict[str, Any]
    system: str
    minutes: float
    #: Jobs a second: the most that publisher and worker do together, and what was published.
    most: float
    pace: float
    #: Seconds for which publishing waited, because the worker had not kept up.
    waited: float = 0.0
    looks: list[Look] = field(default_factory=list)
    account: Account | None = None

    @property
    def growth(self) -> dict[str, float]:
        """By how much memory grew between the second and the last quarter: a part of it."""
        return {
            name: grown([getattr(look, name) for look in self.looks])
            for name in ("worker", "largest", "publisher")
        }

    @property
    def faults(self) -> list[str]:
        """Why it is red; empty when it is not."""
        found = []
        if self.account is None:
            found.append("it did not come to its end")
        elif self.account.lost or self.account.left:
            found.append(f"{self.account.lost:,} jobs lost, {self.account.left:,} left behind")
        for name, part in self.growth.items():
            if part > FLAT:
                found.append(f"memory of {name} grew by {part:.1%}, more than {FLAT:.0%}")
        return found

    @property
    def summary(self) -> list[str]:
        """It in a few lines, for people."""
        load = f"{self.pace:,.0f} jobs/s, of {self.most:,.0f} that publisher and worker do together"
        lines = [f"{self.minutes:g} minutes of {self.system} at {load}."]
        if self.waited:
            lines.append(f"Publishing waited {self.waited:,.0f} s of it for the worker.")
        if self.account is not None:
            told = self.account
            lines.append(
                f"{told.published:,} published, {told.started:,} started, {told.lost:,} lost, "
                f"{told.duplicated:,} duplicated, {told.left:,} left behind."
            )
        grew = ", ".join(f"{name} {part:+.1%}" for name, part in self.growth.items())
        lines.append(f"Memory, last quarter beside the second: {grew}.")
        return [*lines, *(f"RED: {fault}" for fault in self.faults)]

    def write(self, file: Path) -> None:
        """Write everything as JSON."""
        document = asdict(self) | {"growth": self.growth, "faults": self.faults}
        file.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, file: Path) -> Self:
        """Read what :meth:`write` wrote."""
        document = json.loads(file.read_text(encoding="utf-8"))
        document["looks"] = [Look(**look) for look in document["looks"]]
        if document["account"] is not None:
            document["account"] = Account(**document["account"])
        del document["growth"], document["faults"]
        return cls(**document)


def grown(sizes: Sequence[float]) -> float:
    """How much the median of the last quarter is above that of the second: a part of it.

    The first quarter is left out: caches fill, and processes forked from one part from its memory.
    Fewer than eight sizes say nothing: 0.
    """
    quarter = len(sizes) // 4
    if quarter < 2:
        return 0.0
    before, after = median(sizes[quarter : 2 * quarter]), median(sizes[-quarter:])
    return after / before - 1
