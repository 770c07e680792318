"""The table of the outbox: rows in, leases, rows out. The same statements in every database.

**Leases.** A relay takes rows for a time (``lease_owner``, ``due_at``); nobody else takes them
before it is over. A relay that dies leaves rows that become due again.

**Order.** A row with a key is taken only if every earlier row of the key is taken with it. So one
key is in one relay's hands, and a row that waits, or was put aside, holds back those behind it and
no others.
"""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Final

from laneway.broker.address import VHOST_KINDS
from laneway.outbox.row import TABLE, Row
from laneway.publish.frames import Publish

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from laneway.broker import VhostKind
    from laneway.outbox.database import Database, Execute

_HEAD: Final = (
    "id, job_id, task, queue, priority, vhost, order_key, created_at, due_at, lease_owner, "
    "attempts, aside, last_error"
)
_NEW: Final = (
    "job_id", "task", "queue", "priority", "vhost", "order_key", "created_at",
    "method", "properties", "body",
)  # fmt: skip
#: Rows of one INSERT: databases bound the number of values of a statement.
_ROWS_AT_ONCE: Final = 50
#: Characters of an error that are kept.
_LONGEST_ERROR: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueCount:
    """What the outbox holds for one queue."""

    queue: str
    #: Jobs that a relay will publish.
    waiting: int
    #: Jobs that were refused too often; see ``laneway outbox list --aside``.
    aside: int
    #: Seconds since the oldest job that waits was composed; None if none waits.
    oldest: float | None


def insert(execute: Execute, rows: Sequence[Row]) -> None:
    """Store rows, in this order, in the transaction of whoever calls."""
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        values: dict[str, Any] = {}
        groups = []
        for number, row in enumerate(rows[start : start + _ROWS_AT_ONCE]):
            method, properties, body = row.message
            of_row = {"method": method, "properties": properties, "body": body}
            for column in _NEW:
                value = of_row[column] if column in of_row else getattr(row, column)
                values[f"{column}{number}"] = value
            groups.append("(" + ", ".join(f":{c}{number}" for c in _NEW) + ", 0, 0, 0)")
        execute(
            f"INSERT INTO {TABLE} ({', '.join(_NEW)}, due_at, attempts, aside) "
            f"VALUES {', '.join(groups)}",
            values,
        )


