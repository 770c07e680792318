"""The shortest way of a call: ``task.delay(…)`` and ``task.apply_async(…)`` with nothing unusual.

While a caller waits for a confirm the processor forgets his code, so what a call costs is how much
code and data it looks at. What task, policy and settings say of a call is found out once, in a
:class:`Plan`; a later call of the same shape only looks whether that still holds. All other calls
go the longer way, by :meth:`Task.apply_async` and :meth:`PublishingApp.send_task`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from celery import Task

from laneway.calls import job_id
from laneway.calls.prepared import Kept, PreparedCall
from laneway.calls.sender import (
    LONGEST_ID,
    have_contradicting_limits,
    is_celerys_own,
    nobody_listens,
)
from laneway.errors import CallError, LanewayError
from laneway.publish import taker

if TYPE_CHECKING:
    from celery.result import AsyncResult

    from laneway.calls.publishing import PublishingApp
    from laneway.calls.sender import Sender

# What a plan can be made for; any other option sends a call the longer way.
_PLANNED: Final = frozenset(
    {"queue", "priority", "time_limit", "soft_time_limit", "ignore_result", "shadow"}
)


class Plan(NamedTuple):
    """What all calls of one shape have in common."""

    prepared: PreparedCall
    #: What it was made of: the task's own options, and whether the task ignores results.
    own: Any
    ignore_result: Any


class Shortcut:
    """Publishes the ordinary calls of an application's tasks.

    Args:
        app: the application.
        sender: knows what is ordinary.
    """

    def __init__(self, app: PublishingApp, sender: Sender) -> None:
        self._app = app
        self._sender = sender
        self._plans: Kept[Plan] = Kept()
        # The settings that were looked at, and the names of one in them.
        self._conf: Any = None
        self._eager: tuple[str, ...] = ()

    def publish(
        self, task: Task, args: Any, kwargs: Any, options: dict[str, Any]
    ) -> AsyncResult | None:
        """Publish a call; None, before anything was done, if it must go the longer way.

        Raises:
            TypeError: the task does not take these arguments.
            CallError: the arguments cannot be sent.
            PublishError: the broker did not accept the job.
        """
        app = self._app
        args, kwargs = args or (), kwargs or {}
        if (
            not nobody_listens()
            or not is_celerys_own()
            or type(kwargs) is not dict
            or (type(args) is not tuple and type(args) is not list)
            or taker.current() is not None
            # The longer way takes over what a job hands down to those that it publishes.
            or app.current_worker_task is not None
        ):
            return None
        task_id = None
        if "task_id" in options:
            options = dict(options)
            task_id = options.pop("task_id")
            if type(task_id) is not str or not 0 < len(task_id) <= LONGEST_ID:
                return None
        prepared = self._prepared(task, options)
        if prepared is None or self._is_eager() or have_contradicting_limits(task):
            return None
        if task.typing and hasattr(task, "__header__"):
            task.__header__(*args, **kwargs)
        task_id = task_id or job_id.new()
        followed = self._sender.follow(prepared, task_id, None) if app.tracer else None
        size = 0
        try:
            message = prepared.write_plain(
                task_id,
                args,
                kwargs,
                app.thread_oid,
                round(time.time(), 6),
                followed.headers if followed else None,
            )
            size = len(message.body)
            if not prepared.ignore_result:
                self._sender.expect_result(task_id)
            app.publisher(prepared.vhost).publish(message)
        except LanewayError as error:
            if followed is not None:
                followed.end(size, error)
            app.tell_refused(error, prepared.told(task_id))
            raise
        if followed is not None:
            followed.end(size)
        if app.facts.is_heard:
            app.facts.tell("published", **prepared.told(task_id))
        if type(task).AsyncResult is Task.AsyncResult:
            result = app.AsyncResult(task_id, task.backend)
        else:
            result = task.AsyncResult(task_id)
        result.ignored = prepared.ignore_result
        return result

    def _prepared(self, task: Task, options: dict[str, Any]) -> PreparedCall | None:
        """What is kept for calls like this one, if it still holds, or made anew."""
        # Equal is not the same: 1, 1.0 and True differ in a message.
        shape = (task, *options.items(), *map(type, options.values())) if options else task
        try:
            plan = self._plans.get(shape)
        except TypeError:  # a value that cannot be a key, such as a list
            return None
        if (
            plan is not None
            and plan.own is task._get_exec_options()  # noqa: SLF001 (see test_celery_contract.py)
            and plan.ignore_result is task.ignore_result
            and self._conf is self._app.conf
        ):
            return plan.prepared
        if not options.keys() <= _PLANNED:
            return None
        try:
            prepared = self._sender.prepare(task, options)
        except CallError:  # the longer way tells of it
            return None
        if prepared is None:
            return None
        own = task._get_exec_options()  # noqa: SLF001 (the same)
        self._plans.keep(shape, Plan(prepared, own, task.ignore_result))
        self._conf = conf = self._app.conf
        self._eager = tuple(dict.fromkeys(conf._to_keys("task_always_eager")))  # noqa: SLF001 (the same)
        return prepared

    def _is_eager(self) -> bool:
        """``conf.task_always_eager``, which tests set at any time.

        As Celery finds it, without an exception for each place where it is not.
        """
        names = self._eager
        for settings in self._conf.maps:
            for name in names:
                if name in settings:
                    return bool(settings[name])
        return False
