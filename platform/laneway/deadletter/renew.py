"""Appending open letters again before their stream forgets them.

A stream forgets by age alone. What is still open near the end of that time is written once more,
and an entry says so; the two are one letter, because they have one id.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from celery.utils import uuid

from laneway.deadletter.lock import RENEWAL_LOCK, Lock, operator
from laneway.deadletter.mailbox import Mailbox
from laneway.deadletter.postbox import letter_message
from laneway.deadletter.sending import Sending
from laneway.topology import LETTER_RETENTION

if TYPE_CHECKING:
    from pathlib import Path

    from laneway.app import Laneway
    from laneway.broker.address import VhostKind

_DAY: Final = 86_400.0
#: How long a letter is kept, in seconds.
RETENTION: Final = int(LETTER_RETENTION.removesuffix("D")) * _DAY
#: Seconds before that at which an open letter is written again.
RENEW_BEFORE: Final = 5 * _DAY


def renew(
    app: Laneway,
    vhost: VhostKind,
    *,
    now: float | None = None,
    before: float = RENEW_BEFORE,
    folder: Path | None = None,
    by: str | None = None,
) -> int:
    """Append the open letters of a virtual host again that the stream will soon forget.

    Call it now and then, once a day is often enough; any number of processes may.

    Args:
        app: publishes; its connections are used.
        vhost: which of the two virtual hosts.
        now: seconds since 1970.
        before: seconds that a letter must have left.
        folder: of the index, instead of the user's cache directory.
        by: who does it; ``user@host`` of this process if None.

    Returns:
        How many were appended.

    Raises:
        LettersLocked: another process does it now.
        BrokerError, PublishError: the broker broke off; what was appended is in the audit.
    """
    by = by or operator()
    due = (time.time() if now is None else now) - RETENTION + before
    mailbox = Mailbox(app.address, vhost, folder=folder)
    count = 0
    with ExitStack() as open_:
        open_.callback(mailbox.close)
        lock = open_.enter_context(
            Lock(app.address, vhost, doing="renewal", by=by, name=RENEWAL_LOCK)
        )
        mailbox.refresh()
        sending = open_.enter_context(Sending(app, vhost, verb="renewed", by=by, run=uuid()))
        for batch in mailbox.due_for_renewal(due):
            lock.check()
            for listed, letter in batch:
                sending.send(listed, letter_message(letter), listed.id)
                count += 1
    return count
