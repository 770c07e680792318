"""What a call says of its destination, and what of that is heard.

An option that would go around the policy, or that would have no effect, is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from laneway.calls.scheduled import MONITOR_OPTION
from laneway.errors import OptionRefused
from laneway.policy.queues import POOL_CAN
from laneway.settings import kombu_queue

if TYPE_CHECKING:
    from collections.abc import Mapping

    from laneway.policy.queues import Queue
    from laneway.policy.router import Decision, Router

_REFUSED_OPTIONS: Final[Mapping[str, str]] = {
    "exchange": "the policy decides; name a queue= instead",
    "exchange_type": "the policy decides; name a queue= instead",
    "routing_key": "the policy decides; name a queue= instead",
    "immediate": "RabbitMQ has no immediate publishing",
    "declare": "only 'laneway topology apply' declares",
}
_FIXED_OPTIONS: Final[Mapping[str, tuple[object, ...]]] = {
    "serializer": ("json", "application/json"),
    "delivery_mode": (2, "persistent"),
    "mandatory": (True,),
}
#: Celery's own tasks that run another task inside: the inner task's route is the one that counts.
CARRIERS: Final = frozenset({"celery.map", "celery.starmap", "celery.chunks"})
# What the decision replaces before Celery sees the options.
_DESTINATION: Final = frozenset(
    {
        *("queue", "priority", "redelivered", "publisher", MONITOR_OPTION),
        *_REFUSED_OPTIONS,
        *_FIXED_OPTIONS,
    }
)


def decide(
    router: Router,
    name: str,
    kwargs: Any,
    options: Mapping[str, Any],
    *,
    task: Any,
    parent: Any,
) -> Decision:
    """Where a call goes, and why.

    Args:
        router: the policy's.
        name: the task's name.
        kwargs: the task's keyword arguments (Celery's ``map`` and ``chunks`` carry a task there).
        options: as given to ``apply_async``.
        task: the task, if this process knows it.
        parent: the task whose job makes the call, if any.

    Raises:
        CallError: one of its leaves, when the call is refused.
    """
    again = _is_platforms_own(options, parent)
    if not again:
        _refuse_options(name, options)
    # apply_async has merged the task's attributes into the options already: what equals the
    # attribute was not said by the call.
    attribute_queue = _name(getattr(task, "queue", None))
    attribute_priority = getattr(task, "priority", None)
    queue, priority = _name(options.get("queue")), options.get("priority")
    return router.decide(
        _routed_name(name, kwargs),
        queue=None if again or queue == attribute_queue else queue,
        priority=None if again or priority is attribute_priority else priority,
        attribute_queue=attribute_queue,
        attribute_priority=attribute_priority,
        parent_priority=priority_of(parent),
        kept_queue=_kept_queue(options) if again else None,
        kept_priority=priority if again else None,
    )


def refuse_limits(name: str, options: Mapping[str, Any], queue: Queue) -> None:
    """Refuse a time limit that the queue's pool would ignore in silence.

    Raises:
        OptionRefused: names the limit and the pool.
    """
    can = POOL_CAN[queue.worker.pool]
    for limit in ("time_limit", "soft_time_limit"):
        if options.get(limit) and not getattr(can, limit) and "redelivered" not in options:
            raise OptionRefused(
                f"{name}: {limit}={options[limit]!r} is refused: the pool {queue.worker.pool!r} of "
                f"the queue {queue.name!r} cannot keep it. Take it out, or let a prefork queue run "
                "the task. Nothing was published."
            )


def without_destination(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that a decision leaves as they are."""
    return {key: value for key, value in options.items() if key not in _DESTINATION}


class Decided:
    """What Celery asks for the destination (its ``router``): already decided."""

    def __init__(self, decision: Decision) -> None:
        self.decision = decision

    def route(self, options: dict[str, Any], *_args: Any, **_kwargs: Any) -> dict[str, Any]:
        """Celery's question."""
        return {
            **without_destination(options),
            "queue": kombu_queue(self.decision.queue),
            "priority": self.decision.priority,
        }


def _is_platforms_own(options: Mapping[str, Any], parent: Any) -> bool:
    """Whether Celery re-publishes a job (a retry): it passes the old place as if it were given.

    Only ``Task.signature_from_request`` adds ``redelivered``; a job that came over the default
    exchange (an old project's ``celery`` queue) is known by its id and retry count instead.
    """
    if "redelivered" in options:
        return True
    if parent is None or options.get("task_id") != parent.request.id:
        return False
    return (options.get("retries") or 0) > (parent.request.retries or 0)


def _kept_queue(options: Mapping[str, Any]) -> str | None:
    """The queue of a re-publish: the routing key's last word (kombu puts a delay before it)."""
    key = options.get("routing_key") or _name(options.get("queue"))
    return str(key).rsplit(".", 1)[-1] if key else None


def _refuse_options(name: str, options: Mapping[str, Any]) -> None:
    for option, why in _REFUSED_OPTIONS.items():
        if options.get(option):
            raise OptionRefused(
                f"{name}: {option}={options[option]!r} is refused: {why}. Nothing was published."
            )
    for option, allowed in _FIXED_OPTIONS.items():
        given = options.get(option)
        if given is not None and given not in allowed:
            raise OptionRefused(
                f"{name}: expected {option} to be {allowed[0]!r} or left out, got: {given!r}. "
                "Nothing was published."
            )


def _routed_name(name: str, kwargs: Any) -> str:
    if name in CARRIERS and kwargs and "task" in kwargs:
        return str(kwargs["task"]["task"])
    return name


def _name(queue: Any) -> str | None:
    return getattr(queue, "name", queue) or None


def priority_of(parent: Any) -> int | None:
    """The priority of the job that makes a call, if there is one."""
    info = (parent.request.delivery_info or {}) if parent is not None else {}
    priority = info.get("priority")
    return priority if isinstance(priority, int) else None
