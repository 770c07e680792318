"""Facts of several workers to several listeners."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from laneway.facts import Fact, Listener

log = logging.getLogger("laneway.facts")


class Fanout:
    """Gives every fact to every listener, one fact at a time.

    The facts come from as many threads as there are workers; a listener is never called twice at
    the same moment. One that fails is reported and does not disturb the others.
    """

    def __init__(self) -> None:
        self._listeners: list[Listener] = []
        self._lock = threading.Lock()

    def listen(self, listener: Listener) -> None:
        """Add a listener."""
        with self._lock:
            self._listeners.append(listener)

    def __call__(self, fact: Fact, /) -> None:
        """Pass a fact on."""
        with self._lock:
            for listener in self._listeners:
                try:
                    listener(fact)
                except Exception:
                    log.exception("a listener failed on %r: %r", fact.kind, listener)
