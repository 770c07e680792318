"""How many dead letters of each queue are open: that nothing was decided about yet.

A count is a fold of two streams, and a fold goes on where it was: a look reads what is new since
the last one, and counts again only if there was something. What is asked for by Prometheus is the
number of the last look.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from laneway.control.periodic import Periodic
from laneway.deadletter.index import cache_folder
from laneway.deadletter.mailbox import Mailbox
from laneway.errors import BrokerError, PublishError

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping, Sequence

    from laneway.app import Laneway
    from laneway.broker import VhostKind

#: Seconds between two looks, and before the first, which reads all that the streams hold (a million
#: letters in a minute or two): who is started again and again must not read them each time.
EVERY: Final = 30.0
FIRST: Final = 60.0


class IndexFolder:
    """Where a control process has its indexes.

    Below ``$LANEWAY_HOME``, else in a folder of its own that goes with it; made when it is first
    asked for.
    """

    def __init__(self) -> None:
        self._own: tempfile.TemporaryDirectory[str] | None = None

    @property
    def path(self) -> Path:
        """The folder."""
        if os.environ.get("LANEWAY_HOME"):
            return cache_folder()
        if self._own is None:
            # (A reading that did not end in time may still write when it goes.)
            self._own = tempfile.TemporaryDirectory(
                prefix="laneway-letters-", ignore_cleanup_errors=True
            )
        return Path(self._own.name)

    def close(self) -> None:
        """Delete it, if it is the process's own."""
        if self._own is not None:
            self._own.cleanup()
            self._own = None


class OpenLetters:
    """Counts the open letters of some virtual hosts. Look in one thread; ask in any.

    Args:
        app: its policy and its broker.
        vhosts: whose letters.
        folder: where the indexes are.
    """

    def __init__(self, app: Laneway, vhosts: Sequence[VhostKind], folder: IndexFolder) -> None:
        self._app = app
        self._vhosts = tuple(vhosts)
        self._folder = folder
        self._mailboxes: dict[VhostKind, Mailbox] = {}
        self._counts: dict[VhostKind, Mapping[str, int]] = {}

    def by_queue(self) -> dict[str, int]:
        """The open letters of each queue as the last look saw them, zeros too.

        A queue whose virtual host could not be read is left out: nobody knows. Letters of no queue
        of the policy (one that was removed, or was never there) are together under ``""``.
        """
        found: dict[str, int] = {}
        policy = self._app.policy
        for vhost, counts in sorted(self._counts.items()):
            found |= dict.fromkeys(policy.vhost_queues(vhost), 0)
            for queue, number in counts.items():
                name = queue if queue in policy.queues else ""
                found[name] = found.get(name, 0) + number
        return found

    def look(self, stop: threading.Event) -> None:
        """Read what is new, and count. A broker that is away is the keepers' to tell.

        Raises:
            DeadLetterError: there is no room for an index.
        """
        for vhost in self._vhosts:
            try:
                self._counts[vhost] = self._count(vhost, stop)
            except _Stopped:
                return
            except (BrokerError, PublishError):
                self._counts.pop(vhost, None)
            except BaseException:
                self._counts.pop(vhost, None)
                raise

    def _count(self, vhost: VhostKind, stop: threading.Event) -> Mapping[str, int]:
        def go_on(_done: int, _all: int) -> None:
            if stop.is_set():
                raise _Stopped

        if vhost not in self._mailboxes:
            self._mailboxes[vhost] = Mailbox(
                self._app.address, vhost, folder=self._folder.path, progress=go_on
            )
        mailbox = self._mailboxes[vhost]
        mailbox.refresh()
        return mailbox.open_by_queue()

    def close(self) -> None:
        """Close files and connections, in the thread that looked."""
        while self._mailboxes:
            self._mailboxes.popitem()[1].close()


class _Stopped(Exception):
    """It was told to stop while it read; what was read stays read."""


def counting(letters: OpenLetters) -> Periodic:
    """The count, again and again."""
    periodic = Periodic(name="count of open letters", every=EVERY, do=letters.look)
    periodic.due = time.monotonic() + FIRST
    return periodic
