"""Replaying dead letters: their jobs are published again, watched, and stopped if they fail again.

::

    lock ─> select ─> the first N ─> wait for how they end ─> the rest, at a pace ─> account
                                          │                        │
                                          └── not all well: stop   └── too many fail again: stop

Killed at any point, nothing is lost: a letter stays in its stream whatever happens to its job. Who
repeats the command replays what no entry names yet: at most ``UNNOTED`` jobs run twice.
"""

from __future__ import annotations

import functools
import time
from collections import Counter, deque
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

from celery.utils import uuid

from laneway.deadletter.lock import Lock, operator
from laneway.deadletter.replay_options import ReplayAccount
from laneway.deadletter.republish import NotReplayable, raise_unless_replayable, republished
from laneway.deadletter.sending import Sending

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from laneway.app import Laneway
    from laneway.broker.address import VhostKind
    from laneway.deadletter.letter import Letter
    from laneway.deadletter.listed import Chosen, Listed
    from laneway.deadletter.mailbox import Mailbox
    from laneway.deadletter.replay_options import ReplayOptions
    from laneway.deadletter.select import Selection

#: Seconds between two looks at how the replayed jobs ended; a look that takes long is followed by
#: so many times as long without one, because nothing is sent meanwhile.
_LOOK_SECONDS: Final = 2.0
_LOOK_TIMES: Final = 20.0
_CANARY_LOOK_SECONDS: Final = 0.5
#: The newest replayed jobs whose ends are looked at, and how many must have ended to judge by.
_WATCHED: Final = 2_000
_ENOUGH: Final = 20


