"""The Celery application with the platform's promises: ``app = Laneway("shop")``.

Everything of Celery's works: ``@app.task``, ``@shared_task``, ``delay``, ``apply_async``,
``send_task``, signatures and canvas. What differs is where a job goes (the policy decides), how it
is published (see :mod:`laneway.calls.publishing`) and which settings a project may not undo (see
:mod:`laneway.settings`).
"""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from laneway import settings
from laneway.broker import BrokerAddress, VhostKind, broker_address
from laneway.calls import scheduled
from laneway.calls.prepared import QUEUE_HEADER, READY_AT_HEADER
from laneway.calls.publishing import PublishingApp
from laneway.celery_command import plain_errors
from laneway.errors import SettingsError
from laneway.once import marked
from laneway.once.lease import Renewal
from laneway.once.marks import Marks, redis_url
from laneway.policy import Policy, load_policy
from laneway.publish.publisher import DEFAULT_DEADLINE, DEFAULT_MAX_MESSAGE_BYTES
from laneway.results.result import JobResult
from laneway.retry.budget import RetryBudget

if TYPE_CHECKING:
    from laneway.results.late import LateResults

__all__ = ["QUEUE_HEADER", "READY_AT_HEADER", "Laneway"]


class Laneway(PublishingApp):
    """A Celery application on the platform.

    Args:
        main: the name of the application, used for tasks of the ``__main__`` module.
        policy: the policy, or the folder that holds ``routing.py`` and ``queues/``. By default
            ``$LANEWAY_POLICY``, the policy in the wheel, or the checkout's.
        address: where the broker is, instead of ``$LANEWAY_BROKER_URL``, the project's
            ``broker_url`` and ``vhost_prefix``.
        vhost_prefix: what the names of the virtual hosts begin with; ``$LANEWAY_VHOST_PREFIX``,
            else nothing.
        publish_deadline: seconds that one publish may take in all;
            ``$LANEWAY_PUBLISH_DEADLINE``, else 10.
        max_message_bytes: the largest serialised job; ``$LANEWAY_MAX_MESSAGE_BYTES``, else 1 MiB.
        **celery: everything else is Celery's own.

    Raises:
        PolicyError: the policy has problems; all of them.
    """

    task_cls = "laneway.task:JobTask"

    def __init__(
        self,
        main: str | None = None,
        *args: Any,
        policy: Policy | Path | str | None = None,
        address: BrokerAddress | None = None,
        vhost_prefix: str | None = None,
        publish_deadline: float | None = None,
        max_message_bytes: int | None = None,
        **celery: Any,
    ) -> None:
        with plain_errors():
            loaded = policy if isinstance(policy, Policy) else load_policy(_path(policy))
        self._address = address
        self._vhost_prefix = vhost_prefix
        self._vhost: VhostKind = "jobs"
        #: The queue whose worker this process is; None in a producer.
        self.serving: str | None = None
        #: What retries of the queue served may cost; None in a producer.
        self.retry_budget: RetryBudget | None = None
        #: Results that wait for their backend; None in a producer.
        self.late_results: LateResults | None = None
        #: What reports failures to Sentry (:class:`laneway.sentry.reporter.Reporter`, which stands
        #: above this module); None where no DSN is set, and in a producer.
        self.reporter: Any = None
        self._settings_error: SettingsError | None = None
        scheduled.connect()
        super().__init__(
            main,
            *args,
            policy=loaded,
            publish_deadline=_positive(
                "LANEWAY_PUBLISH_DEADLINE", publish_deadline, DEFAULT_DEADLINE
            ),
            max_message_bytes=int(
                _positive("LANEWAY_MAX_MESSAGE_BYTES", max_message_bytes, DEFAULT_MAX_MESSAGE_BYTES)
            ),
            **celery,
        )

    # -- configuration -----------------------------------------------------------------------

    def _load_config(self) -> Any:
        with plain_errors():
            return self._read_settings()

    def _read_settings(self) -> Any:
        if self._settings_error is not None:
            raise self._settings_error
        conf = super()._load_config()
        try:
            settings.raise_contradictions(conf, self.policy)
        except SettingsError as error:
            # Celery keeps what it has read: without this the next look would find the settings
            # in place, and neither the check nor the profile.
            self._settings_error, self._conf = error, None
            raise
        # Read once, before the profile puts the address of one virtual host in its place.
        given = settings.broker_url_of(conf)
        self._address = self._address or broker_address(
            None if os.environ.get("LANEWAY_BROKER_URL") else given,
            vhost_prefix=self._vhost_prefix,
        )
        self.loader.override_backends = {**settings.BACKENDS, **self.loader.override_backends}
        if backend := os.environ.get("LANEWAY_RESULT_BACKEND"):
            conf.result_backend = backend
        self._apply_profile(conf)
        return conf

    def _apply_profile(self, conf: Any) -> None:
        settings.apply_profile(
            conf, self.policy, vhost=self._vhost, broker_url=self.address.kombu_urls(self._vhost)
        )

    @property
    def address(self) -> BrokerAddress:
        """Where the broker is."""
        if self._address is None:
            self.conf.finalize()
        assert self._address is not None
        return self._address

    @cached_property
    def Worker(self) -> Any:  # noqa: N802 (Celery's own name for it)
        """The worker of exactly one queue, also behind ``celery -A … worker -Q high``."""
        return self.subclass_with_self("laneway.worker.job_worker:JobWorker")

    @cached_property
    def AsyncResult(self) -> Any:  # noqa: N802 (Celery's own name for it)
        """The class of what a call returns."""
        return self.subclass_with_self(JobResult, name="AsyncResult", reverse="AsyncResult")

    def task(self, *args: Any, **options: Any) -> Any:
        """Celery's decorator; what ``once=`` and ``unique=`` say is looked at right here.

        Raises:
            ValueError: one of them says what it cannot.
        """
        marked.check_options(options)
        return super().task(*args, **options)

    @cached_property
    def marks(self) -> Marks:
        """The marks in Redis of tasks that say ``once`` or ``unique``.

        Raises:
            SettingsError: there is no Redis.
        """
        url = redis_url(self.conf.result_backend)
        if url is None:
            raise SettingsError(
                "expected a Redis for once= and unique=: LANEWAY_REDIS_URL, or a result backend "
                "redis://…, got neither. Set LANEWAY_REDIS_URL for workers and publishers."
            )
        return Marks(url, self.address.vhost_prefix)

    @cached_property
    def lease_renewal(self) -> Renewal:
        """Renews the leases of the jobs that run in this process."""
        return Renewal(self.marks)

    def close(self) -> None:
        """Close what Celery does, and the connections to Redis."""
        if "marks" in self.__dict__:
            self.marks.close()
        super().close()

    def serve(self, queue: str) -> None:
        """Make this process the worker of ``queue``: its virtual host and its shape.

        Raises:
            UnknownQueue: the policy has no such queue.
        """
        spec = self.policy.queue(queue)
        conf = self.conf
        conf.finalize()
        self._vhost = spec.vhost
        self._apply_profile(conf)
        self.serving = queue
        self.retry_budget = RetryBudget(spec.retry.budget)
        conf.worker_concurrency = spec.worker.concurrency
        conf.worker_max_tasks_per_child = spec.worker.max_tasks_per_child
        for name in ("queues", "default_queue"):
            self.amqp.__dict__.pop(name, None)


def _path(policy: Path | str | None) -> Path | None:
    return Path(policy) if policy is not None else None


def _positive(variable: str, given: float | None, default: float) -> float:
    text = os.environ.get(variable)
    if given is None and text is None:
        return default
    try:
        value = float(given if given is not None else text or "")
    except ValueError:
        value = 0
    if value <= 0:
        got = given if given is not None else text
        raise SettingsError(f"{variable}: expected a number above 0, got: {got!r}")
    return value
