"""A process as its parent holds it: by a descriptor, which can never mean another one."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import Final

#: Seconds that a process gets to stop when it is told SIGSTOP.
_STOP: Final = 1.0


class Pidfd:
    """A process that was forked; a number alone can be another process's by now.

    Args:
        pid: its number.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._descriptor = -1
        with contextlib.suppress(ProcessLookupError):
            self._descriptor = os.pidfd_open(pid)

    def signal(self, number: int) -> None:
        """Send a signal; nothing happens if the process is gone."""
        if self._descriptor >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._descriptor, number)

    def freeze(self) -> None:
        """Stop it, and wait until it stands still: what it writes is then written."""
        self.signal(signal.SIGSTOP)
        until = time.monotonic() + _STOP
        while time.monotonic() < until and not _stands(self.pid):
            time.sleep(0.001)

    def close(self) -> None:
        """Let go of it; signals do nothing afterwards."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1


def _stands(pid: int) -> bool:
    """Whether the process is stopped, or gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 (a hundred times a second)
            return file.read().rpartition(b")")[2].split()[0] in b"TtZX"
    except OSError:
        return True
