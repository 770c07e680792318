"""The base class of tasks of a Laneway application."""

from __future__ import annotations

import random
import sys
from typing import TYPE_CHECKING, Any, ClassVar

from celery import Task
from celery.utils.serialization import raise_with_context

from laneway.once.around import own_of
from laneway.once.guard import bind_once
from laneway.once.once import Once, once_of
from laneway.once.unique import Unique, bind_unique, unique_of
from laneway.publish import delay
from laneway.retry.backoff import Backoff, retry_after
from laneway.sentry_args import check_names, sentry_args_of

if TYPE_CHECKING:
    from collections.abc import Sequence


class JobTask(Task):
    """Celery's task; a wrong call is refused also where tests run tasks eagerly."""

    abstract = True

    #: The waits between this task's retries, instead of those of its queue's file.
    backoff: ClassVar[Backoff | None] = None

    #: How its jobs run effectively once: how long done ones are remembered (``"1d"``), or a
    #: :class:`laneway.Once`.
    once: ClassVar[Once | str | None] = None

    #: Until when no equal job is published: ``"until-start"``, ``"until-done"``, or a
    #: :class:`laneway.Unique`.
    unique: ClassVar[Unique | str | None] = None

    #: Names of arguments that may be seen in Sentry; of all others not even their values in texts.
    sentry_args: ClassVar[Sequence[str]] = ()

    @classmethod
    def on_bound(cls, app: Any) -> None:
        """Celery's hook of a task that gets its application; what is asked for is put around it.

        Raises:
            ValueError: ``once``, ``unique`` or ``sentry_args`` says what it cannot.
        """
        super().on_bound(app)
        cls.sentry_args = sentry_args_of(cls.sentry_args)
        if cls.sentry_args:
            _, signature = own_of(cls, "run")
            check_names(cls.name, cls.sentry_args, signature)
        cls.once, cls.unique = once_of(cls.once), unique_of(cls.unique)
        if cls.once is not None:
            bind_once(cls, cls.once)
        if cls.unique is not None:
            bind_unique(cls, cls.unique, app)

    def apply_async(
        self, args: Any = None, kwargs: Any = None, *positional: Any, **options: Any
    ) -> Any:
        """Celery's ``apply_async``; ``queue=``, ``priority=`` and ``countdown=`` among its options.

        Raises:
            CallError: the call is wrong. Nothing was published, and nothing run.
            PublishError: the broker did not accept the job.
        """
        app = self.app
        if not positional:
            result = app.publish_shortly(self, args, kwargs, options)
            if result is not None:
                return result
        if app.conf.task_always_eager:
            delay.whole_seconds(options.get("countdown"), options.get("eta"), now=app.now())
            app.decide(self.name, kwargs, **options)
        return super().apply_async(args, kwargs, *positional, **options)

    def retry(
        self,
        args: Any = None,
        kwargs: Any = None,
        exc: BaseException | None = None,
        throw: bool = True,
        eta: Any = None,
        countdown: float | None = None,
        max_retries: int | None = None,
        **options: Any,
    ) -> Any:
        """Celery's ``retry``; it waits in the broker, and without a time given as the policy says.

        The wait is drawn with full jitter between nothing and a bound that doubles (``backoff=`` of
        the task, else ``[retry]`` of its queue), and is at least what the error's ``Retry-After``
        asks for. A ``default_retry_delay`` that the task sets is kept. A retry because of an error
        counts against the queue's retry budget; without budget the error is raised, as after the
        last retry. A retry without an error (waiting for something) costs nothing.

        Raises:
            Retry: always, if it will run again and ``throw`` is true.
            BaseException: ``exc``, or MaxRetriesExceededError, if it will not.
        """
        request = self.request
        most = self.max_retries if max_retries is None else max_retries
        last = most is not None and request.retries >= most
        if not (request.called_directly or request.is_eager or last):
            error = exc or sys.exc_info()[1]
            asked = countdown is not None or bool(eta)
            if not asked:
                countdown = self._wait(error)
            if error is not None:
                turn = self._turn()
                if turn is None:
                    self._give_up(exc)
                elif turn > (delay.whole_seconds(countdown, eta, now=self.app.now()) or 0):
                    countdown, eta = turn, None
        return super().retry(
            args,
            kwargs,
            exc=exc,
            throw=throw,
            eta=eta,
            countdown=countdown,
            max_retries=max_retries,
            **options,
        )

    def _wait(self, error: BaseException | None) -> float:
        if _says(self, "default_retry_delay") and self.backoff is None:
            wait = float(self.default_retry_delay)
        else:
            wait = self._backoff().wait(self.request.retries, random.random)
        return max(wait, retry_after(error, now=self.app.now) or 0.0)

    def _backoff(self) -> Backoff:
        if self.backoff is not None:
            return self.backoff
        queue = self.app.policy.queues.get(self.app.serving)
        return Backoff() if queue is None else Backoff(queue.retry.first, queue.retry.longest)

    def _turn(self) -> float | None:
        """Seconds until the budget has a retry for this job; None if that is too long."""
        budget = self.app.retry_budget
        return 0.0 if budget is None else budget.reserve(self._backoff().longest)

    def _give_up(self, exc: BaseException | None) -> None:
        note = (
            f"not retried: the retry budget of the queue {self.app.serving!r} is used up (share = "
            f"{self.app.policy.queue(self.app.serving).retry.budget:g} of the jobs that start)"
        )
        if exc is not None:
            exc.add_note(note)
            raise_with_context(exc)
        raise self.MaxRetriesExceededError(f"{self.name}[{self.request.id}]: {note}")


def _says(task: Task, attribute: str) -> bool:
    """Whether a task, or a base class of the project's, sets what Celery's has a default for."""
    return any(
        attribute in vars(kind) for kind in type(task).__mro__ if kind not in JobTask.__mro__
    )
