"""Closing events: what a storm held back is told when it is over, or when the process ends."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Final

from laneway.after_fork import start_afresh_in_child

if TYPE_CHECKING:
    from collections.abc import Callable

    from laneway.sentry.storm import Held, Storm

log = logging.getLogger(__name__)

#: Seconds between two looks at what is quiet.
TICK: Final = 5.0


class Closer:
    """Hands out what a storm holds back to ``send``: when it is quiet, and at the end.

    A daemon thread looks, so it keeps no process from ending; it begins when the process first
    holds a failure back, also in a forked child. Whoever made the closer calls :meth:`close` before
    the process ends.

    Args:
        storm: whose failures; a storm has one closer.
        send: makes a closing event. Called for one cause at a time, from the closer's thread or
            from that of :meth:`close`. What it raises is logged, with the count that is lost.
        tick: seconds between two looks.
    """

    def __init__(self, storm: Storm, send: Callable[[Held], None], *, tick: float = TICK) -> None:
        self._storm = storm
        self._send = send
        self._tick = tick
        self.start_afresh()
        start_afresh_in_child(self)
        storm.when_held(self._begin)

    def start_afresh(self) -> None:
        """Have no thread: that of the parent is not in this process."""
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def close(self, deadline: float) -> None:
        """Send everything that is held back. Failures held back later begin anew.

        Args:
            deadline: seconds after which no further event is begun; what is left is logged.
        """
        until = time.monotonic() + deadline
        with self._lock:
            thread, self._thread = self._thread, None
            self._stop.set()
            self._stop = threading.Event()
        if thread is not None:
            thread.join(deadline)
        for held in self._storm.drain():
            if time.monotonic() < until:
                self._tell(held)
            else:
                log.error("no time for a closing event of %s: %d failures", held.cause, held.count)

    def _begin(self) -> None:
        with self._lock:
            if self._thread is not None:
                return
            self._thread = threading.Thread(
                target=self._run, args=(self._stop,), name="storm-closing", daemon=True
            )
            try:
                self._thread.start()
            except RuntimeError as error:  # no more threads, or the interpreter ends
                self._thread = None
                log.warning("closing events wait for the end of the process: %s", error)

    def _run(self, stop: threading.Event) -> None:
        while not stop.wait(self._tick):
            for held in self._storm.quiet(self._storm.clock()):
                self._tell(held)

    def _tell(self, held: Held) -> None:
        try:
            self._send(held)
        except Exception:
            log.exception("no closing event of %s: %d failures", held.cause, held.count)
