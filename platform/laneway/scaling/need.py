"""How many worker slots a queue needs, and why.

    needed = max(busy, arrival rate x runtime / utilisation) + backlog x runtime / time to drain

The first part is Little's law: so many jobs run at a time on average while the queue is in balance,
with room for bursts. The second works off what waits already. Both are known before a job is late,
unlike the processor's load (jobs that wait for others use none) and unlike the backlog alone (which
is zero until it is too late).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from laneway.types import format_duration

if TYPE_CHECKING:
    from laneway.policy.queues import Queue


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What one queue has to do now."""

    #: Jobs published a second, retries among them, over the last window.
    arrivals: float
    #: Mean seconds of task code a job.
    runtime: float
    #: Jobs that run now.
    busy: float
    #: Jobs that could start now and have not.
    backlog: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """How many slots a queue needs. A worker has ``worker.concurrency`` of them."""

    #: For what arrives: in balance, and never fewer than run now.
    steady: float
    #: For what waits already.
    catching_up: float
    #: Why, in words.
    reason: str

    @property
    def slots(self) -> float:
        """All of them, before the bounds of ``[scaling]``."""
        return self.steady + self.catching_up


def slots_needed(queue: Queue, load: Load) -> Need:
    """The worker slots that keep the service level of a queue.

    Args:
        queue: of the policy; its ``[scaling]`` says how full slots may be and how soon a backlog
            is to be gone.
        load: what there is to do.

    Raises:
        ValueError: a part of the load is negative or no number. Unknown is no load of zero: who
            does not know must not ask.
    """
    for name in ("arrivals", "runtime", "busy", "backlog"):
        value = getattr(load, name)
        if not 0 <= value < float("inf"):
            raise ValueError(f"{name}: expected a number of at least 0, got: {value!r}")
    utilisation = queue.scaling.utilisation
    balance = load.arrivals * load.runtime / utilisation
    catching_up = load.backlog * load.runtime / queue.drain
    steady = max(load.busy, balance)
    arriving = (
        f"{load.arrivals:.3g} jobs/s x {load.runtime:.3g} s / {utilisation:g} = {balance:.3g}"
    )
    reason = f"{load.busy:g} run now" if load.busy > balance else arriving
    if load.backlog:
        reason += f", and {load.backlog:g} wait: {catching_up:.3g} more to drain them in "
        reason += format_duration(queue.drain)
    return Need(steady=steady, catching_up=catching_up, reason=reason)
