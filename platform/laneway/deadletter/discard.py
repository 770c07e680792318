"""Discarding dead letters: an entry says that they need nothing more. They stay in their stream."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from celery.utils import uuid

from laneway.deadletter.audit import Entry
from laneway.deadletter.lock import Lock, operator
from laneway.deadletter.postbox import note

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from laneway.app import Laneway
    from laneway.deadletter.listed import Listed
    from laneway.deadletter.mailbox import Mailbox
    from laneway.deadletter.select import Selection

#: Letters next to each other from which on a range says it shorter.
_RANGE: Final = 3


@dataclass(slots=True, kw_only=True)
class DiscardAccount:
    """What a discard did."""

    #: Names it in the audit.
    run: str
    #: Letters that are discarded now; in a dry run, those that would be.
    discarded: int = 0


def discard(
    app: Laneway,
    mailboxes: Sequence[Mailbox],
    selection: Selection,
    *,
    reason: str | None = None,
    by: str | None = None,
    dry_run: bool = False,
    progress: Callable[[int], None] = lambda _done: None,
) -> DiscardAccount:
    """Discard the selected letters.

    Args:
        app: publishes the entries.
        mailboxes: of the virtual hosts concerned.
        selection: the letters.
        reason: what it is for; stands in the audit.
        by: who does it; ``user@host`` of this process if None.
        dry_run: only count them.
        progress: told how many are discarded.

    Raises:
        LettersLocked: somebody else replays or discards.
        PublishError: an entry was not confirmed; what was discarded before stays so.
        BrokerError: the broker broke off.
    """
    account = DiscardAccount(run=uuid())
    by = by or operator()
    with ExitStack() as open_:
        for mailbox in mailboxes:
            if dry_run:
                mailbox.refresh()
                account.discarded += mailbox.count(selection)
                continue
            doing = f"discard {account.run}"
            lock = open_.enter_context(Lock(app.address, mailbox.vhost, doing=doing, by=by))
            mailbox.refresh()
            for page in mailbox.selected(selection):
                lock.check()
                letters, ranges = ranges_of([(offset, listed.id) for offset, listed in page])
                entry = Entry(
                    verb="discarded",
                    at=time.time(),
                    by=by,
                    letters=letters,
                    ranges=ranges,
                    run=account.run,
                    reason=reason,
                )
                note(app, mailbox.vhost, entry)
                account.discarded += len(page)
                progress(account.discarded)
                for _, listed in page:
                    _tell(app, listed, reason)
    return account


def ranges_of(
    letters: Sequence[tuple[int, str]],
) -> tuple[tuple[str, ...], tuple[tuple[int, int], ...]]:
    """Letters, given by offset and id in ascending order, as ids and ranges of offsets.

    A range holds no offset that was not given: nothing else could be discarded with it.
    """
    ids: list[str] = []
    ranges: list[tuple[int, int]] = []
    start = 0
    for at in range(1, len(letters) + 1):
        if at < len(letters) and letters[at][0] == letters[at - 1][0] + 1:
            continue
        run = letters[start:at]
        if len(run) >= _RANGE:
            ranges.append((run[0][0], run[-1][0]))
        else:
            ids += [id_ for _, id_ in run]
        start = at
    return tuple(ids), tuple(ranges)


def _tell(app: Laneway, listed: Listed, reason: str | None) -> None:
    app.facts.tell(
        "discarded",
        letter=listed.id,
        queue=listed.queue,
        task=listed.task,
        task_id=listed.task_id,
        cause=listed.cause,
        reason=reason,
    )
