"""The numbers of a worker for Prometheus, read from shared memory when they are asked for."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)

from laneway.worker.direct import DirectPool
from laneway.worker.health import not_ready
from laneway.worker.load import running
from laneway.worker.tally import BUCKETS, FACT_KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Metric

    from laneway.worker.job_worker import JobWorker


def exposition(worker: JobWorker) -> bytes:
    """The text that ``/metrics`` answers."""
    registry = CollectorRegistry()
    registry.register(_Numbers(worker))
    return bytes(generate_latest(registry))


class _Numbers:
    def __init__(self, worker: JobWorker) -> None:
        self._worker = worker

    def describe(self) -> list[Metric]:
        """Nothing in advance: prometheus_client would collect to find out."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All numbers, as they are now."""
        worker, queue = self._worker, [self._worker.queue]
        facts = CounterMetricFamily(
            "laneway_facts", "What happened to jobs, by kind.", labels=["queue", "kind"]
        )
        # Zeros too: Prometheus sees a number rise only if it has seen it before.
        told = dict.fromkeys(FACT_KINDS, 0) | worker.tallies.facts()
        for kind, number in sorted(told.items()):
            facts.add_metric([*queue, kind], number)
        yield facts
        for name, help_text, (counts, total) in (
            ("wait", "Seconds from when a job could start to when it did.", worker.tallies.waits()),
            ("runtime", "Seconds that task code ran.", worker.tallies.runtimes()),
        ):
            histogram = HistogramMetricFamily(
                f"laneway_{name}_seconds", help_text, labels=["queue"]
            )
            bounds = [*map(str, BUCKETS), "+Inf"]
            histogram.add_metric(queue, list(zip(bounds, accumulate(counts), strict=True)), total)
            yield histogram
        yield self._gauge("ready", "1 while /readyz says so.", float(not not_ready(worker)))
        yield self._gauge("concurrency", "Jobs that run at a time at most.", worker.concurrency)
        yield self._gauge("running", "Jobs that run now.", running(worker)[0])
        yield self._gauge(
            "results_waiting",
            "Ended jobs whose results could not be stored yet.",
            worker.tallies.results_waiting(),
        )
        if isinstance(worker.pool, DirectPool):
            yield from self._of_processes(worker.pool)

    def _of_processes(self, pool: DirectPool) -> Iterator[Metric]:
        slots = [slot for slot in pool.slots if slot.pid]
        yield self._gauge(
            "held", "Jobs that are held ahead and have not begun.", sum(slot.held for slot in slots)
        )
        yield self._gauge(
            "prefetch",
            "Deliveries that may be held, all processes.",
            sum(s.prefetch for s in slots),
        )
        yield self._gauge(
            "expected_runtime_seconds",
            "The runtime that the number of held jobs is reckoned with; the slowest process's.",
            max((slot.expected_runtime for slot in slots), default=0.0),
        )
        busy = CounterMetricFamily(
            "laneway_busy_seconds", "Seconds that processes ran jobs.", labels=["queue"]
        )
        busy.add_metric([self._worker.queue], sum(slot.busy_seconds for slot in pool.slots))
        yield busy

    def _gauge(self, name: str, help_text: str, value: float) -> Metric:
        gauge = GaugeMetricFamily(f"laneway_{name}", help_text, labels=["queue"])
        gauge.add_metric([self._worker.queue], value)
        return gauge
