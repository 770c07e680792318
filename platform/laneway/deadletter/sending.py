"""Sending many messages with their audit entries: pipelined, and noted soon behind.

What is sent and not yet noted would be sent again by whoever repeats the command after a crash. So
at most :data:`UNNOTED` messages are ever in that state.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Final, Self

from laneway.deadletter.audit import Entry
from laneway.deadletter.postbox import entry_message
from laneway.errors import QueueFull
from laneway.publish.pipeline import Job, Pipeline
from laneway.topology import AUDIT_STREAM

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from laneway.app import Laneway
    from laneway.broker.address import VhostKind
    from laneway.deadletter.audit import Verb
    from laneway.deadletter.listed import Chosen
    from laneway.publish.frames import Publish

#: Messages that may be sent without a confirmed entry.
UNNOTED: Final = 500
#: Letters that one entry names, at least; the last one may name fewer.
_ENTRY_LETTERS: Final = 50
_WINDOW: Final = 300
#: Seconds between two attempts on a full queue: the first, and the longest.
_FULL_SECONDS: Final = (0.2, 5.0)


class Sending:
    """Sends messages of letters into one virtual host, within its block.

    Args:
        app: its publisher is used.
        vhost: which of the two virtual hosts.
        verb: what the entries say was done.
        by: who does it.
        run: the run of the command.
        reason: what they say it is for.
        renamed: the jobs get new ids.
        on_sent: called with each letter whose message the broker confirmed.
        on_full: called with a queue's name while it is full, and its messages wait.
    """

    def __init__(
        self,
        app: Laneway,
        vhost: VhostKind,
        *,
        verb: Verb,
        by: str,
        run: str,
        reason: str | None = None,
        renamed: bool = False,
        on_sent: Callable[[Chosen], None] = lambda _letter: None,
        on_full: Callable[[str], None] = lambda _queue: None,
    ) -> None:
        self._publisher = app.publisher(vhost)
        self._verb: Verb = verb
        self._by, self._run, self._reason, self._renamed = by, run, reason, renamed
        self._on_sent, self._on_full = on_sent, on_full
        self._lent = ExitStack()
        self._pipeline: Pipeline
        self._position = 0
        # Sent and not known to be accepted, by position.
        self._unsettled: dict[int, Chosen] = {}
        # Accepted, and in no entry yet.
        self._accepted: list[str] = []
        # Letters of entries on their way, by position.
        self._entries: dict[int, int] = {}
        self._unnoted = 0
        self._full: list[Job] = []
        self._refused: Exception | None = None

    @property
    def sent_twice(self) -> int:
        """Messages that were sent again because a connection was lost."""
        return self._pipeline.sent_twice

    def __enter__(self) -> Self:
        self._pipeline = Pipeline(
            self._lent.enter_context(self._publisher.producer()),
            where=self._publisher.name,
            deadline=self._publisher.deadline,
            window=_WINDOW,
            listener=self,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lent:
            try:
                if kind is None:
                    self.finish()
                    return
                # Whatever ended it (Ctrl-C, a queue that is gone): what was accepted is noted.
                with suppress(Exception):
                    self._pipeline.finish()
                    self._note()
                    self._pipeline.finish()
            finally:
                self._pipeline.leave()

    def send(self, letter: Chosen, message: Publish, correlation_id: str) -> None:
        """Send the message of a letter; it may wait until there is room for it.

        Raises:
            PublishError: the broker cannot be reached, or refuses it for another reason than a
                full queue.
        """
        while self._unnoted >= UNNOTED:
            # One answer, and no more: the others stay on their way meanwhile.
            self._pipeline.settle(self._on_their_way() - 1)
            self._note_some()
            self._wait_for_room()
            self._raise_refusal()
        self._unsettled[self._position] = letter
        self._unnoted += 1
        self._add(correlation_id, letter, message)
        self._note_some()
        self._wait_for_room()
        self._raise_refusal()

    def finish(self) -> None:
        """Wait until everything is accepted and noted. Raises as :meth:`send`."""
        self._pipeline.finish()
        self._wait_for_room()
        self._note()
        self._pipeline.finish()
        # Last: what was accepted beside it is noted all the same.
        self._raise_refusal()

    # -- what the pipeline tells -----------------------------------------------------------------

    def accepted(self, job: Job) -> None:
        """The broker confirmed a message, or an entry."""
        if job.position in self._entries:
            self._unnoted -= self._entries.pop(job.position)
            return
        letter = self._unsettled.pop(job.position)
        self._accepted.append(letter.id)
        self._on_sent(letter)

    def refused(self, job: Job, error: Exception) -> None:
        """The broker refused a message, or an entry."""
        if isinstance(error, QueueFull):
            self._full.append(job)
        else:
            self._unsettled.pop(job.position, None)
            self._refused = self._refused or error

    # ------------------------------------------------------------------------------------------

    def _on_their_way(self) -> int:
        return len(self._unsettled) + len(self._entries)

    def _add(self, correlation_id: str, letter: Chosen | None, message: Publish) -> None:
        job = Job(
            self._position,
            correlation_id,
            (letter and letter.task) or "",
            letter.queue if letter else AUDIT_STREAM,
            (letter and letter.priority) or 0,
            message,
        )
        self._position += 1
        self._pipeline.add(job)

    def _note_some(self) -> None:
        if len(self._accepted) >= _ENTRY_LETTERS:
            self._note()

    def _note(self) -> None:
        if not self._accepted:
            return
        letters, self._accepted = tuple(self._accepted), []
        entry = Entry(
            verb=self._verb,
            at=time.time(),
            by=self._by,
            letters=letters,
            run=self._run,
            reason=self._reason,
            renamed=self._renamed,
        )
        self._entries[self._position] = len(letters)
        self._add("", None, entry_message(entry))

    def _wait_for_room(self) -> None:
        """Send again what a full queue refused, until it takes it."""
        pause = _FULL_SECONDS[0]
        while self._full:
            self._on_full(self._full[0].queue)
            time.sleep(pause)
            pause = min(pause * 2, _FULL_SECONDS[1])
            again, self._full = self._full, []
            for job in again:
                self._pipeline.add(
                    Job(job.position, job.task_id, job.name, job.queue, job.priority, job.message)
                )
            self._pipeline.finish()

    def _raise_refusal(self) -> None:
        if self._refused is not None:
            raise self._refused
