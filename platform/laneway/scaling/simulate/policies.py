"""The policies that are compared: each makes a number of pods of what it sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from laneway.scaling.need import slots_needed
from laneway.scaling.simulate.hpa import pods_for_average, pods_for_utilisation
from laneway.scaling.simulate.keda import TriggerFailed, composite

if TYPE_CHECKING:
    from laneway.scaling.simulate.seen import Seen
    from laneway.scaling.simulate.world import World


class Policy(Protocol):
    """A way to decide the pods. Frozen: whatever it remembers is the HPA's and the scaler's."""

    @property
    def name(self) -> str:
        """As in the table."""

    @property
    def measures(self) -> bool:
        """Whether it needs :attr:`Seen.load`."""

    @property
    def setting(self) -> str:
        """What was chosen for it, in words."""

    def recommend(self, world: World, seen: Seen, current: int) -> int | None:
        """The pods that its metric asks for; None when it knows nothing."""

    def active(self, world: World, seen: Seen) -> bool | None:
        """Whether KEDA keeps a pod where ``min`` is 0; None when it knows nothing."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """So many pods all the time."""

    pods: int
    name: str = "fixed"
    measures: bool = False

    @property
    def setting(self) -> str:
        """The pods."""
        return f"{self.pods} pods"

    def recommend(self, world: World, seen: Seen, current: int) -> int:  # noqa: ARG002 (Policy)
        """Always the same."""
        return self.pods

    def active(self, world: World, seen: Seen) -> None:  # noqa: ARG002 (Policy)
        """Nobody starts or stops any."""
        return


@dataclass(frozen=True, slots=True)
class CpuHpa:
    """An HPA on the processor: the mean use of the ready pods to their request.

    A pod requests what it uses with all slots busy, so that the target is a share of busy slots
    while jobs take their usual time.
    """

    target: float
    name: str = "hpa cpu"
    measures: bool = False

    @property
    def setting(self) -> str:
        """The target."""
        return f"{self.target:.0%} of request"

    def recommend(self, world: World, seen: Seen, current: int) -> int | None:
        """From the use of those pods that have been ready for a while."""
        request = world.concurrency * world.cpu_share
        used = [seen.cpu / request] * seen.ready
        unready = seen.pods - seen.ready
        return pods_for_utilisation(used, unready, self.target, current, world.behavior)

    def active(self, world: World, seen: Seen) -> None:  # noqa: ARG002 (Policy)
        """Without KEDA there is always a pod: none has no processor to look at."""
        return


@dataclass(frozen=True, slots=True)
class KedaRabbitmq:
    """KEDA's RabbitMQ trigger over HTTP, where unacknowledged jobs count as well."""

    #: ``QueueLength``: jobs that wait or run; ``MessageRate``: those published a second.
    mode: Literal["QueueLength", "MessageRate"]
    #: For each pod.
    threshold: float
    measures: bool = False

    @property
    def name(self) -> str:
        """As in the table."""
        return "keda length" if self.mode == "QueueLength" else "keda rate"

    @property
    def setting(self) -> str:
        """The threshold."""
        return f"{self.threshold:.3g}{'' if self.mode == 'QueueLength' else '/s'} a pod"

    def recommend(self, world: World, seen: Seen, current: int) -> int:
        """As many pods as thresholds."""
        return pods_for_average(self._value(seen), self.threshold, current, world.behavior)

    def active(self, world: World, seen: Seen) -> bool:  # noqa: ARG002 (Policy)
        """With the first job."""
        return self._value(seen) > 0

    def _value(self, seen: Seen) -> float:
        told = seen.statistics
        return told.messages if self.mode == "QueueLength" else told.publish_rate


@dataclass(frozen=True, slots=True)
class Laneway:
    """The chart's formula: the slots that :func:`~laneway.scaling.slots_needed` reckons.

    And what the broker counts, where the scaler has been silent for too long.
    """

    #: Instead of the queue's own.
    utilisation: float | None = None
    name: str = "laneway"
    measures: bool = True
    #: Seconds of the trace from which and until which the scaler says nothing.
    away: tuple[float, float] | None = None

    @property
    def setting(self) -> str:
        """The utilisation, where it is not the queue's own."""
        return "" if self.utilisation is None else f"{self.utilisation:.0%} full"

    def recommend(self, world: World, seen: Seen, current: int) -> int | None:
        """Slots for each pod: its concurrency."""
        try:
            slots = self._slots(world, seen)
        except TriggerFailed:
            return None
        return pods_for_average(slots, world.concurrency, current, world.behavior)

    def active(self, world: World, seen: Seen) -> bool | None:
        """With the first slot that is needed."""
        try:
            return self._slots(world, seen) > 0
        except TriggerFailed:
            return None

    def _slots(self, world: World, seen: Seen) -> float:
        said = None
        if self.away is None or not self.away[0] <= seen.at < self.away[1]:
            if seen.load is None:
                raise TriggerFailed  # the scaler has just begun: that is none of what is judged
            queue = world.queue
            if self.utilisation is not None:
                queue = world.queue_at(self.utilisation)
            said = slots_needed(queue, seen.load).slots
        return composite(seen.trigger.take(said), seen.statistics.messages)
