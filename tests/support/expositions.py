"""What ``/metrics`` answers, of workers and control processes that do not run."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, get_args

from prometheus_client.parser import text_string_to_metric_families

from laneway.control.numbers import exposition as of_control
from laneway.facts import FactKind
from laneway.metrics import FactCounter
from laneway.scaling import Known, Load, slots_needed
from laneway.scaling.fleet import Waits
from laneway.worker.exposition import exposition as of_worker
from laneway.worker.tally import Tallies

if TYPE_CHECKING:
    from laneway.policy import Policy


#: What ``laneway_facts_total`` may count.
KINDS = get_args(FactKind)


def worker_exposition(queue: str) -> bytes:
    """The text of a worker that has done nothing."""
    worker: Any = SimpleNamespace(queue=queue, tallies=Tallies(1), concurrency=2, pool=None)
    worker.consumer = None
    worker.state = SimpleNamespace(active_requests=set())
    return of_worker(worker)


def control_exposition(policy: Policy) -> bytes:
    """The text of a control process that has done nothing."""
    return of_control(control_that(policy))


def known(policy: Policy, queue: str) -> Known:
    """What a scaler answers of a queue that nothing is done on."""
    one = policy.queue(queue)
    load = Load(arrivals=0.0, runtime=1.0, busy=0.0, backlog=0.0)
    return Known(
        queue=one,
        load=load,
        need=slots_needed(one, load),
        runtime_from="measured",
        reporting=1,
        slots_there=4,
        notes=(),
        waits=Waits(started=0, mean=0.0, buckets=()),
        covers=60.0,
    )


def control_that(policy: Policy) -> Any:
    """A control process that has done nothing, as far as its exposition looks."""
    counts = SimpleNamespace(written=0, kept=0, given_up=0)
    return SimpleNamespace(
        app=SimpleNamespace(policy=policy),
        counter=FactCounter(),
        keepers=[SimpleNamespace(vhost="jobs", problem=None, held=0)],
        inbox={"jobs": 0},
        open_letters=SimpleNamespace(by_queue=lambda: dict.fromkeys(policy.queues, 0)),
        results=SimpleNamespace(counts=counts, waiting=0),
        scaler=SimpleNamespace(answers=lambda: [known(policy, queue) for queue in policy.queues]),
        periodic=[SimpleNamespace(name="look", runs=1, failures=0)],
    )


def samples(text: bytes) -> dict[str, set[str]]:
    """Name of a sample: the names of its labels."""
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found
