"""What a process must not keep of the one that it was forked from."""

from __future__ import annotations

import os
from typing import Final, Protocol
from weakref import WeakSet


class StartsAfresh(Protocol):
    """Something with state of one process: counts, locks, threads, connections."""

    def start_afresh(self) -> None:
        """Become as new; called in a child before any code of its own runs."""


def start_afresh_in_child(one: StartsAfresh) -> None:
    """Call its ``start_afresh`` in every process that is forked from now on, while it lives.

    This rather than a look at the process's id whenever it is used: that look costs each call, and
    of two threads that find a new id at once the second would throw away what the first counted.
    """
    _all.add(one)


_all: Final[WeakSet[StartsAfresh]] = WeakSet()


def _in_child() -> None:
    for one in tuple(_all):
        one.start_afresh()


os.register_at_fork(after_in_child=_in_child)
