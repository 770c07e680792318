"""What was accepted of a group before one of its members was refused."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final


class AcceptedMembers(threading.local):
    """The ids accepted of the newest groups of this thread, for the error of a later member."""

    _KEPT_GROUPS: Final = 16

    def __init__(self) -> None:
        self._groups: OrderedDict[str, list[str]] = OrderedDict()

    def note(self, group: str | None, task_id: str) -> None:
        """The broker accepted a job; ``group`` is None if it is in none."""
        if group is not None:
            self._groups.setdefault(group, []).append(task_id)
            while len(self._groups) > self._KEPT_GROUPS:
                self._groups.popitem(last=False)

    def of(self, group: str | None) -> tuple[str, ...]:
        """The ids accepted of a group, in the order of the calls."""
        return tuple(self._groups.get(group, ())) if group is not None else ()
