"""The numbers of the control process for Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from laneway.scaling import Known

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from prometheus_client import Metric

    from laneway.control.process import Control
    from laneway.scaling import Answer


def exposition(control: Control) -> bytes:
    """The text that ``/metrics`` answers."""
    registry = CollectorRegistry()
    registry.register(_Numbers(control))
    return bytes(generate_latest(registry))


class _Numbers:
    def __init__(self, control: Control) -> None:
        self._control = control

    def describe(self) -> list[Metric]:
        """Nothing in advance: prometheus_client would collect to find out."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All numbers, as they are now."""
        control = self._control
        facts = CounterMetricFamily(
            "laneway_facts", "What happened to jobs, by kind.", labels=["queue", "kind"]
        )
        # Zeros too: Prometheus sees a number rise only if it has seen it before.
        zeros = {(queue, "dead_lettered"): 0 for queue in control.app.policy.queues}
        for (queue, kind), number in sorted((zeros | control.counter.by_queue()).items()):
            facts.add_metric([queue, kind], number)
        yield facts
        working = GaugeMetricFamily(
            "laneway_keeper_working", "1 while letters are made.", labels=["vhost"]
        )
        held = GaugeMetricFamily(
            "laneway_keeper_held",
            "Messages that stay in the dead inbox: the broker takes no letter of their size.",
            labels=["vhost"],
        )
        for keeper in control.keepers:
            working.add_metric([keeper.vhost], float(keeper.problem is None))
            held.add_metric([keeper.vhost], keeper.held)
        yield working
        yield held
        inbox = GaugeMetricFamily(
            "laneway_dead_inbox", "Messages that wait for a keeper.", labels=["vhost"]
        )
        for vhost, number in control.inbox.items():
            inbox.add_metric([vhost], number)
        yield inbox
        letters = GaugeMetricFamily(
            "laneway_dead_letters_open",
            'Dead letters that nothing was decided about; of no queue of the policy under "".',
            labels=["queue"],
        )
        for queue, number in control.open_letters.by_queue().items():
            letters.add_metric([queue], number)
        yield letters
        counts = control.results.counts
        results = CounterMetricFamily(
            "laneway_keeper_results",
            "Results of jobs that the broker gave up: written, kept as they were, given up.",
            labels=["end"],
        )
        for end in ("written", "kept", "given_up"):
            results.add_metric([end], getattr(counts, end))
        yield results
        yield GaugeMetricFamily(
            "laneway_keeper_results_waiting",
            "Results that wait for their backend.",
            value=control.results.waiting,
        )
        runs = CounterMetricFamily(
            "laneway_periodic", "Runs of what is done periodically.", labels=["name", "end"]
        )
        for one in control.periodic:
            runs.add_metric([one.name, "done"], one.runs - one.failures)
            runs.add_metric([one.name, "failed"], one.failures)
        yield runs
        if control.scaler is not None:
            yield from _of_scaler(control.scaler.answers())


def _of_scaler(answers: list[Answer]) -> Iterator[Metric]:
    """What the scaler answers; a queue that it does not know has no numbers, but ``known`` 0."""
    known = GaugeMetricFamily(
        "laneway_scaler_known", "1 while the scaler knows what a queue needs.", labels=["queue"]
    )
    for answer in answers:
        known.add_metric([answer.queue.name], float(isinstance(answer, Known)))
    yield known
    for name, (help_text, read) in _OF_A_QUEUE.items():
        gauge = GaugeMetricFamily(f"laneway_{name}", help_text, labels=["queue"])
        for answer in answers:
            if isinstance(answer, Known):
                gauge.add_metric([answer.queue.name], read(answer))
        yield gauge


_OF_A_QUEUE: Final[Mapping[str, tuple[str, Callable[[Known], float]]]] = {
    "slots_needed": (
        "Worker slots that the queue needs to keep its service level, before min and max.",
        lambda known: known.slots,
    ),
    "workers_needed": ("The same in workers, within min and max.", lambda known: known.workers),
    "arrivals_per_second": (
        "Jobs that come into the queue, over the scaler's window.",
        lambda known: known.load.arrivals,
    ),
    "mean_runtime_seconds": (
        "How long a job runs in the mean, over the scaler's window.",
        lambda known: known.load.runtime,
    ),
    "busy_slots": ("Jobs that run now, as workers report.", lambda known: known.load.busy),
    "backlog_jobs": ("Jobs that could start now and wait.", lambda known: known.load.backlog),
    "workers_reporting": ("Workers that report.", lambda known: known.reporting),
}
