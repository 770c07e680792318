"""One queue is one file in ``queues/``: its promise, its broker limits, its worker, its scaling.

These are the values, frozen and documented; :mod:`laneway.policy.queue_files` reads them. Every key
with its unit, default and bounds as a team writes them: ``docs/reference/policy.md``.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator

from laneway.types import parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

VirtualHost = Literal["jobs", "secure"]
Pool = Literal["prefork", "direct", "threads", "gevent", "eventlet", "solo"]
Autoscaler = Literal["none", "hpa", "keda"]

#: What a queue may be called: a DNS label, so that it also names a Kubernetes object. No dots: a
#: delayed job is bound by the end of its routing key, so ``a.high`` would also arrive on ``high``.
QUEUE_NAME: Final = re.compile(r"[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?")

# The words that YAML 1.1, which Helm, kubectl and Compose read, takes for no strings.
_WORDS_OF_YAML: Final = ("y", "n", "yes", "no", "on", "off", "true", "false", "null")

#: Names that mean something else, each with what.
RESERVED_NAMES: Final[Mapping[str, str]] = {
    **dict.fromkeys(_WORDS_OF_YAML, "YAML takes it for true, false or null"),
    "amq": "the broker's own names begin with it",
    "celery": "the default queue of a plain Celery project",
    "celeryev": "Celery's exchange of events",
    "dead": "the exchange of dead letters",
    "jobs": "the exchange of jobs",
    "laneway": "the platform's own names begin with it",
}

#: Seconds that RabbitMQ waits for an acknowledgement unless told otherwise.
BROKER_CONSUMER_TIMEOUT: Final = 30 * 60.0

#: Seconds in which a backlog is worked off at the soonest unless told otherwise: the broker says so
#: often how long it is. What that makes of bursts: docs/design/scaling-limits.md.
SHORTEST_DRAIN: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolCan:
    """What a pool really does (Celery 5.7's were read in ``celery/concurrency/`` and tried)."""

    #: Raise ``SoftTimeLimitExceeded`` in a job that runs too long.
    soft_time_limit: bool
    #: End a job that runs too long, whatever it does.
    time_limit: bool
    #: Run more than one job at a time.
    concurrency: bool
    #: Replace the process that ran a number of jobs.
    max_tasks_per_child: bool


_NO_LIMITS: Final = PoolCan(
    soft_time_limit=False, time_limit=False, concurrency=True, max_tasks_per_child=False
)

#: Pool by pool. What a pool cannot do Celery ignores in silence, so asking for it is an error.
#: gevent does end a job, but only where the job yields: a busy loop runs for ever.
POOL_CAN: Final[Mapping[Pool, PoolCan]] = {
    "prefork": PoolCan(
        soft_time_limit=True, time_limit=True, concurrency=True, max_tasks_per_child=True
    ),
    "direct": PoolCan(
        soft_time_limit=True, time_limit=True, concurrency=True, max_tasks_per_child=True
    ),
    "threads": _NO_LIMITS,
    "gevent": _NO_LIMITS,
    "eventlet": _NO_LIMITS,
    "solo": PoolCan(
        soft_time_limit=False, time_limit=False, concurrency=False, max_tasks_per_child=False
    ),
}


def _expect(what: str, read: Callable[[object], Any]) -> BeforeValidator:
    """A validator that asks for ``what``; ``read`` returns the value or raises ValueError."""

    def validate(value: object) -> Any:
        try:
            return read(value)
        except ValueError:
            raise ValueError(f"expected {what}") from None

    return BeforeValidator(validate)


def _whole(low: int, high: int) -> BeforeValidator:
    def read(value: object) -> int:
        if type(value) is not int or not low <= value <= high:
            raise ValueError
        return value

    most = f"{high:_}" if high >= 10_000 else high
    return _expect(f"a whole number from {low} to {most}", read)


def _number(low: float, high: float) -> BeforeValidator:
    def read(value: object) -> float:
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not low <= value <= high
        ):
            raise ValueError
        return float(value)

    return _expect(f"a number from {low:g} to {high:g}", read)


def _duration(low: str, high: str) -> BeforeValidator:
    shortest, longest = parse_duration(low), parse_duration(high)

    def read(value: object) -> float:
        seconds = parse_duration(value)
        if not shortest <= seconds <= longest:
            raise ValueError
        return seconds

    return _expect(f'a duration from "{low}" to "{high}" with its unit, like "30s"', read)


def _one_of(kind: Any) -> BeforeValidator:
    choices = get_args(kind)

    def read(value: object) -> object:
        if value not in choices:
            raise ValueError
        return value

    return _expect("one of " + ", ".join(json.dumps(choice) for choice in choices), read)


def _sentence(value: object) -> str:
    if not isinstance(value, str) or not value.strip().isprintable() or not value.strip():
        raise ValueError
    return value.strip()


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BrokerLimits(_Section):
    """``[broker]``: what the broker holds a queue to."""

    #: The virtual host: ``secure`` only for queues that nobody else may read.
    vhost: Annotated[VirtualHost, _one_of(VirtualHost)] = "jobs"
    #: Jobs that the queue holds; a publish beyond it is refused, never dropped.
    max_length: Annotated[int, _whole(1, 10_000_000)] = 1_000_000
    #: Redeliveries after which a job that kills its worker becomes a dead letter.
    delivery_limit: Annotated[int, _whole(1, 1000)] = 5
    #: Seconds that a worker may keep a job unacknowledged; None: :attr:`Queue.consumer_timeout`.
    consumer_timeout: Annotated[float | None, _duration("1m", "30d")] = None


