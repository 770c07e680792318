"""The gate: what every message passes, on every pool, before any code of a task.

A message on a queue of jobs can be anything: whoever may publish there wrote it. :func:`examine`
says of it, without doing anything, that it can run, that it is to come again later (a task that
this worker does not know: maybe the deploy is still rolling), or why it is no job. What passes has
the shapes that Celery, the pools and the result backends take for granted.
"""

from laneway.worker.gate.examine import examine
from laneway.worker.gate.headers import UNKNOWN_HEADER
from laneway.worker.gate.limits import Limits, limits_of
from laneway.worker.gate.verdict import HandBack, Kind, Quarantine, Run, Verdict

__all__ = [
    # Asking
    "Limits",
    "examine",
    "limits_of",
    # The answer
    "HandBack",
    "Kind",
    "Quarantine",
    "Run",
    "Verdict",
    # On the wire
    "UNKNOWN_HEADER",
]
