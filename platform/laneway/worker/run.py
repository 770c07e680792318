"""Starting the worker of one queue."""

from __future__ import annotations

import importlib
import os
import socket
from typing import TYPE_CHECKING

from laneway.app import Laneway
from laneway.errors import WorkerError
from laneway.probes import address_of_health
from laneway.worker.job_worker import pool_class

if TYPE_CHECKING:
    from types import ModuleType


def load_app(place: str) -> Laneway:
    """Import the application named by ``package.module:attribute``.

    Without ``:attribute`` the module's ``app`` or ``celery`` is taken.

    Raises:
        WorkerError: the module cannot be imported, or the attribute is not a Laneway application.
    """
    module_name, _, attribute = place.partition(":")
    module = _import(module_name, place)
    names = [attribute] if attribute else ["app", "celery"]
    found = [getattr(module, name) for name in names if hasattr(module, name)]
    if not found:
        raise WorkerError(
            f"--app {place}: expected {module_name} to have {' or '.join(map(repr, names))}, got "
            "neither. Name it: --app package.module:attribute"
        )
    app = found[0]
    if not isinstance(app, Laneway):
        raise WorkerError(
            f"--app {place}: expected a laneway.Laneway application, got {type(app).__module__}."
            f"{type(app).__qualname__}. Change 'from celery import Celery' and Celery(...) to "
            "'from laneway import Laneway' and Laneway(...)."
        )
    return app


def _import(module_name: str, place: str) -> ModuleType:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name + ".").startswith(error.name + "."):
            raise WorkerError(
                f"--app {place}: no module {error.name!r} on the import path. Run where it can be "
                "imported, or set PYTHONPATH."
            ) from error
        raise


def run_worker(
    app: Laneway,
    queue: str,
    *,
    concurrency: int | None = None,
    pool: str | None = None,
    hostname: str | None = None,
    health: str | None = None,
    events: bool | None = None,
) -> int:
    """Serve ``queue`` in this process until told to stop; return the exit status.

    Args:
        app: the application whose tasks run.
        queue: the one queue; its file gives everything that is not said here.
        concurrency: jobs at the same time, instead of the file's.
        pool: Celery's pool, instead of the file's.
        hostname: the worker's node name; ``<queue>@<host>.<pid>`` if None.
        health: ``HOST:PORT`` of ``/livez``, ``/readyz`` and ``/metrics``; ``$LANEWAY_HEALTH``, else
            nowhere.
        events: whether to send task events; ``worker_send_task_events`` if None.

    Raises:
        UnknownQueue: the policy has no such queue.
        WorkerError: the pool cannot keep what the file promises, or a setting is wrong.
    """
    spec = app.policy.queue(queue)
    worker = app.Worker(
        hostname=hostname or f"{queue}@{socket.gethostname()}.{os.getpid()}",
        queues=[queue],
        pool=pool_class(pool or spec.worker.pool),
        concurrency=concurrency or spec.worker.concurrency,
        health_address=address_of_health(health),
        task_events=events,
        quiet=True,
    )
    worker.start()
    return int(worker.exitcode or 0)
