"""The short way of a call: from what the caller said to a message, with little more than its own.

What a short call cannot have (callbacks, stamps, an ETA, receivers of Celery's publish signals …)
goes Celery's own way; :meth:`Sender.write` says so by returning None, before anything was done.
"""

from __future__ import annotations

import inspect
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from celery import Celery, Task, signals
from celery.app.amqp import AMQP
from celery.backends.base import Backend

from laneway.calls import call
from laneway.calls.prepared import Kept, PreparedCall
from laneway.publish import arguments, producer
from laneway.task import JobTask

if TYPE_CHECKING:
    from collections.abc import Mapping

    from laneway.calls.publishing import PublishingApp
    from laneway.publish.frames import Publish
    from laneway.publish.tracing import Followed

# Part of the shape of a call: what is prepared depends on their values.
_SHAPE: Final = ("queue", "priority", "time_limit", "soft_time_limit", "ignore_result", "shadow")
# Each call's own.
_OWN: Final = frozenset(
    {"group_id", "group_index", "root_id", "parent_id", "result_cls", "task_type", "add_to_parent",
     "timeout"}
)  # fmt: skip
# What says nothing else than what is so anyway.
_USUAL: Final[Mapping[str, tuple[Any, ...]]] = {
    "serializer": ("json", "application/json"),
    "delivery_mode": (2, "persistent"),
    "mandatory": (True,),
    "retries": (0,),
    "replaced_task_nesting": (0,),
    "link": (),
    "link_error": (),
}
_KNOWN: Final = frozenset({*_SHAPE, *_OWN})
# Characters of an id whose bytes are sure to fit into a property.
LONGEST_ID: Final = 60
_TEXT_OR_NONE: Final = frozenset({str, type(None)})
# What the short way replaces, as long as no tracing package has put its own in its place.
_CELERYS_SEND_TASK: Final = Celery.send_task
_CELERYS_APPLY_ASYNC: Final = Task.apply_async
_IS_WRAPPED: Final = hasattr(Celery.send_task, "__wrapped__")
_IS_TASK_WRAPPED: Final = hasattr(Task.apply_async, "__wrapped__")


class Written(NamedTuple):
    """A job whose message is written."""

    task_id: str
    call: PreparedCall
    message: Publish
    #: Who follows its publish, if anybody does.
    followed: Followed | None


