"""What ``celery inspect`` and ``celery control`` ask of a direct group.

Celery's own handlers look into the lists of the parent, which runs nothing here. Those that do not
look there (``ping``, ``stats``, ``registered``, ``conf``, ``shutdown``, ``pool_grow`` and more) are
Celery's own.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from celery.worker import control
from celery.worker import state as worker_state

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from laneway.worker.direct.member import Member


def _members(state: Any) -> list[Member]:
    watch = state.consumer.pool.watch
    return [member for member in watch.members if member.present] if watch is not None else []


def active(state: Any, safe: bool = False) -> list[dict[str, Any]]:
    """``celery inspect active``: the jobs that run now."""
    del safe
    return [_job(state, member) for member in _members(state) if member.slot.running]


def _job(state: Any, member: Member) -> dict[str, Any]:
    slot, known = member.slot, member.request or {}
    return {
        "id": slot.task_id.decode("utf-8", "replace"),
        "name": slot.task.decode("utf-8", "replace"),
        "args": known.get("argsrepr"),
        "kwargs": known.get("kwargsrepr"),
        "type": slot.task.decode("utf-8", "replace"),
        "hostname": state.hostname,
        "time_start": time.time() - (time.monotonic() - slot.began),
        "acknowledged": False,
        "delivery_info": known.get("delivery_info", {"redelivered": bool(slot.redelivered)}),
        "worker_pid": member.pid,
    }


def reserved(state: Any, **_: Any) -> list[dict[str, Any]]:
    """``celery inspect reserved``: what is held ahead is known by number only (see ``stats``)."""
    del state
    return []


def query_task(state: Any, ids: Any, **_: Any) -> dict[str, Any]:
    """``celery inspect query_task``: which of these jobs run here."""
    wanted = {ids} if isinstance(ids, str) else set(ids)
    return {job["id"]: ["active", job] for job in active(state) if job["id"] in wanted}


def revoke(
    state: Any, task_id: Any, terminate: bool = False, signal: Any = None, **_: Any
) -> dict[str, str]:
    """``celery control revoke``: do not run these jobs; with ``terminate`` end those that run.

    A job that runs is ended with its process, whatever ``signal`` says: the parent then settles it.
    """
    del signal
    ids = [task_id] if isinstance(task_id, str) else list(task_id)
    worker_state.revoked.update(ids)
    pool = state.consumer.pool
    pool.revoked.add(ids)
    watch = pool.watch
    if watch is None:
        return _ok("the worker is leaving")
    ended = [one for one in ids if terminate and watch.end_job(one)]
    return _ok(f"terminate: {', '.join(ended)}" if ended else f"tasks {', '.join(ids)} flagged")


def terminate(state: Any, signal: Any, task_id: Any, **_: Any) -> dict[str, str]:
    """``celery control terminate``."""
    return revoke(state, task_id, terminate=True, signal=signal)


def cancel_consumer(state: Any, queue: str, **_: Any) -> dict[str, str]:
    """``celery control cancel_consumer``: take no more jobs."""
    if queue != state.app.serving:
        return {
            "error": f"expected {state.app.serving!r}, the queue of this worker, got: {queue!r}"
        }
    state.consumer.pool.halt()
    return _ok(f"no longer consuming from {queue}")


def add_consumer(state: Any, queue: str, **_: Any) -> dict[str, str]:
    """``celery control add_consumer``: take jobs again."""
    if queue != state.app.serving:
        return {
            "error": f"expected {state.app.serving!r}, the queue of this worker, got: {queue!r}"
        }
    state.consumer.pool.consume()
    return _ok(f"consuming from {queue}")


def enable_events(state: Any, **_: Any) -> dict[str, str]:
    """``celery control enable_events``: send task events."""
    return _switched(state, control.enable_events(state))


def disable_events(state: Any, **_: Any) -> dict[str, str]:
    """``celery control disable_events``: send no task events."""
    return _switched(state, control.disable_events(state))


def _switched(state: Any, answer: dict[str, str]) -> dict[str, str]:
    state.consumer.pool.send_events(state.consumer.wants_task_events)
    return answer


def _ok(what: str) -> dict[str, str]:
    return {"ok": what}


def _cannot(state: Any, **_: Any) -> dict[str, str]:
    del state
    return {"error": "the direct pool cannot do this; the queue's file says it for all workers"}


#: By the name of the command.
COMMANDS: Final[Mapping[str, Callable[..., Any]]] = {
    "active": active,
    "dump_active": active,
    "reserved": reserved,
    "dump_reserved": reserved,
    "query_task": query_task,
    "revoke": revoke,
    "terminate": terminate,
    "cancel_consumer": cancel_consumer,
    "add_consumer": add_consumer,
    "enable_events": enable_events,
    "disable_events": disable_events,
    "time_limit": _cannot,
    "rate_limit": _cannot,
    "revoke_by_stamped_headers": _cannot,
    "autoscale": _cannot,
}
