"""The policies that are compared: each makes a number of pods of what it sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from laneway.scaling.need import slots_needed
from laneway.scaling.simulate.hpa import pods_for_average, pods_for_utilisation
from laneway.scaling.simulate.keda import composite

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


@dataclass(frozen=True, slots=True)
class QueueLength:
    """KEDA's RabbitMQ trigger in mode QueueLength, over HTTP: unacknowledged jobs count."""

    threshold: float
    name: str = "keda length"
    measures: bool = False

    @property
    def setting(self) -> str:
        """The threshold."""
        return f"{self.threshold:.3g} a pod"

    def recommend(self, world: World, seen: Seen, current: int) -> int:
        """Messages for each pod."""
        return pods_for_average(seen.statistics.messages, self.threshold, current, world.behavior)


@dataclass(frozen=True, slots=True)
class MessageRate:
    """KEDA's RabbitMQ trigger in mode MessageRate."""

    threshold: float
    name: str = "keda rate"
    measures: bool = False

    @property
    def setting(self) -> str:
        """The threshold."""
        return f"{self.threshold:.3g}/s a pod"

    def recommend(self, world: World, seen: Seen, current: int) -> int:
        """Published jobs a second for each pod."""
        rate = seen.statistics.publish_rate
        return pods_for_average(rate, self.threshold, current, world.behavior)


@dataclass(frozen=True, slots=True)
class Laneway:
    """The slots that :func:`~laneway.scaling.slots_needed` reckons, through the HPA."""

    #: Instead of the queue's own.
    utilisation: float | None = None
    name: str = "laneway"
    measures: bool = True

    @property
    def setting(self) -> str:
        """The utilisation, where it is not the queue's own."""
        return "" if self.utilisation is None else f"{self.utilisation:.0%} full"

    def recommend(self, world: World, seen: Seen, current: int) -> int | None:
        """Slots for each pod: its concurrency."""
        if seen.load is None:
            return None
        queue = world.queue
        if self.utilisation is not None:
            queue = world.queue_at(self.utilisation)
        slots = slots_needed(queue, seen.load).slots
        return pods_for_average(slots, world.concurrency, current, world.behavior)


@dataclass(frozen=True, slots=True)
class Away:
    """What the chart's formula makes of the broker's count while Laneway's scaler says nothing."""

    name: str = "laneway away"
    measures: bool = False

    @property
    def setting(self) -> str:
        """None."""
        return ""

    def recommend(self, world: World, seen: Seen, current: int) -> int:
        """Slots for each pod: its concurrency."""
        queue = world.queue
        messages = seen.statistics.messages
        slots = composite(None, messages, queue.scaling.expected_runtime, queue.drain)
        return pods_for_average(slots, world.concurrency, current, world.behavior)
