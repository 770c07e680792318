"""An application whose worker's loop stands while the file ``$HOLD`` is there."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from celery import signals

from laneway.worker import health
from support.tasks import app

__all__ = ["app"]

# Half a minute is what a real worker gets; a test need not wait for that.
health.TURN = 3.0  # type: ignore[attr-defined]


@signals.worker_ready.connect
def hold_as_told(sender: Any, **_: Any) -> None:
    """Look for the file in the loop of the parent."""
    file = Path(os.environ["HOLD"])

    def look() -> None:
        while file.exists():
            time.sleep(0.1)

    sender.timer.call_repeatedly(0.2, look)
