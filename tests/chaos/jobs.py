"""What every job does, whatever system runs it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from chaos.ledger import Ledger, What

if TYPE_CHECKING:
    from collections.abc import Sequence

_ledger: Final = Ledger()


class TryAgain(Exception):
    """This attempt fails, and another one is left."""


class GiveUp(Exception):
    """The last attempt fails."""


def run(arguments: Sequence[int], attempt: int) -> None:
    """Do as a job says, and write down that it began and how it ended.

    Args:
        arguments: :attr:`chaos.workload.Job.arguments`.
        attempt: 0, and one more for each retry.

    Raises:
        TryAgain: as planned, in the first ``failures`` attempts.
        GiveUp: as planned, where more failures are planned than any system tries again.
    """
    number, queue, priority, work, failures = arguments
    where = {"detail": attempt, "queue": queue, "priority": priority}
    _ledger.note(What.STARTED, number, **where)
    time.sleep(work / 1000)
    if failures >= 10:
        _ledger.note(What.FAILED, number, **where)
        raise GiveUp(number)
    if attempt < failures:
        _ledger.note(What.RETRIED, number, **where)
        raise TryAgain(number)
    _ledger.note(What.ENDED, number, **where)
