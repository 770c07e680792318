"""The reporter: one event for each dead letter, as long as no storm holds it back.

::

    the job's code raised for good ──> raised() ─┐
                                                 ├─> storm ──> event ──> client ──> Sentry
    everything else that ends a job ─> report() ─┘      └──> held back, counted on a later event

Whoever runs the job's code reports what that raised, with its traceback; whoever writes the letter
reports all other ends. Nothing here ever raises into a job, and nothing waits for the network: the
SDK sends from a thread of its own, and loses, with a count, what its queue has no room for.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from laneway.after_fork import start_afresh_in_child
from laneway.deadletter.cause import cause_of
from laneway.sentry import scrub
from laneway.sentry.closing import Closer
from laneway.sentry.config import FLUSH
from laneway.sentry.event import Seen, closing_event, event_id_of, event_of, remembered
from laneway.sentry.installed import check_installed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import sentry_sdk
    from sentry_sdk.transport import Transport

    from laneway.app import Laneway
    from laneway.deadletter.letter import Letter
    from laneway.sentry.config import Config
    from laneway.sentry.storm import Held, Storm

log = logging.getLogger(__name__)

#: Causes of which the last event is remembered, for a closing event.
_REMEMBERED: Final = 200
#: Bytes of a message in which a job's values are looked up.
_LARGEST_BODY: Final = 1024 * 1024


class Reporter:
    """Reports the failures of one kind of queues from one process and those that it forks.

    Args:
        app: whose policy and door for facts are used.
        config: the settings, with a DSN for these queues.
        secure: whether only type, place, task, ids and times may leave.
        worker: the node name, for facts.
        storm: which failures become an event.
        transport: makes what sends, instead of HTTP; for tests.

    Raises:
        SettingsError: the SDK is not installed, or too old.
    """

    def __init__(
        self,
        app: Laneway,
        config: Config,
        *,
        secure: bool,
        worker: str,
        storm: Storm,
        transport: Callable[[], Transport] | None = None,
    ) -> None:
        check_installed()
        # Only here: it is an extra, and memory.
        from laneway.sentry import scopes, sdk  # noqa: PLC0415 (see above)

        dsn = config.dsn_for(secure=secure)
        assert dsn is not None
        self._sdk, self._scopes = sdk, scopes
        self._dsn = dsn
        self._app = app
        self._config = config
        self._secure = secure
        self._worker = worker
        self._storm = storm
        self._transport = transport
        self._installed = False
        self._closer = Closer(storm, self._close_storm)
        self.start_afresh()
        start_afresh_in_child(self)

    def start_afresh(self) -> None:
        """Have no client: its threads and locks are the parent's."""
        self._lock = threading.Lock()
        self._client: sentry_sdk.Client | None = None
        #: Of each cause what a closing event of it needs.
        self._last: OrderedDict[str, dict[str, Any]] = OrderedDict()

    @property
    def client(self) -> sentry_sdk.Client:
        """The SDK's client in this process."""
        with self._lock:
            if self._client is None:
                self._client = self._sdk.make_client(
                    self._dsn,
                    self._config,
                    secure=self._secure,
                    lost=self._lost,
                    transport=self._transport() if self._transport else None,
                )
            return self._client

    def install(self) -> None:
        """Make the client the process's own, so that what tasks capture themselves goes there too.

        A client that the project set up before is kept, but for secure queues.
        """
        self._installed = self._scopes.install(self.client, secure=self._secure)

    def renew(self) -> None:
        """Give a forked process a client of its own; to be called when it begins."""
        if self._installed:
            self._scopes.replace(self.client)

    # -- reporting -----------------------------------------------------------------------------

    def event_id(self, letter: str) -> str:
        """The id of a letter's event, by the letter's id."""
        return event_id_of(letter)

    def report(self, letter: Letter) -> None:
        """Report an end that no code of the task raised; the letter says all of it."""
        try:
            storm = self._storm_of(letter)
            held = self._admit(letter, storm)
            if held is None and not self._is_new(storm):
                return
            # (What is only remembered needs no text of its own.)
            is_bare = self._secure or held is None
            event = event_of(
                letter,
                config=self._config,
                policy=self._app.policy,
                held=held or 0,
                words=None if is_bare else _words_of_message(letter),
            )
            self._remember(storm, event)
            if held is not None:
                self.client.capture_event(event)  # type: ignore[arg-type]
        except Exception as error:  # noqa: BLE001 (a job must not notice)
            log.warning("%s was not reported: %s", letter.id, type(error).__name__)

    def raised(
        self,
        letter: Letter,
        error: BaseException,
        task: Any,
        call: tuple[Any, Any],
        started_at: float | None,
    ) -> None:
        """Report what a job's code raised for good, in the process and thread that ran it.

        Args:
            letter: what its letter will say, the message left out.
            error: with its traceback.
            task: the task.
            call: what it was called with, positional and by name.
            started_at: when its code began, in seconds since 1970.
        """
        try:
            held = self._admit(letter, letter.cause)
            if held is not None or self._is_new(letter.cause):
                self._capture(letter, error, task, call, started_at, held)
        except Exception as wrong:  # noqa: BLE001 (a job must not notice)
            log.warning("%s was not reported: %s", letter.id, type(wrong).__name__)

    def _capture(
        self,
        letter: Letter,
        error: BaseException,
        task: Any,
        call: tuple[Any, Any],
        started_at: float | None,
        held: int | None,
    ) -> None:
        client, args, kwargs = self.client, call[0] or (), call[1] or {}
        allowed = {} if self._secure else self._sdk.allowed_values(task, args, kwargs)
        event = event_of(
            letter,
            config=self._config,
            policy=self._app.policy,
            held=held or 0,
            seen=Seen(started_at=started_at, arguments=allowed),
        )
        words = scrub.Words(args, kwargs, list(allowed.values()))
        # The SDK says it of a job that is traced.
        trace = event["contexts"].pop("trace")
        event["exception"], hint = self._scopes.exception_of(client, error, words)
        self._remember(letter.cause, event)
        if held is not None:
            self._scopes.capture(client, event, {**hint, self._sdk.WORDS: words}, trace)

    def _storm_of(self, letter: Letter) -> str:
        """The cause that storm control is asked with.

        The name of a task that nobody here knows is written by whoever publishes. With causes of
        their own a flood of names would be a flood of events: all of a kind are one storm.
        """
        if letter.outcome != "quarantined" or letter.task in self._app.tasks:
            return letter.cause
        return cause_of(None, letter.error_type, letter.place)

    def _admit(self, letter: Letter, storm: str) -> int | None:
        held = self._storm.admit(storm)
        self._app.facts.tell(
            "report_held" if held is None else "reported",
            queue=letter.queue,
            task=letter.task,
            task_id=letter.task_id,
            worker=self._worker,
            cause=letter.cause,
            letter=None if held is None else letter.id,
        )
        return held

    def _lost(self, reason: str, number: int) -> None:
        for _ in range(number):
            self._app.facts.tell(
                "report_lost", queue=self._app.serving, worker=self._worker, reason=reason
            )

    # -- storms --------------------------------------------------------------------------------

    def _is_new(self, cause: str) -> bool:
        return cause not in self._last

    def _remember(self, cause: str, event: Mapping[str, Any]) -> None:
        with self._lock:
            self._last[cause] = remembered(event)
            self._last.move_to_end(cause)
            if len(self._last) > _REMEMBERED:
                self._last.popitem(last=False)

    def _close_storm(self, held: Held) -> None:
        event = closing_event(held, self._last.get(held.cause), config=self._config, at=time.time())
        self.client.capture_event(event)  # type: ignore[arg-type]

    def close(self, seconds: float = FLUSH) -> None:
        """Send what is left, for so many seconds at most; the process ends, or this worker."""
        until = time.monotonic() + seconds
        try:
            self._closer.close(seconds)
            with self._lock:
                client, self._client = self._client, None
            if client is not None:
                client.close(timeout=max(0.0, until - time.monotonic()))
        except Exception as error:  # noqa: BLE001 (nothing keeps a process from ending)
            log.warning("the last events were not sent: %s", type(error).__name__)


def _words_of_message(letter: Letter) -> scrub.Words | None:
    """What takes a job's values out of texts; None if they are not known."""
    original = letter.original
    if original is None or len(original.body) > _LARGEST_BODY:
        return None
    found = _call_of(original.body)
    return None if found is None else scrub.Words(*found)


def _call_of(body: bytes) -> tuple[Sequence[Any], Mapping[str, Any]] | None:
    try:
        args, kwargs, *_ = json.loads(body)
    except (ValueError, TypeError, RecursionError):
        return None
    return (args, kwargs) if isinstance(args, list) and isinstance(kwargs, dict) else None
