"""A delivery as others know messages: as Celery's requests do, and as dead letters do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kombu.utils.imports import symbol_by_name

from laneway.deadletter.letter import Original

if TYPE_CHECKING:
    from collections.abc import Mapping

    from laneway.app import Laneway
    from laneway.broker.deliveries import Delivery


class _Message:
    def __init__(self, task_id: str, task: str, known: Mapping[str, Any]) -> None:
        headers = dict(known)
        embed = {key: headers.get(key) for key in ("callbacks", "errbacks", "chain", "chord")}
        self.delivery_info = headers.get("delivery_info") or {}
        self.payload = (headers.pop("args", []), headers.pop("kwargs", {}), embed)
        self.body = self.payload
        self.properties = {
            "priority": self.delivery_info.get("priority"),
            "reply_to": headers.get("reply_to"),
            "correlation_id": headers.get("correlation_id"),
        }
        self.headers = {**headers, "task": task, "id": task_id}


def request_of(
    app: Laneway,
    hostname: str,
    task_id: str,
    task: str,
    known: Mapping[str, Any],
    **options: Any,
) -> Any:
    """Celery's request of a job, as the parent of its prefork pool has one.

    Args:
        app: the application.
        hostname: the worker's node name.
        task_id: the job.
        task: the name under which its task is registered.
        known: what ``task.request`` holds, as far as it is known.
        **options: Celery's own: ``on_ack``, ``on_reject``, ``eventer``.
    """
    registered = app.tasks[task]
    return symbol_by_name(registered.Request)(
        _Message(task_id, task, known),
        app=app,
        hostname=hostname,
        task=registered,
        decoded=True,
        **options,
    )


def original_of(delivery: Delivery) -> Original:
    """The message as it was published."""
    return Original(
        exchange=delivery.exchange,
        routing_key=delivery.routing_key,
        properties=delivery.raw_properties,
        body=delivery.body,
    )