class Store:
    """The outbox of one database, as the relay and an operator see it.

    Args:
        database: where its table is.
        clock: seconds since 1970. All relays of a table need clocks that agree much better than a
            lease is long.
    """

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    # -- the relay's ---------------------------------------------------------------------------

    def lease(
        self,
        owner: str,
        seconds: float,
        most: int,
        vhosts: Collection[VhostKind] = VHOST_KINDS,
    ) -> list[Row]:
        """Take rows that are due, oldest first.

        Args:
            owner: who takes them.
            seconds: how long nobody else takes them.
            most: how many rows.
            vhosts: only those for these virtual hosts.

        Raises:
            OutboxError: the database is away.
        """
        now = self._clock()
        with self._database.transaction() as execute:
            due = self._due(execute, now, most, vhosts)
            if not due:
                return []
            ids, values = _listed("id", due)
            execute(
                f"UPDATE {TABLE} SET lease_owner = :owner, due_at = :until "
                f"WHERE id IN ({ids}) AND aside = 0 AND due_at <= :now",
                {**values, "owner": owner, "until": now + seconds, "now": now},
            )
            found = execute(
                f"SELECT {_HEAD}, method, properties, body FROM {TABLE} "
                f"WHERE id IN ({ids}) AND lease_owner = :owner AND due_at > :now ORDER BY id",
                {**values, "owner": owner, "now": now},
            )
            rows = [_row(one) for one in found]
            late = self._out_of_order(execute, rows)
            self._free(execute, owner, late)
        return [row for row in rows if row.id not in late]

    def delete(self, ids: Iterable[int]) -> None:
        """These rows are done: the broker confirmed them, or a person discards them.

        Raises:
            OutboxError: the database is away.
        """
        with self._database.transaction() as execute:
            for listed, values in _in_parts(ids):
                execute(f"DELETE FROM {TABLE} WHERE id IN ({listed})", values)

    def release(self, owner: str, ids: Iterable[int]) -> None:
        """Give rows back that were not sent.

        Raises:
            OutboxError: the database is away.
        """
        with self._database.transaction() as execute:
            self._free(execute, owner, ids)

    def refused(
        self, owner: str, ids: Iterable[int], error: str, *, wait: float, aside: bool
    ) -> None:
        """The broker refused these rows.

        Args:
            owner: who holds them; rows of others are left alone.
            ids: which.
            error: why.
            wait: seconds until they are tried again.
            aside: they are not tried again by themselves.

        Raises:
            OutboxError: the database is away.
        """
        values = {
            "owner": owner,
            "error": error[:_LONGEST_ERROR],
            "due": self._clock() + wait,
            "aside": int(aside),
        }
        with self._database.transaction() as execute:
            for listed, more in _in_parts(ids):
                execute(
                    f"UPDATE {TABLE} SET attempts = attempts + 1, last_error = :error, "
                    "due_at = :due, aside = :aside, lease_owner = NULL "
                    f"WHERE id IN ({listed}) AND lease_owner = :owner",
                    {**values, **more},
                )

    # -- the operator's ------------------------------------------------------------------------

    def counts(self) -> list[QueueCount]:
        """What it holds, by queue.

        Raises:
            OutboxError: the database is away.
        """
        with self._database.transaction() as execute:
            found = execute(
                f"SELECT queue, SUM(1 - aside), SUM(aside), "
                "MIN(CASE WHEN aside = 0 THEN created_at END) "
                f"FROM {TABLE} GROUP BY queue ORDER BY queue",
                {},
            )
        now = self._clock()
        return [
            QueueCount(
                queue=queue,
                waiting=int(waiting),
                aside=int(aside),
                oldest=None if first is None else max(0.0, now - first),
            )
            for queue, waiting, aside, first in found
        ]

    def rows(self, *, aside: bool | None = None, after: int = 0, most: int = 50) -> list[Row]:
        """Rows in the order of their ids, without their messages.

        Args:
            aside: only those that were put aside, or only those that were not.
            after: only those with a larger id: where the last page ended.
            most: how many.

        Raises:
            OutboxError: the database is away.
        """
        only = "" if aside is None else "AND aside = :aside"
        values = {"after": after, "most": most, **({} if aside is None else {"aside": int(aside)})}
        with self._database.transaction() as execute:
            found = execute(
                f"SELECT {_HEAD} FROM {TABLE} WHERE id > :after {only} ORDER BY id LIMIT :most",
                values,
            )
        return [_row((*one, b"", b"", b"")) for one in found]

    def retry(self, ids: Iterable[int]) -> int:
        """Let rows be tried at once that were put aside or wait; returns how many there were.

        What a relay holds at this moment is left to it.

        Raises:
            OutboxError: the database is away.
        """
        ids = self.existing(ids)
        with self._database.transaction() as execute:
            for listed, values in _in_parts(ids):
                execute(
                    f"UPDATE {TABLE} SET aside = 0, attempts = 0, due_at = 0, lease_owner = NULL "
                    f"WHERE id IN ({listed}) AND (lease_owner IS NULL OR due_at <= :now)",
                    {**values, "now": self._clock()},
                )
        return len(ids)

    def existing(self, ids: Iterable[int]) -> list[int]:
        """Those ids that are there.

        Raises:
            OutboxError: the database is away.
        """
        found: list[int] = []
        with self._database.transaction() as execute:
            for listed, values in _in_parts(ids):
                rows = execute(f"SELECT id FROM {TABLE} WHERE id IN ({listed})", values)
                found += [int(row[0]) for row in rows]
        return found

    def close(self) -> None:
        """Close what this thread opened; whatever comes next opens it again."""
        self._database.close()

    # -- inside --------------------------------------------------------------------------------

    def _due(
        self, execute: Execute, now: float, most: int, vhosts: Collection[VhostKind]
    ) -> list[int]:
        hosts, values = _listed("vhost", vhosts)
        # What holds a key back is looked for in the statement: else the rows behind it would fill
        # every page, and no other key would ever have its turn.
        found = execute(
            f"SELECT r.id FROM {TABLE} r WHERE r.aside = 0 AND r.due_at <= :now "
            f"AND r.vhost IN ({hosts}) AND (r.order_key IS NULL OR NOT EXISTS ("
            f"SELECT 1 FROM {TABLE} e WHERE e.order_key = r.order_key AND e.id < r.id "
            f"AND (e.aside = 1 OR e.due_at > :now OR e.vhost NOT IN ({hosts})))) "
            f"ORDER BY r.id LIMIT :most{self._skip_locked}",
            {**values, "now": now, "most": most},
        )
        return [int(row[0]) for row in found]

    @property
    def _skip_locked(self) -> str:
        return " FOR UPDATE SKIP LOCKED" if self._database.skip_locked else ""

    def _out_of_order(self, execute: Execute, rows: list[Row]) -> set[int]:
        """Rows taken while another relay took an earlier one of their key.

        It looks after the lease stands: an earlier row that still exists is held by somebody, or
        waits; one that is gone was published.
        """
        mine: dict[str, list[int]] = defaultdict(list)
        for row in rows:
            if row.order_key is not None:
                mine[row.order_key].append(row.id)
        if not mine:
            return set()
        keys, values = _listed("key", mine)
        there: dict[str, list[int]] = defaultdict(list)
        last = max(ids[-1] for ids in mine.values())
        for id_, key in execute(
            f"SELECT id, order_key FROM {TABLE} WHERE order_key IN ({keys}) AND id <= :last "
            "ORDER BY id",
            {**values, "last": last},
        ):
            there[key].append(int(id_))
        late: set[int] = set()
        for key, ids in mine.items():
            pairs = zip(ids, there[key], strict=False)
            unbroken = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
            late.update(ids[unbroken:])
        return late

    def _free(self, execute: Execute, owner: str, ids: Iterable[int]) -> None:
        for listed, values in _in_parts(ids):
            execute(
                f"UPDATE {TABLE} SET lease_owner = NULL, due_at = 0 "
                f"WHERE id IN ({listed}) AND lease_owner = :owner",
                {**values, "owner": owner},
            )


def _listed(name: str, values: Iterable[Any]) -> tuple[str, dict[str, Any]]:
    """The inside of ``IN (...)`` and its values."""
    named = {f"{name}{number}": value for number, value in enumerate(values)}
    return ", ".join(f":{name}" for name in named), named


def _in_parts(ids: Iterable[int]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The same for any number of ids."""
    left = list(ids)
    for start in range(0, len(left), 500):
        yield _listed("id", left[start : start + 500])


def _row(found: Sequence[Any]) -> Row:
    (
        id_, job_id, task, queue, priority, vhost, order_key, created_at, due_at, lease_owner,
        attempts, aside, last_error, method, properties, body,
    ) = found  # fmt: skip
    return Row(
        id=int(id_),
        job_id=job_id,
        task=task,
        queue=queue,
        priority=priority,
        vhost=vhost,
        order_key=order_key,
        # Some drivers give a view of the bytes.
        message=Publish(bytes(method), bytes(properties), bytes(body)),
        created_at=created_at,
        due_at=due_at,
        lease_owner=lease_owner,
        attempts=attempts,
        aside=bool(aside),
        last_error=last_error,
    )
