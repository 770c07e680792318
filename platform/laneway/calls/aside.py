"""Publishing from an asyncio service: a thread waits for the confirm, the loop goes on.

The client of the broker is one that blocks, so each call runs in a thread of a small pool; as many
as there are connections, for more would only wait for one.
"""

from __future__ import annotations

import contextvars
import functools
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from celery import Task
from celery.canvas import Signature

from laneway.after_fork import start_afresh_in_child
from laneway.publish.publisher import POOL_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable

    from laneway.calls.publishing import PublishingApp


class Aside:
    """The threads behind ``asend`` of one application; made when first needed."""

    def __init__(self) -> None:
        self.start_afresh()
        start_afresh_in_child(self)

    def start_afresh(self) -> None:
        """Have no threads: the parent's are not here, and its lock may never be released."""
        self._lock = threading.Lock()
        self._threads: ThreadPoolExecutor | None = None

    async def run(self, function: Callable[[], Any]) -> Any:
        """Run it in a thread, with the caller's context variables, and wait without blocking."""
        # Whoever calls this has loaded it; workers and commands have no use for it.
        import asyncio  # noqa: PLC0415

        context = contextvars.copy_context()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor(), context.run, function)

    def close(self) -> None:
        """Wait for the calls under way; the next one makes new threads."""
        with self._lock:
            threads, self._threads = self._threads, None
        if threads is not None:
            threads.shutdown()

    def _executor(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(POOL_SIZE, thread_name_prefix="laneway-asend")
            return self._threads


def call_of(
    app: PublishingApp,
    what: Task | Signature | str,
    args: Any,
    kwargs: Any,
    options: dict[str, Any],
) -> Callable[[], Any]:
    """The blocking call that is meant.

    Raises:
        TypeError: ``what`` is nothing that can be called.
    """
    if isinstance(what, str):
        return functools.partial(app.send_task, what, args, kwargs, **options)
    if isinstance(what, Task | Signature):
        return functools.partial(what.apply_async, args, kwargs, **options)
    raise TypeError(f"expected a task, its name or a signature, got: {what!r}")
