"""How many worker slots a queue needs, and why.

    needed = max(busy, arrival rate x runtime / utilisation, in time)
             + backlog x runtime / time to drain

The first part is Little's law: so many jobs run at a time on average while the queue is in balance,
with room for bursts. A share of full slots is too little room where jobs are few, or long beside
the service level: ``in time`` are the slots with which chance makes one job in a hundred late. The
last part works off what waits already. All are known before a job is late, unlike the processor's
load (jobs that wait for others use none) and unlike the backlog alone (which is zero until it is
too late).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import erf, exp, pi, sqrt
from typing import TYPE_CHECKING, Final

from laneway.types import format_duration

if TYPE_CHECKING:
    from laneway.policy.queues import Queue


#: Share of the jobs that chance may make late in balance. The service level is for 95 of 100; the
#: rest of it is for what is no chance.
LATE: Final = 0.01


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
    in_time = slots_in_time(load.arrivals, load.runtime, queue.service_level)
    steady = max(load.busy, balance, in_time)
    arriving = f"{load.arrivals:.3g} jobs/s x {load.runtime:.3g} s"
    if load.busy == steady > balance:
        reason = f"{load.busy:g} run now"
    elif in_time > balance:
        reason = f"{arriving}: {in_time:.3g}, for 99 of 100 to start within "
        reason += format_duration(queue.service_level)
    else:
        reason = f"{arriving} / {utilisation:g} = {balance:.3g}"
    if load.backlog:
        reason += f", and {load.backlog:g} wait: {catching_up:.3g} more to drain them in "
        reason += format_duration(queue.drain)
    return Need(steady=steady, catching_up=catching_up, reason=reason)


def slots_in_time(arrivals: float, runtime: float, service_level: float) -> float:
    """The slots with which all but :data:`LATE` of the jobs start within the service level.

    Square-root staffing: as many slots as jobs run at a time, and so many square roots of them that
    Erlang's C, in the form that Halfin and Whitt gave it (1981), leaves few enough that wait too
    long. Arrivals are taken for random, runtimes for as spread as their mean.

    Args:
        arrivals: jobs a second, at least 0.
        runtime: mean seconds of a job, at least 0.
        service_level: seconds that a job may wait, above 0.
    """
    running = arrivals * runtime
    if not running:
        return 0.0
    root = sqrt(running)
    # In so many of its own waits a job that waits at all has waited too long, for each root more.
    patience = root * service_level / runtime
    low, high = 0.0, 4.0
    for _ in range(40):
        middle = (low + high) / 2
        if _waits_at_all(middle) * exp(-min(700.0, middle * patience)) > LATE:
            low = middle
        else:
            high = middle
    # The form is of many slots; of few, which are whole ones, it is up to one short.
    return running + high * root + 1


def _waits_at_all(roots: float) -> float:
    """Share of the jobs that find no free slot, with so many square roots of slots to spare."""
    density = exp(-roots * roots / 2) / sqrt(2 * pi)
    below = (1 + erf(roots / sqrt(2))) / 2
    return density / (density + roots * below)
