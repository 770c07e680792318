"""The results of jobs that the broker gave up: FAILURE, so that nobody waits for ever.

What Celery does at the end of a job that failed is done here: the state, the rest of its chain, its
place in a chord, its error callbacks. A result that is there already stays: a worker that could
still say how the job ended knows better.

Letters do not wait for results. While the result backend is away the results wait here, are tried
again a bounded number of times, and are counted.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from celery import states
from celery.app.task import Context
from celery.backends.base import DisabledBackend
from celery.backends.rpc import RPCBackend

from laneway.errors import DeadLettered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celery import Celery

    from laneway.control.given_up import GivenUp

log = logging.getLogger(__name__)

#: Seconds that letters wait for their results.
PATIENCE: Final = 2.0
#: How often one result is tried.
TRIES: Final = 10
#: Results that wait for their backend at most, those tried again included.
MOST_WAITING: Final = 20_000
#: Seconds between two tries while the backend is away, at most.
LONGEST_PAUSE: Final = 30.0
#: What of a message's headers Celery's backends look at, and the type that it must have there.
_HEADERS: Final = {
    "root_id": str,
    "parent_id": str,
    "group": str,
    "group_index": int,
    "retries": int,
}
# Of a backend that is away there is no end; these are answers that would come again.
_FINAL: Final = (
    TypeError,
    ValueError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)


@dataclass(slots=True)
class Counts:
    """What became of the results since the process began."""

    #: The job's result says FAILURE now.
    written: int = 0
    #: It had one already.
    kept: int = 0
    #: Nobody will be told: tried too often, or too many waited.
    given_up: int = 0


class Results:
    """Writes results in a thread of its own.

    Args:
        app: whose backend it is.
        patience: seconds that :meth:`settle` waits.
        first_pause: seconds before the second try; doubled with each failure in a row.
    """

    def __init__(
        self, app: Celery, *, patience: float = PATIENCE, first_pause: float = 1.0
    ) -> None:
        self._app = app
        self._patience = patience
        self._first_pause = first_pause
        self._news = threading.Condition()
        self._waiting: deque[_Result] = deque()
        self._failures = 0
        self._pause_until = 0.0
        self._stopping = False
        self._thread: threading.Thread | None = None
        self.counts = Counts()
        #: Whether there is a backend that keeps results. (rpc sends them to who asked, once.)
        self.kept = not isinstance(app.backend, DisabledBackend | RPCBackend)

    @property
    def waiting(self) -> int:
        """Results that wait for their backend."""
        return len(self._waiting)

    def settle(self, jobs: Sequence[GivenUp]) -> None:
        """Write the results of jobs; waits for a moment, and not at all while the backend is away.

        What is not written then is written later, or given up after :data:`TRIES` tries.
        """
        named = [job for job in jobs if job.headers] if self.kept else []
        if not named:
            return
        batch = _Batch(len(named))
        with self._news:
            room = MOST_WAITING - len(self._waiting)
            if len(named) > room:
                self._give_up(len(named) - room, "too many wait for the result backend")
            self._waiting.extend(_Result(job, batch) for job in named[: max(0, room)])
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="results", daemon=True)
                self._thread.start()
            self._news.notify()
            away = self._failures > 0
        if not away and len(named) <= room:
            batch.done.wait(self._patience)

    def stop(self, seconds: float) -> None:
        """Try what waits once more, for so many seconds; what is left then is given up."""
        with self._news:
            self._stopping = True
            self._news.notify()
        if self._thread is not None:
            self._thread.join(seconds)
        with self._news:
            if self._waiting:
                self._give_up(len(self._waiting), "the control process ends")
                self._waiting.clear()

    # -- the thread ----------------------------------------------------------------------------

    def _run(self) -> None:
        while (result := self._next()) is not None:
            try:
                self._write(result.job)
            except Exception as error:  # noqa: BLE001 (backends raise what they like)
                self._failed(result, error)
            else:
                self._failures = 0
                result.batch.one_less()

    def _next(self) -> _Result | None:
        with self._news:
            while True:
                pause = self._pause_until - time.monotonic()
                if self._stopping and (not self._waiting or self._failures):
                    return None
                if self._waiting and pause <= 0:
                    return self._waiting.popleft()
                self._news.wait(pause if self._waiting else None)

    def _failed(self, result: _Result, error: Exception) -> None:
        result.batch.one_less()
        result.tries = TRIES if isinstance(error, _FINAL) else result.tries + 1
        if result.tries >= TRIES:
            self._give_up(1, f"that of {result.job.letter.task_id}: {error!r}")
            return
        with self._news:
            self._failures += 1
            pause = min(self._first_pause * 2 ** min(self._failures - 1, 10), LONGEST_PAUSE)
            self._pause_until = time.monotonic() + pause
            self._waiting.append(result)
        log.warning(
            "the result of %s was not written: %r; again in %g s",
            result.job.letter.task_id,
            error,
            pause,
        )

    def _give_up(self, number: int, why: str) -> None:
        self.counts.given_up += number
        log.error("%d results given up: %s. The letters stand.", number, why)

    def _write(self, job: GivenUp) -> None:
        letter, backend = job.letter, self._app.backend
        stored = backend.get_task_meta(letter.task_id, cache=False)
        ours = _is_ours(stored, letter.id)
        if stored["status"] in states.READY_STATES and not ours:
            self.counts.kept += 1
            return
        error = DeadLettered(letter.message or letter.outcome, letter.cause, letter.id)
        context = _context(job)
        # Ours from before: whoever wrote it may have been killed before the rest was done.
        store = not ours and not context.ignore_result
        backend.mark_as_failure(letter.task_id, error, request=context, store_result=store)
        self.counts.written += store


@dataclass(slots=True)
class _Result:
    job: GivenUp
    batch: _Batch
    tries: int = 0


class _Batch:
    """Results that somebody waits for; each counts down once."""

    def __init__(self, number: int) -> None:
        self._left = number
        self.done = threading.Event()

    def one_less(self) -> None:
        self._left -= 1
        if self._left <= 0:
            self.done.set()


def _is_ours(stored: dict[str, Any], letter: str) -> bool:
    error = stored.get("result")
    return (
        stored["status"] == states.FAILURE
        and isinstance(error, DeadLettered)
        and error.letter == letter
    )


def _context(job: GivenUp) -> Context:
    """What Celery knows of a job when it fails; nothing of its arguments."""
    headers, letter = job.headers, job.letter
    known = {
        name: headers[name]
        for name, kind in _HEADERS.items()
        if isinstance(headers.get(name), kind)
    }
    return Context(
        {
            **known,
            **_embedded(job),
            "id": letter.task_id,
            "task": letter.task,
            "ignore_result": headers.get("ignore_result") is True,
            "correlation_id": job.properties.get("correlation_id"),
            "reply_to": job.properties.get("reply_to"),
            "delivery_info": {"routing_key": letter.queue},
        }
    )


def _embedded(job: GivenUp) -> dict[str, Any]:
    """The chord, the chain and the error callbacks of a job, which its body carries."""
    original = job.letter.original
    if original is None or job.properties.get("content_type") != "application/json":
        return {}
    try:
        found = json.loads(original.body)[2]
        chord, chain, errbacks = (found.get(name) for name in ("chord", "chain", "errbacks"))
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        # No job's body, or one that only its worker can open.
        return {}
    return {
        "chord": chord if isinstance(chord, dict) else None,
        "chain": _dicts(chain),
        "errbacks": _dicts(errbacks),
    }


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
