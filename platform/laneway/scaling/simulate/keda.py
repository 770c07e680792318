"""What KEDA does before the HPA: which number a trigger gives, and zero to one and back.

Read in KEDA 2.21.0: ``pkg/scalers/rabbitmq_scaler.go`` (``GetMetricsAndActivity``),
``pkg/scaling/scale_handler.go`` (``GetScaledObjectMetrics``, ``getScaledObjectState``),
``pkg/fallback/fallback.go`` (``GetMetricsWithFallback``),
``pkg/scaling/executor/scale_scaledobjects.go`` (``RequestScale``).

Between one pod and the most the HPA asks KEDA live whenever it looks; ``pollingInterval``
counts for zero to one only, ``cooldownPeriod`` for one to zero only. A failure counts whoever
asked: the HPA, or the look at whether there is anything to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: Seconds between two looks at whether a trigger is active (``pollingInterval``): the chart's.
POLLING_INTERVAL: Final = 15.0
#: Seconds without activity until the last pod goes (``cooldownPeriod``): KEDA's own.
COOLDOWN_PERIOD: Final = 300.0


@dataclass(slots=True, kw_only=True)
class Trigger:
    """One trigger and what KEDA makes of its failures (``fallback.behavior: scalingModifiers``)."""

    #: Failures in a row that are told to the HPA as errors; beyond them the trigger is nil.
    failure_threshold: int = 3
    _failures: int = 0

    def take(self, value: float | None) -> float | None:
        """Take what the trigger said; None is a failure.

        Returns:
            The number, or None: the formula has to do without.

        Raises:
            TriggerFailed: so far the HPA gets an error, and keeps the pods as they are.
        """
        if value is not None:
            self._failures = 0
            return value
        self._failures += 1
        if self._failures <= self.failure_threshold:
            raise TriggerFailed
        return None


class TriggerFailed(Exception):
    """A trigger of a ScaledObject has no number, and nothing stands in for it yet."""


def composite(slots: float | None, rabbit: float | None) -> float:
    """The formula of the chart: ``slots ?? (rabbit * 1)``.

    Args:
        slots: that the scaler says are needed; None when it says nothing.
        rabbit: messages of the queue, unacknowledged ones among them.

    Raises:
        TriggerFailed: there is neither.
    """
    if slots is not None:
        return slots
    if rabbit is None:
        raise TriggerFailed
    return rabbit


@dataclass(slots=True, kw_only=True)
class Activation:
    """Zero to one and back, which the HPA leaves to KEDA. With ``min`` of 1 or more it is idle."""

    min: int
    cooldown: float = COOLDOWN_PERIOD
    _last_active: float | None = None

    def decide(self, now: float, current: int, *, active: bool | None) -> int:
        """The pods after one look.

        Args:
            now: seconds.
            current: pods now.
            active: whether a trigger is above its activation value; None when it has no number.
        """
        if active:
            self._last_active = now
            return max(1, self.min) if current == 0 else current
        if active is None:
            return current
        if current < self.min:
            return self.min
        if current and not self.min and self._cold(now):
            return 0
        return current

    def _cold(self, now: float) -> bool:
        return self._last_active is None or self._last_active + self.cooldown < now
