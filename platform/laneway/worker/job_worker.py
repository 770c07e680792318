"""Celery's worker, held to one queue and that queue's file."""

from __future__ import annotations

import logging
from typing import Any, Final

from billiard import current_process
from celery import signals
from celery.apps.worker import Worker
from celery.concurrency import get_implementation
from click.core import ParameterSource

from laneway import settings
from laneway.broker import refuse_worker
from laneway.celery_command import context_of_celerys_command, plain_errors
from laneway.errors import WorkerError
from laneway.once import marked
from laneway.policy.queues import POOL_CAN
from laneway.probes import address_of_health
from laneway.results.late import LateResults
from laneway.scaling import Pace, pace_of_environment
from laneway.worker import direct, reporting, telling
from laneway.worker.grace import keep_grace
from laneway.worker.health import Health
from laneway.worker.tally import Counting, Tallies, Tally

#: Processes that may be added while the worker runs.
_SPARE: Final = 64
#: Seconds that letters under way get when the worker stops: the deadline of one publish.
_LAST_LETTERS: Final = 10.0
#: Seconds that results which could not be stored yet get when their process ends.
_LAST_RESULTS: Final = 5.0
#: The result backend of a worker, by that of a service.
_BACKENDS: Final = {
    "laneway.results.redis:JobRedisBackend": "laneway.worker.result_backend:PatientRedisBackend",
    "laneway.results.redis:JobSentinelBackend": (
        "laneway.worker.result_backend:PatientSentinelBackend"
    ),
}
_UID: Final = "laneway.tally"
_LATE_UID: Final = "laneway.results.late"
_CELERYS_REQUEST: Final = "celery.worker.request:Request"
_REQUEST: Final = "laneway.worker.request:JobRequest"
_LOGGERS_OF_JOBS: Final = (
    "celery.app.trace",
    "celery.worker.request",
    "celery.worker.strategy",
    "celery.worker.consumer.consumer",
)


