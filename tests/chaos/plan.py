"""The schedule of faults: a pure function of the seed, so that a run can be repeated."""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Faults of one node, each with the shortest and the longest time that it lasts, in seconds.
#: (0, 0) is over at once.
FAULTS: Final[Mapping[str, tuple[float, float]]] = {
    "kill-job-process": (0, 0),
    "kill-parent": (0, 0),
    "kill-group": (0, 0),
    "sigterm-storm": (2, 4),
    "rolling-upgrade": (0, 0),
    "kill-broker": (0, 3),
    "restart-broker": (0, 1),
    "hang-broker": (2, 6),
    "cut": (0, 0),
    "refuse": (2, 5),
    "slow": (2, 5),
    "half-open": (2, 5),
    "memory-alarm": (2, 5),
    "disk-alarm": (2, 5),
    "full-queue": (2, 4),
    "redis-down": (1, 4),
    "clock-jump": (3, 6),
}
#: Faults that need several nodes, besides those above.
CLUSTER_FAULTS: Final[Mapping[str, tuple[float, float]]] = {
    "kill-leader": (1, 4),
    "kill-two": (1, 3),
    "rolling-restart": (0, 0),
    "cut-one-node": (2, 5),
}
#: Seconds that a fault takes besides those that it lasts: a broker has to start again, for example.
#: Only an estimate, so that there is load until the last fault.
_MORE: Final[Mapping[str, float]] = {
    "kill-broker": 6, "restart-broker": 7, "kill-leader": 7, "kill-two": 8, "rolling-restart": 20,
    "rolling-upgrade": 11, "memory-alarm": 3, "disk-alarm": 3,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault."""

    number: int
    kind: str
    #: Seconds of peace before it.
    gap: float
    #: Seconds that it lasts.
    seconds: float
    #: Whom it hits, of those that there are then: the one in the place ``who`` modulo their number.
    who: int

    def __str__(self) -> str:
        what = f"{self.kind} for {self.seconds:.1f} s, who {self.who}"
        return f"{self.number:3}  {self.gap:4.1f} s, then {what}"


def plan(
    seed: int, count: int, *, nodes: int = 1, kinds: Sequence[str] = (), gap: float = 4.0
) -> tuple[Fault, ...]:
    """The faults of a run, in their order.

    Every kind comes once before any comes twice.

    Args:
        seed: of the run.
        count: how many.
        nodes: of the broker.
        kinds: only these; all that the nodes allow if empty.
        gap: seconds of peace between two faults, on average.

    Raises:
        ValueError: a kind that is not known, or that needs more nodes.
    """
    known = dict(FAULTS) if nodes == 1 else {**FAULTS, **CLUSTER_FAULTS}
    if unknown := [kind for kind in kinds if kind not in known]:
        raise ValueError(f"expected faults of {', '.join(known)}, got: {', '.join(unknown)}")
    chance = random.Random(f"{seed}/faults")
    faults: list[Fault] = []
    while len(faults) < count:
        cycle = sorted(kinds or known)
        chance.shuffle(cycle)
        for kind in cycle[: count - len(faults)]:
            faults.append(
                Fault(
                    number=len(faults) + 1,
                    kind=kind,
                    gap=round(chance.uniform(0.5 * gap, 1.5 * gap), 1),
                    seconds=round(chance.uniform(*known[kind]), 1),
                    who=chance.randrange(2**16),
                )
            )
    return tuple(faults)


def expected_seconds(faults: Sequence[Fault]) -> float:
    """How long a schedule takes, about."""
    return sum(fault.gap + fault.seconds + _MORE.get(fault.kind, 0.5) for fault in faults)


def document(faults: Sequence[Fault]) -> list[dict[str, Any]]:
    """The schedule for a report."""
    return [asdict(fault) for fault in faults]
