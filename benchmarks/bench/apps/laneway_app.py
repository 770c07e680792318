"""Laneway, from this checkout. Its policy is named by ``LANEWAY_POLICY``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from bench.apps import DECLINING, NotOffered
from bench.jobs import JOBS, declining
from laneway import Laneway

if TYPE_CHECKING:
    from collections.abc import Iterable

app = Laneway("bench")
app.conf.task_ignore_result = True
tasks = {name: app.task(name=f"bench.{name}")(job) for name, job in JOBS.items()}
if os.environ.get(DECLINING):
    tasks["noop"] = app.task(name="bench.declining")(declining)


def publish_marked(kind: str, queue: str, priority: int | None, job: int) -> str:
    """Publish one job; return the id in its message."""
    return str(tasks[kind].apply_async((job,), **_options(queue, priority)).id)


def publish(kind: str, queue: str, priority: int | None, jobs: Iterable[int]) -> None:
    """Publish one job after the other, each confirmed before the next."""
    task, options = tasks[kind], _options(queue, priority)
    for job in jobs:
        task.apply_async((job,), **options)


def publish_many(kind: str, queue: str, jobs: Iterable[int]) -> str:
    """Publish many jobs as this system does it best; return how."""
    many = getattr(app, "publish_many", None)
    if many is None:
        raise NotOffered("this checkout's Laneway has no publish_many")
    task = tasks[kind]
    many(task.signature((job,), queue=queue) for job in jobs)
    return "app.publish_many"


def _options(queue: str, priority: int | None) -> dict[str, Any]:
    return {"queue": queue} if priority is None else {"queue": queue, "priority": priority}
