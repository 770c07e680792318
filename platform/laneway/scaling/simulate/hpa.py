"""What the HorizontalPodAutoscaler does with a metric: its arithmetic, without a cluster.

Read in Kubernetes 1.37.1, ``pkg/controller/podautoscaler``: ``horizontal.go``
(``reconcileAutoscaler``, ``stabilizeRecommendationWithBehaviors``,
``convertDesiredReplicasWithBehaviorRate``, ``calculateScaleUpLimitWithScalingRules``,
``calculateScaleDownLimitWithBehaviors``), ``replica_calculator.go``
(``GetExternalPerPodMetricReplicas``, ``GetResourceReplicas``); its defaults in
``pkg/apis/autoscaling/v2/defaults.go`` and ``config/v1alpha1/defaults.go``.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Seconds between two looks of the controller (``--horizontal-pod-autoscaler-sync-period``).
SYNC_PERIOD: Final = 15.0
#: Share by which a metric may be off its target before anything is done.
TOLERANCE: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """So many pods, or such a share of them, may come or go within a period."""

    kind: Literal["Pods", "Percent"]
    value: int
    #: Seconds.
    period: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """``behavior.scaleUp`` or ``behavior.scaleDown`` of a HorizontalPodAutoscaler."""

    limits: tuple[Limit, ...]
    #: Which limit counts where there are several.
    select: Literal["Max", "Min", "Disabled"] = "Max"
    #: Seconds: out goes what all of them asked for, in what none of them needed.
    stabilisation: float
    tolerance: float = TOLERANCE


@dataclass(frozen=True, slots=True, kw_only=True)
class Behavior:
    """How fast an HPA may follow its metric. Its defaults are those of Kubernetes."""

    out: Rules = Rules(
        limits=(
            Limit(kind="Pods", value=4, period=15),
            Limit(kind="Percent", value=100, period=15),
        ),
        stabilisation=0,
    )
    into: Rules = Rules(
        limits=(Limit(kind="Percent", value=100, period=15),),
        stabilisation=300,
    )

    def within(self, ratio: float) -> bool:
        """Whether a metric is so near its target that nothing is done."""
        return 1 - self.into.tolerance <= ratio <= 1 + self.out.tolerance


def pods_for_average(value: float, target: float, current: int, behavior: Behavior) -> int:
    """The pods that bring an external metric of type ``AverageValue`` to its target.

    Args:
        value: of the metric, for all pods together. It travels in thousandths.
        target: for one pod.
        current: pods now; at least 1 (from none KEDA makes one).
        behavior: its tolerances.
    """
    usage, wanted = int(value * 1000), int(target * 1000)
    if behavior.within(usage / (wanted * current)):
        return current
    return math.ceil(usage / wanted)


def pods_for_utilisation(
    used: Sequence[float], unready: int, target: float, current: int, behavior: Behavior
) -> int | None:
    """The pods that bring the mean use of a resource to its target.

    Args:
        used: what each ready pod uses, as a share of its request.
        unready: pods without a measurement that counts; taken for idle where it scales out.
        target: share of the request.
        current: pods now.
        behavior: its tolerances.

    Returns:
        The pods, or None: no pod is measured, so nothing is done.
    """
    if not used:
        return None
    ratio = sum(used) / len(used) / target
    if not (unready and ratio > 1):
        return current if behavior.within(ratio) else math.ceil(ratio * len(used))
    counted = len(used) + unready
    diluted = sum(used) / counted / target
    if behavior.within(diluted) or diluted < 1:
        return current
    return max(current, math.ceil(diluted * counted))


@dataclass(slots=True, kw_only=True)
class Hpa:
    """One HorizontalPodAutoscaler: what was recommended and changed of late."""

    min: int
    max: int
    behavior: Behavior = Behavior()
    _recommended: deque[tuple[float, int]] = field(default_factory=deque)
    _out: deque[tuple[float, int]] = field(default_factory=deque)
    _into: deque[tuple[float, int]] = field(default_factory=deque)

    def decide(self, now: float, current: int, recommended: int | None) -> int:
        """The pods from now on.

        Args:
            now: seconds; never less than at the call before.
            current: pods wanted until now.
            recommended: what the metric asks for; None when it is not known: nothing is done.
        """
        if current == 0:
            return 0  # scaling is disabled: only KEDA brings a deployment back from zero
        if not self._recommended:
            self._recommended.append((now, current))
        if current > self.max:
            decided = self.max
        elif current < self.min:
            decided = self.min
        elif recommended is None:
            return current
        else:
            decided = self._limited(now, current, self._stabilised(now, current, recommended))
        if decided > current:
            _remember(self._out, now, decided - current, self.behavior.out)
        elif decided < current:
            _remember(self._into, now, current - decided, self.behavior.into)
        return decided

    def _stabilised(self, now: float, current: int, recommended: int) -> int:
        """Out goes the least of its window, in the most of its window."""
        out_from = now - self.behavior.out.stabilisation
        in_from = now - self.behavior.into.stabilisation
        while self._recommended and self._recommended[0][0] <= min(out_from, in_from):
            self._recommended.popleft()
        low = min([recommended, *(n for at, n in self._recommended if at > out_from)])
        high = max([recommended, *(n for at, n in self._recommended if at > in_from)])
        self._recommended.append((now, recommended))
        return min(max(current, low), high)

    def _limited(self, now: float, current: int, wanted: int) -> int:
        if wanted > current:
            limit = max(current, self._most(now, current))
            return min(wanted, limit, self.max)
        if wanted < current:
            limit = min(current, self._fewest(now, current))
            return max(wanted, limit, self.min)
        return wanted

    def _most(self, now: float, current: int) -> int:
        rules = self.behavior.out
        if rules.select == "Disabled":
            return current
        allowed = []
        for limit in rules.limits:
            before = self._at_start(now, current, limit)
            allowed.append(
                before + limit.value
                if limit.kind == "Pods"
                else math.ceil(before * (1 + limit.value / 100))
            )
        return max(allowed) if rules.select == "Max" else min(allowed)

    def _fewest(self, now: float, current: int) -> int:
        rules = self.behavior.into
        if rules.select == "Disabled":
            return current
        allowed = []
        for limit in rules.limits:
            before = self._at_start(now, current, limit)
            allowed.append(
                before - limit.value
                if limit.kind == "Pods"
                else int(before * (1 - limit.value / 100))
            )
        # The largest change is the smallest number.
        return min(allowed) if rules.select == "Max" else max(allowed)

    def _at_start(self, now: float, current: int, limit: Limit) -> int:
        """The pods when the limit's period began."""
        since = now - limit.period
        came = sum(change for at, change in self._out if at > since)
        went = sum(change for at, change in self._into if at > since)
        return current - came + went


def _remember(changes: deque[tuple[float, int]], now: float, change: int, rules: Rules) -> None:
    longest = max((limit.period for limit in rules.limits), default=0.0)
    while changes and changes[0][0] < now - longest:
        changes.popleft()
    changes.append((now, change))