class JobWorker(Worker):
    """``app.Worker`` of a Laneway application, whoever starts it."""

    #: The one queue that this worker serves.
    queue: str
    #: What happened in all processes of this worker.
    tallies: Tallies
    #: How often it reports its load.
    pace: Pace
    #: Where ``/livez``, ``/readyz`` and ``/metrics`` are answered; None is nowhere.
    health_address: tuple[str, int] | None = None

    def on_before_init(self, quiet: bool = False, **options: Any) -> None:
        """Celery's hook before anything is set up: become the worker of the one queue.

        Raises:
            WorkerError: not exactly one queue, or a pool that cannot keep the file's promises.
            UnknownQueue: the policy has no such queue.
        """
        with plain_errors():
            self._become_the_worker(options)
            self.health_address = options.get("health_address") or address_of_health()
            self.pace = pace_of_environment()
        self.app.steps["worker"].add(Health)
        for task in self.app.tasks.values():
            if task.Request == _CELERYS_REQUEST:
                task.Request = _REQUEST
        self._keep_results()
        self._count(options.get("concurrency"))
        self.app.facts.listen(self.app.retry_budget.hear)
        teller = telling.connect(self.app, self.queue, self.hostname)
        with plain_errors():
            reporting.start(
                self.app,
                self.queue,
                self.hostname,
                direct=self._pool_of(options) == "direct",
                teller=teller,
            )
        keep_grace(self.app.policy.queue(self.queue).worker.grace_period)
        self._leave_the_telling_to_facts()
        super().on_before_init(quiet=quiet, **options)

    def _pool_of(self, options: dict[str, Any]) -> str:
        given = options.get("pool") or options.get("pool_cls")
        return pool_name(given) if given else self.app.policy.queue(self.queue).worker.pool

    def _become_the_worker(self, options: dict[str, Any]) -> None:
        self.queue = self._one_queue(options.get("queues"))
        self._check_pool(self._pool_of(options))
        if options.get("purge"):
            raise WorkerError(
                "expected no --purge, because it would delete accepted jobs. Use 'laneway queues "
                f"purge {self.queue}': it makes dead letters of them."
            )
        self.app.serve(self.queue)
        self.app.conf.worker_pool = pool_class(self.app.policy.queue(self.queue).worker.pool)
        tasks = self.app.tasks.values()
        if problems := settings.task_contradictions(tasks) + marked.problems(self.app):
            raise WorkerError("\n  ".join(["tasks contradict the platform:", *problems]))

    def _keep_results(self) -> None:
        """Keep what jobs returned while Redis is away, in the process that ran them."""
        late = self.app.late_results = LateResults(self._tell_lost)
        loader = self.app.loader
        # A project's own backends stay.
        loader.override_backends = {
            name: _BACKENDS.get(place, place) for name, place in loader.override_backends.items()
        }
        if self.app._backend is not None:  # noqa: SLF001 (see test_celery_contract.py)
            self.app._backend = self.app._get_backend()  # noqa: SLF001 (the same)
        signals.worker_process_shutdown.disconnect(dispatch_uid=_LATE_UID)
        signals.worker_process_shutdown.connect(
            lambda **_: late.close(_LAST_RESULTS), weak=False, dispatch_uid=_LATE_UID
        )

    def _tell_lost(self, task: str | None, task_id: str | None, why: str) -> None:
        self.app.facts.tell(
            "result_lost",
            queue=self.queue,
            task=task,
            task_id=task_id,
            worker=self.hostname,
            reason=why,
        )

    def _count(self, concurrency: int | None) -> None:
        """Count what is told, in this process and in those that it will fork."""
        size = concurrency or self.app.policy.queue(self.queue).worker.concurrency
        self.tallies = tallies = Tallies(1 + size + _SPARE)
        parents = Counting(tallies[0])
        facts = self.app.facts
        facts.listen(parents)
        late = self.app.late_results
        late.show(tallies[0])

        def count_in_child(**_: Any) -> None:
            index = getattr(current_process(), "index", None)
            # The pools without processes of their own send the signal too, from here.
            if isinstance(index, int) and 1 + index < len(tallies):
                facts.leave(parents)
                facts.listen(Counting(tallies[1 + index]))
                # Those of the process in whose place this one is.
                self._tell_left(tallies[1 + index])
                late.show(tallies[1 + index])

        def share_memory(**_: Any) -> None:
            # Only before the first: what a later process is to share is frozen already.
            signals.worker_before_create_process.disconnect(dispatch_uid=_UID)
            direct.freeze_what_is_loaded()

        signals.worker_before_create_process.disconnect(dispatch_uid=_UID)
        signals.worker_before_create_process.connect(share_memory, weak=False, dispatch_uid=_UID)
        signals.worker_process_init.disconnect(dispatch_uid=_UID)
        signals.worker_process_init.connect(count_in_child, weak=False, dispatch_uid=_UID)

    def on_stopped(self) -> None:
        """Celery's hook when every step has stopped, while the connection is still open."""
        consumer = getattr(self, "consumer", None)
        if consumer is not None:
            consumer.desk.close(_LAST_LETTERS)
        self.app.late_results.close(_LAST_RESULTS)
        for tally in self.tallies:
            self._tell_left(tally)
        if self.app.reporter is not None:
            self.app.reporter.close()
        super().on_stopped()

    def _tell_left(self, tally: Tally) -> None:
        """Tell of the results that waited in a process which is no more."""
        left, tally.results_waiting = tally.results_waiting, 0
        if left:
            self._tell_lost(None, None, f"{left} results waited in a process that was killed")

    def stats(self) -> dict[str, Any]:
        """What ``celery inspect stats`` shows, with what this process was told.

        It is what all processes of the worker were told.
        """
        own = {"queue": self.queue, "facts": self.tallies.facts()}
        found = {**super().stats(), "laneway": own}
        if isinstance(self.pool, direct.DirectPool):
            found["total"] = dict(self.pool.totals.by_task())
        return found

    def _leave_the_telling_to_facts(self) -> None:
        """Celery's own lines about jobs say what facts say already, with results and arguments.

        A failure's traceback stays, except on a secure queue: it shows what the job worked on.
        """
        secure = self.app.policy.queue(self.queue).secure
        for name in _LOGGERS_OF_JOBS:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1 if secure else logging.ERROR)

    def _one_queue(self, given: Any) -> str:
        names = given.split(",") if isinstance(given, str) else list(given or ())
        if len(names) != 1:
            known = ", ".join(self.app.policy.queues)
            raise WorkerError(
                f"expected exactly one queue for a worker, got: {', '.join(names) or 'none'}. A "
                "worker of several queues lets one delay another. Start one worker a queue: "
                f"'laneway worker QUEUE --app …' or 'celery -A … worker -Q QUEUE' ({known})."
            )
        return str(names[0])

    def _check_pool(self, name: str) -> None:
        spec = self.app.policy.queue(self.queue)
        # Celery's command has chosen its pool, and patched for it, before we could say the queue's.
        if spec.worker.pool != "prefork" and _celerys_command_chose_the_pool():
            raise WorkerError(
                f"queues/{self.queue}.toml says pool = {spec.worker.pool!r}, and Celery's command "
                f"takes prefork unless told: add '-P {spec.worker.pool}', or use 'laneway worker "
                f"{self.queue}'."
            )
        can = next((can for known, can in POOL_CAN.items() if known == name), None)
        if can is None:
            raise WorkerError(
                f"expected a pool of {', '.join(POOL_CAN)} for the queue {self.queue!r}, got: "
                f"{name!r}."
            )
        refuse_worker(self.app.address.consumer, pool=name, secure=spec.secure, queue=self.queue)
        lacks = [
            f"{key} = {value:g} s"
            for key, value in (
                ("soft_time_limit", spec.worker.soft_time_limit),
                ("time_limit", spec.worker.time_limit),
            )
            if value is not None and not getattr(can, key)
        ]
        if lacks:
            raise WorkerError(
                f"queues/{self.queue}.toml promises {' and '.join(lacks)}, which the pool {name!r} "
                "cannot keep. Use the prefork pool, or take the limits out of the file."
            )


def _celerys_command_chose_the_pool() -> bool:
    context = context_of_celerys_command()
    return context is not None and context.get_parameter_source("pool") is ParameterSource.DEFAULT


def pool_class(name: str) -> str:
    """What Celery knows a pool of ``POOL_CAN`` by; other names are unchanged."""
    return direct.PLACE if name == "direct" else name


def pool_name(pool: Any) -> str:
    """The name in ``POOL_CAN`` of what Celery calls a pool: a name or class."""
    if isinstance(pool, str) and pool in POOL_CAN:
        return pool
    implementation = get_implementation(pool) if isinstance(pool, str) else pool
    for name in POOL_CAN:
        try:
            if get_implementation(pool_class(name)) is implementation:
                return name
        except ImportError:  # gevent and eventlet are extras
            continue
    return str(pool)
