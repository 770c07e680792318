"""The ``laneway`` command: one file per group of verbs, and what they share.

``root`` knows the verbs and starts them, ``exit_codes`` says what a status means, ``output``
writes tables and JSON.
"""

from laneway.cli.root import main

__all__ = ["main"]
