"""Letters that are still open are appended again before their stream forgets them."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from laneway.control.periodic import Periodic
from laneway.deadletter.renew import renew
from laneway.errors import LettersLocked

if TYPE_CHECKING:
    import threading
    from collections.abc import Sequence

    from laneway.app import Laneway
    from laneway.broker import VhostKind
    from laneway.control.open_letters import IndexFolder

log = logging.getLogger(__name__)

#: Seconds between two renewals, and before the first: a process that is started again and again
#: must not read the whole streams each time.
EVERY: Final = 86_400.0
FIRST: Final = 600.0


def renewal(app: Laneway, vhosts: Sequence[VhostKind], *, by: str, folder: IndexFolder) -> Periodic:
    """The renewal of the letters of some virtual hosts, once a day.

    Args:
        app: publishes.
        vhosts: whose letters.
        by: who does it, for the audit.
        folder: where the index is that the count of open letters keeps up to date.
    """

    def do(stop: threading.Event) -> None:
        for vhost in vhosts:
            if stop.is_set():
                return
            try:
                count = renew(app, vhost, folder=folder.path, by=by)
            except LettersLocked:
                continue  # another control process does it now
            if count:
                log.info("%d open letters of %r will be kept for longer", count, vhost)

    periodic = Periodic(name="renewal of open letters", every=EVERY, do=do)
    periodic.due = time.monotonic() + FIRST
    return periodic
