"""The dead letters of an application: list, look at, replay, discard, count and export them."""

from __future__ import annotations

import base64
import heapq
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Self

from laneway.deadletter import discard as discarding
from laneway.deadletter.listed import Count, Found, Page
from laneway.deadletter.mailbox import GROUPS, Mailbox
from laneway.deadletter.replay import Replay
from laneway.deadletter.replay_options import ReplayAccount, ReplayOptions
from laneway.deadletter.select import Cursor, Selection
from laneway.errors import LetterUnknown, SelectionInvalid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

    from laneway.app import Laneway
    from laneway.broker.address import VhostKind
    from laneway.deadletter.discard import DiscardAccount
    from laneway.deadletter.letter import Letter
    from laneway.deadletter.state import State


class DeadLetters:
    """Dead letters of both virtual hosts. A context manager; use it in one thread.

    Each call first reads what is new. The first one on a machine reads all of the streams, some
    ten thousand letters a second.

    Args:
        app: its policy, its broker and its publishers.
        folder: where the index lies, instead of the user's cache directory.
        progress: told how many entries are read, and how many there are to read.
    """

    def __init__(
        self,
        app: Laneway,
        *,
        folder: Path | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self._app = app
        self._folder = folder
        self._progress = progress
        self._mailboxes: dict[VhostKind, Mailbox] = {}

    def list(
        self, selection: Selection | None = None, *, limit: int = 50, after: str | None = None
    ) -> Page:
        """The selected letters, newest first, a page at a time.

        Args:
            selection: which; the open ones if None.
            limit: how many, at least 1.
            after: the cursor that the page before gave; letters that came since then are not seen.

        Raises:
            SelectionInvalid: ``after`` is no cursor, the queue is unknown, or ``limit`` below 1.
            BrokerError, PublishError: the streams cannot be read.
        """
        if limit < 1:
            raise SelectionInvalid(f"limit: expected at least 1, got: {limit}")
        selection = selection or Selection()
        cursor = None if after is None else Cursor.parse(after)
        found = [one.listed(selection, cursor, limit + 1) for one in self._of(selection)]
        merged = list(heapq.merge(*found, key=lambda letter: (letter.at, letter.id), reverse=True))
        letters = merged[:limit]
        more = len(merged) > limit
        end = str(Cursor(letters[-1].at, letters[-1].id)) if more else None
        return Page(letters=tuple(letters), after=end)

    def get(self, letter: str) -> Found:
        """Everything of one letter, or of the last one of a job.

        Args:
            letter: the letter's id, or the job's.

        Raises:
            LetterUnknown: there is none.
            BrokerError, PublishError: the streams cannot be read.
        """
        for mailbox in self._of(Selection()):
            if (found := mailbox.find(letter)) is not None:
                return found
        raise LetterUnknown(
            f"expected the id of a dead letter or of its job, got: {letter!r}. 'laneway dead list "
            "--state any' lists them; after 30 days they are forgotten."
        )

    def stats(
        self, selection: Selection | None = None, *, by: Sequence[str] = ("cause",)
    ) -> tuple[Count, ...]:
        """How many of the selected letters have something in common, most first.

        Args:
            selection: which; the open ones if None.
            by: some of ``cause``, ``queue``, ``task``, ``outcome``, ``state``, ``error_type``.

        Raises:
            SelectionInvalid: ``by`` names something else.
            BrokerError, PublishError: the streams cannot be read.
        """
        if not by or not set(by) <= set(GROUPS):
            raise SelectionInvalid(
                f"by: expected some of {', '.join(GROUPS)}, got: {', '.join(by) or 'nothing'}"
            )
        selection = selection or Selection()
        counts: dict[tuple[Any, ...], Count] = {}
        for mailbox in self._of(selection):
            for count in mailbox.counts(selection, by):
                key = tuple(count.of.values())
                counts[key] = _sum(counts[key], count) if key in counts else count
        return tuple(sorted(counts.values(), key=lambda count: (-count.count, -count.last_at)))

    def count(self, selection: Selection | None = None) -> int:
        """How many letters are selected. Raises as :meth:`list`."""
        selection = selection or Selection()
        return sum(mailbox.count(selection) for mailbox in self._of(selection))

    def export(self, selection: Selection | None = None) -> Iterator[dict[str, Any]]:
        """The selected letters as JSON objects: all of their envelopes, and their states.

        The bytes of messages are in base64. Those of a secure queue's jobs are left out.

        Raises:
            BrokerError, PublishError: the streams cannot be read.
        """
        selection = selection or Selection()
        for mailbox in self._of(selection):
            for batch in mailbox.letters(selection):
                for chosen, letter in batch:
                    yield exported(chosen.state, mailbox.vhost, letter)

    def replay(
        self,
        selection: Selection,
        options: ReplayOptions | None = None,
        *,
        progress: Callable[[int, int], None] = lambda _done, _all: None,
        say: Callable[[str], None] = lambda _line: None,
    ) -> ReplayAccount:
        """Publish the jobs of the selected letters again.

        Args:
            selection: which.
            options: how; see :class:`ReplayOptions`.
            progress: told how many are replayed, and how many are selected.
            say: told what is being waited for.

        Returns:
            The account. If its ``stopped`` is set, it ended before its end.

        Raises:
            LettersLocked: somebody else replays or discards.
            PublishError: the broker does not take the jobs; what was sent is in the audit.
            BrokerError: the broker broke off, or the lock was lost.
        """
        replay = Replay(
            self._app,
            self._of(selection, refresh=False),
            selection,
            options or ReplayOptions(),
            progress=progress,
            say=say,
        )
        return replay.run()

    def discard(
        self,
        selection: Selection,
        *,
        reason: str | None = None,
        by: str | None = None,
        dry_run: bool = False,
        progress: Callable[[int], None] = lambda _done: None,
    ) -> DiscardAccount:
        """Say that the selected letters need nothing more.

        Args:
            selection: which.
            reason: what it is for; stands in the audit.
            by: who does it; ``user@host`` of this process if None.
            dry_run: only count them.
            progress: told how many are discarded.

        Raises:
            LettersLocked: somebody else replays or discards.
            BrokerError, PublishError: the broker broke off; what was discarded stays so.
        """
        return discarding.discard(
            self._app,
            self._of(selection, refresh=False),
            selection,
            reason=reason,
            by=by,
            dry_run=dry_run,
            progress=progress,
        )

    def close(self) -> None:
        """Close files and connections; the application stays open."""
        while self._mailboxes:
            self._mailboxes.popitem()[1].close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _of(self, selection: Selection, *, refresh: bool = True) -> Sequence[Mailbox]:
        """The mailboxes in which selected letters can be."""
        kinds: set[VhostKind] = {queue.vhost for queue in self._app.policy.queues.values()}
        if selection.queue is not None and selection.queue in self._app.policy.queues:
            kinds = {self._app.policy.queues[selection.queue].vhost}
        for kind in kinds - self._mailboxes.keys():
            self._mailboxes[kind] = Mailbox(
                self._app.address, kind, folder=self._folder, progress=self._progress
            )
        chosen = [self._mailboxes[kind] for kind in sorted(kinds)]
        if refresh:
            for mailbox in chosen:
                mailbox.refresh()
        return chosen


def exported(state: State, vhost: VhostKind, letter: Letter) -> dict[str, Any]:
    """A letter as a JSON object."""
    document = {name: value for name, value in asdict(letter).items() if value is not None}
    original = letter.original
    document.pop("original", None)
    if original is not None and vhost != "secure":
        document["original"] = {
            "exchange": original.exchange,
            "routing_key": original.routing_key,
            "properties": base64.b64encode(original.properties).decode(),
            "body": base64.b64encode(original.body).decode(),
        }
    return {"state": state, "vhost": vhost, **document}


def _sum(one: Count, other: Count) -> Count:
    return Count(
        of=one.of,
        count=one.count + other.count,
        first_at=min(one.first_at, other.first_at),
        last_at=max(one.last_at, other.last_at),
    )