class Replay:
    """One replay of a selection.

    Args:
        app: publishes; its policy decides which queues there are.
        mailboxes: of the virtual hosts concerned.
        selection: the letters.
        options: how.
        progress: told how many are replayed, and how many are selected.
        say: told what is being waited for.
    """

    def __init__(
        self,
        app: Laneway,
        mailboxes: Sequence[Mailbox],
        selection: Selection,
        options: ReplayOptions,
        *,
        progress: Callable[[int, int], None] = lambda _done, _all: None,
        say: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self._app = app
        self._mailboxes = mailboxes
        self._selection = selection
        self._options = options
        self._progress = progress
        self._say = say
        self._by = options.by or operator()
        self.account = ReplayAccount(run=uuid())
        self._locks: list[Lock] = []
        self._sendings: dict[VhostKind, Sending] = {}
        self._newest: dict[VhostKind, deque[str]] = {}
        self._look_at = time.monotonic() + _LOOK_SECONDS
        self._next_at = 0.0

    def run(self) -> ReplayAccount:
        """Do it.

        Raises:
            LettersLocked: somebody else replays or discards.
            PublishError: the broker does not take the jobs; what was sent is in the audit.
            BrokerError: the broker broke off, or the lock was lost.
        """
        with ExitStack() as open_:
            if not self._options.dry_run:
                self._lock(open_)
            self._select()
            if self._options.dry_run:
                self._count()
                return self.account
            for mailbox in self._mailboxes:
                self._sendings[mailbox.vhost] = open_.enter_context(self._sending(mailbox.vhost))
            self._send_all()
        self.account.sent_twice = sum(one.sent_twice for one in self._sendings.values())
        return self.account

    # -- before ----------------------------------------------------------------------------------

    def _lock(self, open_: ExitStack) -> None:
        doing = f"replay {self.account.run}"
        for mailbox in self._mailboxes:
            lock = Lock(self._app.address, mailbox.vhost, doing=doing, by=self._by)
            self._locks.append(open_.enter_context(lock))

    def _select(self) -> None:
        for mailbox in self._mailboxes:
            mailbox.refresh()
            self.account.selected += mailbox.count(self._selection)

    def _count(self) -> None:
        for mailbox in self._mailboxes:
            for page in mailbox.selected(self._selection):
                for _, listed in page:
                    self.account.replayed += self._is_replayable(mailbox.vhost, listed)

    def _sending(self, vhost: VhostKind) -> Sending:
        return Sending(
            self._app,
            vhost,
            verb="replayed",
            by=self._by,
            run=self.account.run,
            reason=self._options.reason,
            renamed=self._options.new_ids,
            on_sent=functools.partial(self._sent, vhost),
            on_full=lambda queue: self._say(f"the queue {queue} is full: waiting for room"),
        )

    # -- sending ---------------------------------------------------------------------------------

    def _send_all(self) -> None:
        first: dict[VhostKind, list[str]] = {}
        count, canary = 0, self._options.first
        for mailbox, listed, letter in self._letters():
            if not self._send(mailbox.vhost, listed, letter):
                continue
            count += 1
            first.setdefault(mailbox.vhost, []).append(listed.id)
            if canary is None:
                first.clear()
                self._watch()
            elif count == canary:
                self._await(first)
                canary = None
            if self.account.stopped:
                break
        if canary is not None and count:
            # There were no more than the first ones.
            self._await(first)

    def _letters(self) -> Iterator[tuple[Mailbox, Chosen, Letter]]:
        for mailbox in self._mailboxes:
            for batch in mailbox.letters(self._selection):
                for listed, letter in batch:
                    yield mailbox, listed, letter

    def _send(self, vhost: VhostKind, listed: Chosen, letter: Letter) -> bool:
        """Send one, if it can be replayed."""
        options = self._options
        if listed.state not in self._selection.states:
            self.account.left[f"{listed.state} meanwhile"] += 1
            return False
        if not self._is_replayable(vhost, listed):
            return False
        try:
            message, correlation_id = republished(
                letter, vhost=vhost, new_id=options.new_ids, edit=options.edit
            )
        except NotReplayable as error:
            self.account.left[str(error)] += 1
            return False
        self._keep_pace(vhost)
        self._sendings[vhost].send(listed, message, correlation_id)
        return True

    def _is_replayable(self, vhost: VhostKind, listed: Listed | Chosen) -> bool:
        try:
            raise_unless_replayable(
                listed, vhost, self._app.policy, max_replays=self._options.max_replays
            )
        except NotReplayable as error:
            self.account.left[str(error)] += 1
            return False
        return True

    def _sent(self, vhost: VhostKind, listed: Chosen) -> None:
        self.account.replayed += 1
        self._newest.setdefault(vhost, deque(maxlen=_WATCHED)).append(listed.id)
        self._progress(self.account.replayed, self.account.selected)
        self._app.facts.tell(
            "replayed",
            letter=listed.id,
            queue=listed.queue,
            task=listed.task,
            task_id=listed.task_id,
            priority=listed.priority,
            cause=listed.cause,
            reason=self._options.reason,
        )

    def _keep_pace(self, vhost: VhostKind) -> None:
        if self._options.rate is None:
            return
        now = time.monotonic()
        if now < self._next_at:
            # Nothing stays gathered while we sleep.
            self._sendings[vhost].finish()
            time.sleep(max(0.0, self._next_at - time.monotonic()))
        self._next_at = max(self._next_at, now) + 1 / self._options.rate

    # -- watching --------------------------------------------------------------------------------

    def _await(self, first: dict[VhostKind, list[str]]) -> None:
        """Wait until all of the first jobs have ended; stop unless all ended well."""
        for sending in self._sendings.values():
            sending.finish()
        wanted = sum(map(len, first.values()))
        until = time.monotonic() + self._options.wait
        self._say(f"{wanted} replayed: waiting for how they end")
        while True:
            self._check_locks()
            ends = self._ends(first)
            self.account.succeeded = ends["resolved"]
            self.account.failed_again = ends["failed-again"]
            if ends["failed-again"]:
                self.account.stopped = f"{ends['failed-again']} of the first {wanted} failed again"
                return
            if ends["resolved"] == wanted:
                return
            if time.monotonic() >= until:
                self.account.stopped = (
                    f"{wanted - ends['resolved']} of the first {wanted} did not end within "
                    f"{self._options.wait:g} s"
                )
                return
            time.sleep(_CANARY_LOOK_SECONDS)

    def _watch(self) -> None:
        """Look now and then at how the newest ones ended; stop if too many failed again."""
        began = time.monotonic()
        if began < self._look_at:
            return
        self._check_locks()
        ends = self._ends(self._newest)
        now = time.monotonic()
        self._look_at = now + max(_LOOK_SECONDS, _LOOK_TIMES * (now - began))
        failed, ended = ends["failed-again"], ends["failed-again"] + ends["resolved"]
        if ended >= _ENOUGH and failed / ended > self._options.stop_share:
            self.account.stopped = (
                f"{failed} of the last {ended} that ended failed again "
                f"(more than {self._options.stop_share:.0%})"
            )

    def _ends(self, letters: dict[VhostKind, Any]) -> Counter[str]:
        ends: Counter[str] = Counter()
        for mailbox in self._mailboxes:
            if some := letters.get(mailbox.vhost):
                mailbox.refresh()
                ends.update(mailbox.states(list(some)).values())
        return ends

    def _check_locks(self) -> None:
        for lock in self._locks:
            lock.check()
