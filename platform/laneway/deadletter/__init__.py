"""Dead letters: what became of jobs that ended for good without success.

::

    a job's last failure ──────────────> worker ──> dead.letters  (a stream: read, never consumed)
    given up by the broker ─> dead.inbox ─> keeper ────┘      │
                                                              ├── the state of every letter
    replayed, discarded, succeeded again ──> dead.audit ──────┘

A letter is never changed: what was done with it is written behind it, in the audit stream.
"""
