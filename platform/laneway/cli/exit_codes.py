"""What the exit status of ``laneway`` means, in this one place.

======  ==========================================================================================
status  meaning
======  ==========================================================================================
0       done, or the check said yes
1       the check said no: a policy with problems, drift, a failed doctor, a job that failed, a
        benchmark that lost one, a replay that stopped because jobs failed again
2       the command line is wrong (click's own status)
3       the broker cannot be reached, refuses the login or to say what stands, or did not answer in
        time
4       refused by the policy, the application's settings or a full queue, or somebody else
        replays or discards; nothing was published
5       it could not be done: a worker that does not start, a server that is missing, a topology
        that is not there
6       not known yet: the job has no result, or none within the time given
78      ``laneway worker``: what it needs on the broker is missing or of the wrong type
130     ended by Ctrl-C (128 + the signal's number; 143 for SIGTERM)
======  ==========================================================================================
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from laneway import errors
from laneway.errors import LanewayError


class ExitCode(IntEnum):
    """The statuses of the table above."""

    OK = 0
    NO = 1
    USAGE = 2
    BROKER = 3
    REFUSED = 4
    FAILED = 5
    PENDING = 6


# The first class that fits decides, so leaves stand before their branch.
_CODES: Final[tuple[tuple[type[LanewayError], ExitCode], ...]] = (
    (errors.PolicyError, ExitCode.REFUSED),
    (errors.SettingsError, ExitCode.REFUSED),
    (errors.CallError, ExitCode.REFUSED),
    (errors.QueueFull, ExitCode.REFUSED),
    (errors.LettersLocked, ExitCode.REFUSED),
    (errors.TopologyMissing, ExitCode.FAILED),
    (errors.Unroutable, ExitCode.FAILED),
    (errors.PublishError, ExitCode.BROKER),
    (errors.BrokerError, ExitCode.BROKER),
    (LanewayError, ExitCode.FAILED),
)


def exit_code(error: LanewayError) -> ExitCode:
    """The status with which a verb ends that raised this error."""
    return next(code for kind, code in _CODES if isinstance(error, kind))
