"""Letters that are still open are appended again before their stream forgets them."""

from __future__ import annotations

import logging
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from laneway.control.periodic import Periodic
from laneway.deadletter.renew import renew
from laneway.errors import LettersLocked

if TYPE_CHECKING:
    import threading
    from collections.abc import Sequence

    from laneway.app import Laneway
    from laneway.broker import VhostKind

log = logging.getLogger(__name__)

#: Seconds between two renewals, and before the first: a process that is started again and again
#: must not read the whole streams each time.
EVERY: Final = 86_400.0
FIRST: Final = 600.0


def renewal(app: Laneway, vhosts: Sequence[VhostKind], *, by: str) -> Periodic:
    """The renewal of the letters of some virtual hosts, once a day.

    Args:
        app: publishes.
        vhosts: whose letters.
        by: who does it, for the audit.
    """

    def do(stop: threading.Event) -> None:
        for vhost in vhosts:
            if stop.is_set():
                return
            # The index is made anew: a control process needs no place that outlives it.
            with tempfile.TemporaryDirectory(prefix="laneway-renewal-") as folder:
                try:
                    count = renew(app, vhost, folder=Path(folder), by=by)
                except LettersLocked:
                    continue  # another control process does it now
            if count:
                log.info("%d open letters of %r will be kept for longer", count, vhost)

    periodic = Periodic(name="renewal of open letters", every=EVERY, do=do)
    periodic.due = time.monotonic() + FIRST
    return periodic
