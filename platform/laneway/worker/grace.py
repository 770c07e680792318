"""Leaving within the grace period: what runs too long is given back to the broker."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any, Final

from celery import signals
from celery.utils.log import get_logger

log = get_logger(__name__)

_UID: Final = "laneway.grace"


def keep_grace(seconds: float) -> None:
    """Bound the warm shutdown of this process to ``seconds``, from the first SIGTERM on.

    Celery waits for running jobs without end. After the grace period this process sends itself the
    signal of Celery's cold shutdown (SIGQUIT): running jobs are stopped and, unacknowledged as they
    are, delivered again by the broker, before all others of their queue.
    """

    def on_shutting_down(how: str, **_: Any) -> None:
        if how != "Warm":
            return
        timer = threading.Timer(seconds, _go)
        timer.daemon = True
        timer.start()

    def _go() -> None:
        log.warning("jobs still run after the grace period of %g s: given back", seconds)
        os.kill(os.getpid(), signal.SIGQUIT)

    signals.worker_shutting_down.disconnect(dispatch_uid=_UID)
    signals.worker_shutting_down.connect(on_shutting_down, weak=False, dispatch_uid=_UID)
