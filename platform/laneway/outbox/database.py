"""What the outbox needs of a database: transactions, and statements with named values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

#: Runs a statement with its values (``:name`` in the text) in the transaction under way; returns
#: the rows that it gives.
Execute = Callable[[str, Mapping[str, Any]], Sequence[Sequence[Any]]]


class Database(Protocol):
    """Where the table is. Safe in threads, and after a fork."""

    #: Whether ``FOR UPDATE SKIP LOCKED`` is understood. Without it relays still never hold the same
    #: row, because a lease is taken only from whoever has none; they only wait for each other.
    skip_locked: bool

    def transaction(self) -> AbstractContextManager[Execute]:
        """One transaction of the relay: committed at the end of the block, else rolled back.

        Raises:
            OutboxError: the database is away, or refuses a statement. It says nothing of values,
                which may be secret.
        """

    def close(self) -> None:
        """Close what this thread opened; the next transaction opens it again."""
