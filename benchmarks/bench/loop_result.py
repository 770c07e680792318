"""What a closed loop measured, beside what the simulator says of the same arrivals."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import mean, median
from typing import TYPE_CHECKING, Any

from laneway.scaling.simulate import World, simulate

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from laneway.scaling.simulate import Outcome, Policy, Trace


@dataclass
class Journal:
    """What the jobs wrote."""

    path: Path
    #: number, sent, started, ended.
    lines: list[tuple[int, float, float, float]] = field(default_factory=list)
    _read: int = 0
    _told: int = 0

    def update(self) -> None:
        """Read what is new."""
        if not self.path.exists():
            return
        with self.path.open() as file:
            file.seek(self._read)
            for line in iter(file.readline, ""):
                if not line.endswith("\n"):
                    break
                number, sent, started, ended = line.split(",")
                self.lines.append((int(number), float(sent), float(started), float(ended)))
                self._read = file.tell()

    def finished(self) -> tuple[int, float]:
        """Jobs and their seconds since the last call, as the workers' own metrics would say."""
        self.update()
        new = self.lines[self._told :]
        self._told = len(self.lines)
        return len(new), sum(ended - started for _, _, started, ended in new)


@dataclass(frozen=True)
class Measured:
    """What a real run gave."""

    trace: Trace
    within: float
    p95: float
    p99: float
    pod_hours: float
    most_pods: int
    #: Seconds from the wish for a pod to its readiness.
    starts: Sequence[float]
    lost: int
    #: (second, pods).
    pods: Sequence[tuple[float, int]]


def predict(world: World, policy: Policy, measured: Measured, seeds: int = 9) -> list[Outcome]:
    """What the simulator says of the same arrivals, with pods that start as the real ones did."""
    starts = sorted(measured.starts) or [5.0]
    known = World(
        queue=world.queue,
        pod_start=(starts[0], starts[-1]),
        sync_period=world.sync_period,
        pace=world.pace,
    )
    return [simulate(measured.trace, known, policy, seed) for seed in range(seeds)]


def compared(measured: Measured, predicted: Sequence[Outcome]) -> dict[str, Any]:
    """Each number as measured, and as predicted: median, lowest, highest."""
    found: dict[str, Any] = {
        "jobs": len(measured.trace.arrivals),
        "lost": measured.lost,
        "pod_start": [round(s, 2) for s in measured.starts],
        "pod_start_mean": round(mean(measured.starts), 2) if measured.starts else None,
    }
    for name in ("within", "p95", "p99", "pod_hours", "most_pods"):
        values = [getattr(outcome, name) for outcome in predicted]
        found[name] = {
            "measured": round(getattr(measured, name), 4),
            "predicted": round(median(values), 4),
            "lowest": round(min(values), 4),
            "highest": round(max(values), 4),
        }
    return found
