"""Dead letters: what became of jobs that ended for good without success.

::

    a job's last failure ──────────────> worker ──> dead.letters  (a stream: read, never consumed)
    given up by the broker ─> dead.inbox ─> keeper ────┘      │
                                                              ├── the state of every letter
    replayed, discarded, succeeded again ──> dead.audit ──────┘

A letter is never changed: what was done with it is written behind it, in the audit stream.
"""

from laneway.deadletter.audit import Entry
from laneway.deadletter.cause import cause_of, error_type_of, place_of
from laneway.deadletter.letter import (
    REPLAYS_HEADER,
    Letter,
    Original,
    Outcome,
    letter_id,
    merged,
    replays_of,
)
from laneway.deadletter.postbox import note, post

__all__ = [
    # What a letter is
    "Letter",
    "Original",
    "Outcome",
    "letter_id",
    "merged",
    "replays_of",
    # The header that counts replays
    "REPLAYS_HEADER",
    # Causes
    "cause_of",
    "error_type_of",
    "place_of",
    # What was done with it
    "Entry",
    # Writing them
    "note",
    "post",
]