class WorkerShape(_Section):
    """``[worker]``: how the jobs of a queue are run."""

    #: How jobs are run: ``direct``, or a pool of Celery's; what each can do: :data:`POOL_CAN`.
    pool: Annotated[Pool, _one_of(Pool)] = "prefork"
    #: Jobs that one worker runs at a time: 4 unless said, always 1 in the solo pool.
    concurrency: Annotated[int, _whole(1, 1000)] = 4
    #: Seconds after which a job gets ``SoftTimeLimitExceeded``; None is never.
    soft_time_limit: Annotated[float | None, _duration("100ms", "7d")] = None
    #: Seconds after which the process of a job is killed; None is never.
    time_limit: Annotated[float | None, _duration("100ms", "7d")] = None
    #: Seconds of expected work that a worker may hold ahead of a more urgent job.
    inversion_budget: Annotated[float, _duration("0s", "10s")] = 0.025
    #: Jobs after which a process is replaced; None is never.
    max_tasks_per_child: Annotated[int | None, _whole(1, 1_000_000)] = None
    #: Seconds that running jobs get to finish when the worker is told to stop (SIGTERM).
    grace_period: Annotated[float, _duration("0s", "1d")] = 30.0
    #: Seconds for which a job of a task that no worker knows is handed back (a rolling deploy),
    #: with growing delays; then it is a dead letter.
    unknown_task_grace: Annotated[float, _duration("0s", "1d")] = 300.0

    @model_validator(mode="before")
    @classmethod
    def _default_of_solo(cls, keys: Any) -> Any:
        if isinstance(keys, dict) and keys.get("pool") == "solo":
            return {"concurrency": 1, **keys}
        return keys


class Retries(_Section):
    """``[retry]``: how jobs that failed wait for their next attempt.

    How often a task is tried is the task's own (``max_retries``, Celery's default is 3).
    """

    #: The bound of the first wait in seconds; it doubles with every retry.
    first: Annotated[float, _duration("1s", "1d")] = 2.0
    #: The bound of every wait in seconds.
    longest: Annotated[float, _duration("1s", "7d")] = 600.0
    #: Retries for each job that starts; what has to wait for its turn longer than ``longest``
    #: becomes a dead letter.
    budget: Annotated[float, _number(0, 100)] = 0.2


class Scaling(_Section):
    """``[scaling]``: how many workers serve a queue, and who decides it.

    What the platform reckons with these: :mod:`laneway.scaling`.
    """

    #: Who starts and stops workers on Kubernetes: nobody (``kubectl scale``), the HPA, or KEDA.
    autoscaler: Annotated[Autoscaler, _one_of(Autoscaler)] = "none"
    #: The fewest workers; so many without an autoscaler.
    min: Annotated[int, _whole(1, 1000)] = 1
    #: The most workers.
    max: Annotated[int, _whole(1, 1000)] = 10
    #: The share of the worker slots that the steady load may keep busy.
    utilisation: Annotated[float, _number(0.1, 1)] = 0.7
    #: Seconds within which a backlog is to be worked off; None: :attr:`Queue.drain`.
    drain: Annotated[float | None, _duration("1s", "7d")] = None
    #: Seconds that a job is taken to run until that is measured, and while nobody measures.
    expected_runtime: Annotated[float, _duration("1ms", "7d")] = 1.0
    #: Seconds that fewer workers must have been enough before any is stopped.
    scale_in_after: Annotated[float, _duration("0s", "1h")] = 300.0


class Queue(_Section):
    """A queue of the policy."""

    #: Whom it serves, in a few words.
    summary: Annotated[str, _expect("a line that says whom the queue serves", _sentence)]
    #: Seconds from publish to start that the queue promises (p95).
    service_level: Annotated[float, _duration("1ms", "7d")]
    broker: BrokerLimits = BrokerLimits()
    worker: WorkerShape = WorkerShape()
    retry: Retries = Retries()
    scaling: Scaling = Scaling()
    #: The file's name without ``.toml``; also the queue on the broker and its routing key.
    name: str

    @property
    def vhost(self) -> VirtualHost:
        """The virtual host without its prefix: ``jobs`` or ``secure``."""
        return self.broker.vhost

    @property
    def secure(self) -> bool:
        """Whether only a route leads in, and nothing leads out."""
        return self.vhost == "secure"

    @property
    def consumer_timeout(self) -> float:
        """Seconds that the broker lets a worker keep a job; more than any job may take.

        The file's own value, else the broker's default or twice the time limit and a minute,
        whichever is longer: a job may wait in the worker for the one before it, and the broker
        looks only once a minute.
        """
        if self.broker.consumer_timeout is not None:
            return self.broker.consumer_timeout
        return max(BROKER_CONSUMER_TIMEOUT, 2 * (self.worker.time_limit or 0.0) + 60.0)

    @property
    def drain(self) -> float:
        """Seconds within which a backlog is to be worked off.

        The file's own value, else the service level, and at least :data:`SHORTEST_DRAIN`.
        """
        if self.scaling.drain is not None:
            return self.scaling.drain
        return max(SHORTEST_DRAIN, self.service_level)