class Sender:
    """Writes the messages of an application's calls.

    Args:
        app: the application.
    """

    def __init__(self, app: PublishingApp) -> None:
        self._app = app
        self._calls: Kept[PreparedCall] = Kept()

    def write(
        self, name: str, args: Any, kwargs: Any, task_id: str, options: dict[str, Any]
    ) -> Written | None:
        """The message of a call; None if the call must go Celery's own way.

        Raises:
            CallError: the call is wrong; one of the leaves says what.
        """
        if not nobody_listens():
            return None
        args, kwargs = args or (), kwargs or {}
        if type(kwargs) is not dict or type(args) not in {tuple, list}:
            return None
        app = self._app
        task = app.tasks.get(name)
        said = options if "task_type" in options else _with_the_tasks_own(task, options)
        if said is None or not _is_short(said, task_id):
            return None
        parent = app.current_worker_task
        prepared = self._prepare(name, kwargs, task_id, options, said, task, parent)
        if prepared is None:
            return None
        root_id, parent_id = said.get("root_id"), said.get("parent_id")
        if parent and not (root_id and parent_id):
            root_id = root_id or parent.request.root_id or parent.request.id
            parent_id = parent_id or parent.request.id
        followed = self.follow(prepared, task_id, parent) if app.tracer else None
        message = prepared.write(
            task_id,
            args,
            kwargs,
            root_id=root_id or task_id,
            parent_id=parent_id,
            reply_to=app.thread_oid,
            ready_at=round(time.time(), 6),
            group=(said.get("group_id"), said.get("group_index")),
            more=followed.headers if followed else None,
        )
        return Written(task_id, prepared, message, followed)

    def follow(self, prepared: PreparedCall, task_id: str, parent: Any) -> Followed | None:
        """Let a publish be followed, unless its queue is a secure one.

        Args:
            prepared: what is published.
            task_id: the job's id.
            parent: the task whose job publishes it, if any.
        """
        tracer = self._app.tracer
        if tracer is None or prepared.vhost == "secure":
            return None
        decision = prepared.decision
        return tracer.follow(decision.task, task_id, decision.queue, parent=parent)

    def options_of(
        self, task: Task, args: Any, kwargs: Any, options: dict[str, Any]
    ) -> dict[str, Any] | None:
        """What ``apply_async`` of a task would hand to ``send_task``; None if it does more.

        Raises:
            TypeError: the task does not take these arguments.
        """
        merged = self._merged(task, options)
        if merged is not None and task.typing and hasattr(task, "__header__"):
            task.__header__(*args, **kwargs)
        return merged

    def prepare(self, task: Task, options: dict[str, Any]) -> PreparedCall | None:
        """What the jobs of ``apply_async`` of a task with these options, and no parent, share.

        None if they must go Celery's own way.

        Raises:
            CallError: the call is wrong.
        """
        said = self._merged(task, options)
        if said is None or not _is_short(said, ""):
            return None
        return self._prepare(task.name, {}, "", said, said, task, None)

    def _merged(self, task: Task, options: dict[str, Any]) -> dict[str, Any] | None:
        kind = type(task)
        if (
            not is_celerys_own()
            or kind.apply_async is not JobTask.apply_async
            or kind.shadow_name is not Task.shadow_name
            or task._dump_pydantic_arguments is not None  # noqa: SLF001 (see test_celery_contract.py)
            or have_contradicting_limits(task)
        ):
            return None
        own = task._get_exec_options()  # noqa: SLF001 (see test_celery_contract.py)
        merged = {**own, "ignore_result": task.ignore_result, **options}
        merged["task_type"] = task
        return merged

    def expect_result(self, task_id: str) -> None:
        """Tell the result backend of a job whose result will be asked for."""
        backend = self._app.backend
        if type(backend).on_task_call is not Backend.on_task_call:
            backend.on_task_call(None, task_id)

    def _prepare(
        self,
        name: str,
        kwargs: dict[str, Any],
        task_id: str,
        options: dict[str, Any],
        said: dict[str, Any],
        task: Any,
        parent: Any,
    ) -> PreparedCall | None:
        values = tuple([said.get(option) for option in _SHAPE])
        around = (
            name,
            getattr(task, "queue", None),
            getattr(task, "priority", None),
            call.priority_of(parent),
        )
        # Equal is not the same: 1, 1.0 and True differ in a message.
        shape = (values, around, tuple([type(value) for value in (*values, *around)]))
        try:
            prepared = self._calls.get(shape)
        except TypeError:  # a value that cannot be a key, such as a list
            return None
        if prepared is None:
            if name in call.CARRIERS or not self._is_plain():
                return None
            decision = self._app.decide(name, kwargs, task_id=task_id, **options)
            prepared = self._make(decision, said)
            self._calls.keep(shape, prepared)
        return prepared

    def _make(self, decision: Any, said: dict[str, Any]) -> PreparedCall:
        app = self._app
        return PreparedCall(
            decision=decision,
            vhost=app.policy.queues[decision.queue].vhost,
            shadow=said.get("shadow"),
            time_limit=said.get("time_limit"),
            soft_time_limit=said.get("soft_time_limit"),
            ignore_result=said.get("ignore_result"),
            text_lengths=(app.amqp.argsrepr_maxsize, app.amqp.kwargsrepr_maxsize),
            text_levels=app.conf.task_repr_maxlevels,
            max_bytes=app.max_message_bytes,
        )

    def _is_plain(self) -> bool:
        """Whether the application sends as Celery does, with nothing of the project's own."""
        app = self._app
        maker = app.amqp.task_protocols[2]
        return (
            type(app.amqp) is AMQP
            and getattr(maker, "__func__", None) is AMQP.as_task_v2
            # Celery warns that it has no effect here.
            and not app.conf.task_always_eager
            and not app.conf.task_send_sent_event
            and not app.conf.task_compression
            # (Nor does ours for Redis want to know of a call.)
            and type(app.backend).on_task_call is Backend.on_task_call
            and arguments.is_kombus_json()
        )


def nobody_listens() -> bool:
    """Whether nobody wants to see, or to change, what is published."""
    return (
        not signals.before_task_publish.receivers
        and not signals.after_task_publish.receivers
        and not signals.task_sent.receivers
        and Celery.send_task is _CELERYS_SEND_TASK
        and not _IS_WRAPPED
        and producer.is_kombus_own()
    )


def is_celerys_own() -> bool:
    """Whether ``Task.apply_async`` is untouched: a package that wrapped it wants to be called."""
    return Task.apply_async is _CELERYS_APPLY_ASYNC and not _IS_TASK_WRAPPED


def have_contradicting_limits(task: Task) -> bool:
    """Whether Celery refuses every call of a task, for its limits."""
    soft, hard = task.soft_time_limit, task.time_limit
    return bool(soft and hard and soft > hard)


def _with_the_tasks_own(task: Any, options: dict[str, Any]) -> dict[str, Any] | None:
    """The options of ``send_task`` with those of the task, as Celery merges them."""
    own = getattr(task, "_get_exec_options", None)
    if own is None:
        return options
    if not inspect.ismethod(own):
        return None
    return {**{key: value for key, value in own().items() if value is not None}, **options}


def _is_short(said: dict[str, Any], task_id: str) -> bool:
    """Whether nothing is asked for that only Celery's own way does."""
    for option, value in said.items():
        if value is None or option in _KNOWN:
            continue
        if option not in _USUAL or (value and value not in _USUAL[option]):
            return False
    # None is a value of its own for these two.
    if said.get("retries", 0) is None or said.get("replaced_task_nesting", 0) is None:
        return False
    if type(task_id) is not str or len(task_id) > LONGEST_ID:
        return False
    return all(type(said.get(one)) in _TEXT_OR_NONE for one in ("root_id", "parent_id"))
