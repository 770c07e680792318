"""Dead letters: what became of jobs that ended for good without success.

::

    a job's last failure ──────────────> worker ──> dead.letters  (a stream: read, never consumed)
    given up by the broker ─> dead.inbox ─> keeper ────┘      │
                                                              ├── the state of every letter
    replayed, discarded, succeeded again ──> dead.audit ──────┘

A letter is never changed: what was done with it is written behind it, in the audit stream. The
state is the fold of the two (:mod:`laneway.deadletter.state`), kept in a local index that can be
thrown away (:mod:`laneway.deadletter.index`).
"""

from laneway.deadletter.letters import DeadLetters
from laneway.deadletter.listed import Count, Event, Found, Listed, Page
from laneway.deadletter.replay_options import ReplayAccount, ReplayOptions
from laneway.deadletter.republish import Edit
from laneway.deadletter.select import Selection

__all__ = [
    # All of it
    "DeadLetters",
    # Which, and how
    "Edit",
    "ReplayOptions",
    "Selection",
    # What is found and done
    "Count",
    "Event",
    "Found",
    "Listed",
    "Page",
    "ReplayAccount",
]
