"""One module a system: the same jobs, and every kind of call that the system has."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class NotPublished(Exception):
    """A call that raised.

    Args:
        why: what it raised, in a few words.
        accepted: numbers of its jobs that were accepted.
        refused: those that certainly were not; all others may have been.
    """

    def __init__(
        self, why: str, *, accepted: Iterable[int] = (), refused: Iterable[int] = ()
    ) -> None:
        super().__init__(why)
        self.accepted = frozenset(accepted)
        self.refused = frozenset(refused)
