"""The scaler: how many worker slots each queue needs, for whoever starts and stops workers.

It keeps nothing but what it saw and heard within one window, so any number may run: each sees the
same counters and hears the same reports. Until half of its first window has passed it knows
nothing, and says that.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from laneway.control.scaler_watch import ScalerWatch
from laneway.scaling import QueueLoad, Unknown

if TYPE_CHECKING:
    from collections.abc import Callable

    from laneway.broker import BrokerAddress
    from laneway.policy import Policy
    from laneway.scaling import Answer, Pace


class Scaler:
    """Answers for every queue of a policy.

    Args:
        address: where the broker is, and its management interface.
        policy: whose queues.
        pace: how far back to look, and how often.
        stop: set by somebody else to end it.
        clock: seconds, from any beginning, that never go back.
    """

    def __init__(
        self,
        address: BrokerAddress,
        policy: Policy,
        *,
        pace: Pace,
        stop: threading.Event,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.pace = pace
        self._policy = policy
        self._clock = clock
        self._began = clock()
        self._lock = threading.Lock()
        self._loads = {name: QueueLoad(queue, pace) for name, queue in policy.queues.items()}
        self.watches = [
            ScalerWatch(
                address,
                vhost,
                {name: self._loads[name] for name in policy.vhost_queues(vhost)},
                lock=self._lock,
                pace=pace,
                stop=stop,
                clock=clock,
            )
            for vhost in sorted({queue.vhost for queue in policy.queues.values()})
        ]

    def threads(self) -> list[threading.Thread]:
        """What is to be started for it, one for each virtual host."""
        return [
            threading.Thread(target=watch.run, name=f"scaler-{watch.vhost}", daemon=True)
            for watch in self.watches
        ]

    def answer(self, queue: str) -> Answer:
        """How many slots a queue needs now, or why nobody can know.

        Raises:
            UnknownQueue: the policy has no such queue.
        """
        load = self._loads[self._policy.queue(queue).name]
        with self._lock:
            return load.answer(self._clock())

    def answers(self) -> list[Answer]:
        """The same for every queue, in the order of the policy."""
        return [self.answer(queue) for queue in self._loads]

    def not_ready(self) -> list[str]:
        """Why another process should be asked, a line each.

        Only during the first window, and only of what this process alone does not know: so a
        rolling update keeps one that knows. What else is unknown is so to all of them.
        """
        if self._clock() - self._began > self.pace.window:
            return []
        return [
            f"the scaler does not know {answer.queue.name!r} yet: {answer.reason}"
            for answer in self.answers()
            if isinstance(answer, Unknown) and answer.soon
        ]
