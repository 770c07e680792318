"""The soft time limit, raised in the job that runs and nowhere else."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

from celery.exceptions import SoftTimeLimitExceeded

if TYPE_CHECKING:
    from types import FrameType

    from laneway.worker.direct.slots import Slot


class SoftLimit:
    """What the parent's signal means to this process.

    Args:
        slot: the process's record, where the deadline stands.
    """

    def __init__(self, slot: Slot) -> None:
        self._slot = slot
        #: Whether the code of a task runs that may be interrupted.
        self.armed = False

    def listen(self) -> None:
        """Heed the signal from now on; to be called in the main thread."""
        signal.signal(signal.SIGUSR1, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        deadline = self._slot.soft_deadline
        # (It may be meant for the job before, or come from somebody else.)
        if self.armed and deadline and time.monotonic() >= deadline:
            self.armed = False
            raise SoftTimeLimitExceeded
