"""Work with the broker that must not hold up the worker's loop: letters, and what is handed back.

Threads of the desk publish and wait for the confirm; the message is settled in the loop, whose
channel no other thread may use.
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any, Final, TypeVar

from celery.utils.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

log = get_logger(__name__)

T = TypeVar("T")

#: What is under way at the same time; each takes a connection of the publisher.
THREADS: Final = 4


class Desk:
    """Does things aside, and comes back to the loop with what came of them.

    Args:
        in_loop: calls something in the worker's loop, soon; from any thread.
    """

    def __init__(self, in_loop: Callable[[Callable[[], None]], Any]) -> None:
        self._in_loop = in_loop
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="desk")
        self._under_way: set[Future[None]] = set()
        self._lock = threading.Lock()
        self._done: deque[Callable[[], None]] = deque()

    def do(self, work: Callable[[], T], then: Callable[[T], None]) -> None:
        """Do ``work`` in a thread, and ``then`` in the loop, with what it returned.

        Args:
            work: raises nothing.
            then: settles.
        """

        def run() -> None:
            result = work()
            self._done.append(lambda: then(result))
            self._in_loop(self.settle)

        future = self._threads.submit(run)
        with self._lock:
            self._under_way.add(future)
        future.add_done_callback(self._forget)

    def _forget(self, future: Future[None]) -> None:
        with self._lock:
            self._under_way.discard(future)
        if error := future.exception():
            log.error("work aside failed, the broker gives its message again: %r", error)

    def settle(self) -> None:
        """Settle what is done; in the loop."""
        while self._done:
            self._done.popleft()()

    def close(self, seconds: float) -> None:
        """Wait for what is under way, and settle it; the loop has ended and calls nothing more.

        Args:
            seconds: what takes longer is left to the broker, which delivers it again.
        """
        with self._lock:
            left = set(self._under_way)
        wait(left, seconds)
        self._threads.shutdown(wait=False, cancel_futures=True)
        self.settle()
