"""What goes on beside the job that runs: heartbeats, late acknowledgements, orphans."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Final, Protocol

from laneway.worker.request import HIDDEN

if TYPE_CHECKING:
    from laneway.worker.direct.intake import Intake
    from laneway.worker.direct.parent import Parent
    from laneway.worker.direct.slots import Slot
    from laneway.worker.direct.turns import Turns

log = logging.getLogger(__name__)

#: Seconds after which broker and process take each other for dead (RabbitMQ: after two of them). It
#: is long because nothing can be sent while a job holds the interpreter's lock.
HEARTBEAT: Final = 60
#: Seconds between two rounds.
PULSE: Final = 0.05
#: Seconds that a job may go on when the connection that delivered it is gone.
_ORPHAN_GRACE: Final = 1.0
#: Seconds after which the parent is told everything of the job that runs.
_REPORT_AFTER: Final = 0.1


class Connected(Protocol):
    """Who has the connection; the main thread changes it."""

    #: None while there is no connection.
    intake: Intake | None


class Pulse:
    """A thread for as long as the process lives.

    Args:
        process: has the connection.
        turns: has the job that runs.
        slot: the process's record.
        parent: who is told of the job that runs.
        secure: whether the arguments of jobs are told to nobody.
    """

    def __init__(
        self, process: Connected, turns: Turns, slot: Slot, parent: Parent, *, secure: bool
    ) -> None:
        self._process = process
        self._turns = turns
        self._slot = slot
        self._parent = parent
        self._secure = secure
        #: The turn of the last job that the parent was told everything of.
        self._reported = 0

    def start(self) -> None:
        """Go round from now on."""
        threading.Thread(target=self._rounds, name="pulse", daemon=True).start()

    def _rounds(self) -> None:
        while True:
            time.sleep(PULSE)
            intake = self._process.intake
            if intake is None:
                continue
            try:
                if intake.lost():
                    self._stop_orphan()
                else:
                    self._look_after(intake)
            except Exception as error:  # noqa: BLE001 (the main thread tells)
                log.debug("pulse: %r", error)

    def _look_after(self, intake: Intake) -> None:
        slot, now = self._slot, time.monotonic()
        intake.beat(now, HEARTBEAT / 3)
        turn = slot.turn
        if not turn & 1:
            return
        ran = now - slot.began
        if ran > _REPORT_AFTER and self._reported != turn:
            self._reported = turn
            self._report(turn)
        prefetch = self._turns.prefetch
        if prefetch.count > 1 and ran > prefetch.budget + PULSE:
            with self._turns.ending:
                # Only while it runs: between two jobs what is held is the main thread's.
                if slot.turn == turn:
                    intake.hold_nothing()

    def _report(self, turn: int) -> None:
        job = self._turns.job
        if job is not None and self._slot.turn == turn:
            request = {key: value for key, value in job.request.items() if key != "properties"}
            if self._secure:
                request |= {"argsrepr": HIDDEN, "kwargsrepr": HIDDEN}
            self._parent.tell({"turn": turn, "request": request})

    def _stop_orphan(self) -> None:
        """The broker gives the job that runs to another process: it must not go on here."""
        slot = self._slot
        turn = slot.turn
        if not turn & 1 or time.monotonic() - slot.began < _ORPHAN_GRACE:
            return
        time.sleep(_ORPHAN_GRACE)
        if slot.turn == turn:
            log.warning("the connection is gone: %s is stopped, it will run again", turn)
            os.kill(os.getpid(), signal.SIGKILL)
