"""What Sentry costs, as pairs of workers with it and without say: ratios with their ranges."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

from bench.account import Account
from bench.summary import Spread, median_interval

if TYPE_CHECKING:
    from pathlib import Path

#: The part of its throughput that a worker may lose to Sentry when no job fails.
MOST: Final = 0.05
#: What is told: the field, its name, its unit and its digits.
_TOLD: Final = (
    ("rate", "Throughput", "jobs/s", 0),
    ("cpu", "The worker's CPU", "µs/job", 0),
    ("memory", "Memory of the whole worker (PSS)", "MB", 1),
)


@dataclass(frozen=True, kw_only=True)
class Drain:
    """One drain of a filled queue of no-ops."""

    #: Starts a second while both of the pair were busy.
    rate: float
    #: Microseconds of processor time that all processes of the worker took for a job.
    cpu: float
    #: Its memory when the queue was empty, in MB.
    memory: float
    #: Envelopes that came to the server: of the one message that is no job, which ends each drain.
    envelopes: int
    account: Account


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two drains at the same time."""

    off: Drain
    on: Drain

    def ratio(self, name: str) -> float:
        """The drain with Sentry beside the one without."""
        return float(getattr(self.on, name) / getattr(self.off, name))


@dataclass(kw_only=True)
class SentryCost:
    """All pairs; it is written as it stands."""

    #: What ran: the machine, versions, the command.
    about: dict[str, Any]
    system: str
    #: What was the matter with the server (:data:`bench.sink.Trouble`); every hundredth job failed.
    trouble: str | None = None
    pairs: list[Pair] = field(default_factory=list)

    def ratios(self, name: str) -> list[float]:
        """The ratios of the pairs, with Sentry beside without."""
        return [pair.ratio(name) for pair in self.pairs]

    @property
    def faults(self) -> list[str]:
        """Why the numbers say nothing; empty when they do."""
        if not self.pairs:
            return ["no pair came to its end"]
        found = []
        drains = [drain for pair in self.pairs for drain in (pair.off, pair.on)]
        if lost := sum(drain.account.lost + drain.account.left for drain in drains):
            found.append(f"{lost:,} jobs lost or left behind")
        if not all(pair.on.envelopes for pair in self.pairs):
            found.append("a run with Sentry sent nothing of a message that is no job: it was off")
        if any(pair.off.envelopes for pair in self.pairs):
            found.append("a run without Sentry sent something: it was on")
        return found

    @property
    def summary(self) -> list[str]:
        """It in a few lines, for people."""
        lines = [
            f"Sentry on and off side by side, {self.system}: {len(self.pairs)} pairs of drains."
        ]
        if self.trouble is not None:
            lines.append(f"The server: {self.trouble}. Every hundredth job fails, in all drains.")
        for name, title, unit, digits in _TOLD:
            values = self.ratios(name)
            if not values:
                continue
            own = Spread.of([getattr(pair.on, name) for pair in self.pairs])
            other = Spread.of([getattr(pair.off, name) for pair in self.pairs])
            lines.append(
                f"{title}: {_written(own, digits)} {unit} with it, {_written(other, digits)} "
                f"without; with it {_change(values)}"
            )
        if self.pairs:
            lines.append(f"At most {MOST:.0%} less throughput: {_verdict(self.ratios('rate'))}.")
        return [*lines, *(f"RED: {fault}" for fault in self.faults)]

    def write(self, file: Path) -> None:
        """Write everything as JSON."""
        document = asdict(self) | {"faults": self.faults}
        file.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, file: Path) -> Self:
        """Read what :meth:`write` wrote."""
        document = json.loads(file.read_text(encoding="utf-8"))
        del document["faults"]
        document["pairs"] = [
            Pair(**{key: _drain(drain) for key, drain in pair.items()})
            for pair in document["pairs"]
        ]
        return cls(**document)


def _drain(document: dict[str, Any]) -> Drain:
    return Drain(**document | {"account": Account(**document["account"])})


def _written(spread: Spread, digits: int) -> str:
    median, low, high = (f"{v:,.{digits}f}" for v in (spread.median, spread.low, spread.high))
    return median if spread.runs == 1 else f"{median} ({low}–{high})"


def _change(ratios: list[float]) -> str:
    """The median of the pairs' ratios, between what it lies, and their range."""
    spread, interval = Spread.of(ratios), median_interval(ratios)
    sure = "" if interval is None else f"95 %: {_percent(interval)}; "
    return f"{spread.median - 1:+.1%} ({sure}pairs: {_percent((spread.low, spread.high))})"


def _percent(ends: tuple[float, float]) -> str:
    return f"{ends[0] - 1:+.1%} to {ends[1] - 1:+.1%}"


def _verdict(ratios: list[float]) -> str:
    """Whether the bound is kept, as far as the pairs let anybody say."""
    least, interval = 1 - MOST, median_interval(ratios)
    if interval is None:
        return "too few pairs to say"
    if interval[0] >= least:
        return "kept"
    if interval[1] < least:
        return "not kept"
    kept = Spread.of(ratios).median >= least
    return f"{'kept' if kept else 'not kept'} by the median; more pairs would say it surely"
