"""A child process of a test's own."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds after which a child that hangs is ended.
PATIENCE = 20


def true_in_child(look: Callable[[], object]) -> bool:
    """Whether something is true in a forked child; False too if it raises or hangs there."""
    child = os.fork()
    if not child:
        status = 1
        try:
            # Not what the test runner does with it.
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(PATIENCE)
            status = 0 if look() else 1
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
