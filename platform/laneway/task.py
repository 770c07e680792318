"""The base class of tasks of a Laneway application."""

from __future__ import annotations

from typing import Any

from celery import Task

from laneway import delay


class JobTask(Task):
    """Celery's task; a wrong call is refused also where tests run tasks eagerly."""

    abstract = True

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
