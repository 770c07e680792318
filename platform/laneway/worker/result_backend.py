"""The result backend of a worker: Celery's for Redis, which no job waits for or fails because of.

What says how a job ended (its result, its part of a chord) is tried for a moment, and then kept by
:class:`laneway.results.late.LateResults` until it can be written. What only says how far it
is (STARTED, RETRY, the states of ``update_state``) is tried once and forgotten.
"""

from __future__ import annotations

import random
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from celery import states
from celery._state import _task_stack
from celery.app.task import Context
from celery.backends.base import BaseKeyValueStoreBackend
from celery.exceptions import BackendGetMetaError, SoftTimeLimitExceeded
from redis.exceptions import DataError, RedisError

from laneway.results.backlog import Write
from laneway.results.redis import JobRedisBackend, JobSentinelBackend

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from laneway.results.late import LateResults

#: Seconds for which a job's end is tried again before it is left to be written later. Nobody waits
#: while the backend is known to be away.
PATIENCE: Final = 2.0
#: Seconds between two of these tries, at least and at most.
_BETWEEN: Final = (0.05, 0.25)
#: Seconds beyond a chord's claim before its counting is tried again.
_MARGIN: Final = 2.0
#: What of a request is not kept with a result that waits, unless results show it.
_ARGUMENTS: Final = frozenset({"args", "kwargs"})


def is_away(error: BaseException) -> bool:
    """Whether an error says that the backend could not, and not that the value cannot be stored.

    A soft time limit that comes while a result is stored comes too late: the job has ended.
    """
    if isinstance(error, DataError):
        return False
    return isinstance(error, RedisError | OSError | SoftTimeLimitExceeded)


class PatientBackend(BaseKeyValueStoreBackend):
    """What is changed of a backend of Celery's; stands before it among the base classes."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # Else Celery would try for ever, with the job unfinished.
        self.always_retry = False
        self._late: LateResults = self.app.late_results
        #: Failures that are being stored.
        self._failing = 0

    # -- what Celery calls ---------------------------------------------------------------------

    def store_result(
        self,
        task_id: str,
        result: Any,
        state: str,
        traceback: str | None = None,
        request: Any = None,
        **options: Any,
    ) -> Any:
        """Celery's way to store a state; if it is an end, it will be stored.

        Raises:
            Exception: it cannot be serialised, or is too large.
        """
        store = partial(
            super().store_result, task_id, traceback=traceback, request=request, **options
        )
        if state not in states.READY_STATES:
            if not self._late.is_away():
                self._try_once(partial(store, result, state))
            return result
        if self._is_free(task_id) and self._insist(partial(store, result, state)):
            return result
        encoded = self.encode_result(result, state)
        payload = self.encode(encoded)
        write = partial(
            _store_late,
            self.app,
            task_id,
            payload,
            state,
            traceback=traceback,
            request=self._kept(request),
            **options,
        )
        self._late.add(task_id, _task_of(request), Write("result", write, len(payload)))
        return encoded

    def on_chord_part_return(
        self, request: Any, state: str, result: Any, *args: Any, **options: Any
    ) -> Any:
        """Celery's way to count a member of a chord; it will be counted."""
        task_id, group = request.id, request.group
        if not (task_id and group):
            return None
        wait = 0.0
        if self._is_free(task_id):
            try:
                return super().on_chord_part_return(request, state, result, *args, **options)
            except Exception as error:
                if not is_away(error):
                    raise
                self._late.failed(error)
                wait = self._claim()
        payload = self.encode(self.encode_result(result, state))
        write = partial(_count_late, self.app, self._kept(request), state, payload)
        part = Write(f"part of {group}", write, len(payload), rest=self._claim())
        self._late.add(task_id, _task_of(request), part, wait=wait)
        return None

    def mark_as_failure(self, *args: Any, **options: Any) -> None:
        """Celery's way to store a failure, and those of the rest of its chain."""
        self._failing += 1
        try:
            super().mark_as_failure(*args, **options)
        finally:
            self._failing -= 1

    def get_state(self, task_id: str) -> str:
        """The state of a job.

        Of the rest of a chain that fails Celery asks it to know what has been counted in a chord.
        If that cannot be said it is PENDING: what is counted twice counts once.
        """
        try:
            state: str = super().get_state(task_id)
        except Exception as error:
            if self._failing and (is_away(error) or isinstance(error, BackendGetMetaError)):
                return str(states.PENDING)
            raise
        return state

    def get_task_meta(self, task_id: str, cache: bool = True) -> Any:
        """What is stored of a job.

        Raises:
            BackendGetMetaError: outside a task's code, where Celery expects it, if the backend is
                away.
        """
        try:
            return super().get_task_meta(task_id, cache)
        except Exception as error:
            if is_away(error) and self.app.current_task is None:
                words = "the result backend does not answer"
                raise BackendGetMetaError(words, task_id=task_id) from error
            raise

    def set(self, key: Any, value: Any, **options: Any) -> Any:
        """Celery's way to write a result to Redis; without its own patience of 20 seconds."""
        return super().set(key, value, **{"max_retries": 0, **options})

    # -- trying --------------------------------------------------------------------------------

    def _is_free(self, task_id: str) -> bool:
        late = self._late
        return not late.troubled or not (late.is_away() or late.holds(task_id))

    def _try_once(self, store: Callable[[], object]) -> None:
        try:
            store()
        except Exception as error:
            if not is_away(error) or isinstance(error, SoftTimeLimitExceeded):
                raise
            self._late.failed(error)

    def _insist(self, store: Callable[[], object]) -> bool:
        """Whether it was stored within a moment."""
        until = time.monotonic() + PATIENCE
        try:
            while True:
                try:
                    store()
                except Exception as error:
                    if not is_away(error):
                        raise
                    over = isinstance(error, SoftTimeLimitExceeded) or time.monotonic() >= until
                    if over or self._late.is_away():
                        self._late.failed(error)
                        return False
                else:
                    return True
                time.sleep(random.uniform(*_BETWEEN))  # noqa: S311 (only a pause)
        except SoftTimeLimitExceeded:
            return False

    def _claim(self) -> float:
        """Seconds after which a try to count that broke off keeps no other from publishing."""
        conf = self.app.conf
        joining = 2 * (conf.result_chord_join_timeout or 5.0)
        publishing = 2 * (conf.broker_connection_timeout or joining)
        return float(max(5.0, joining, publishing) + _MARGIN)

    def _kept(self, request: Any) -> Any:
        """What is kept of a request while its result waits."""
        if not isinstance(request, Context) or self.app.conf.result_extended:
            return request
        known = vars(request).items()
        return Context({name: value for name, value in known if name not in _ARGUMENTS})

    # -- what waited, from the thread that writes it -------------------------------------------

    def store_late(self, task_id: str, payload: Any, state: str, **options: Any) -> None:
        """Store a result that waited; raises if it could not."""
        super().store_result(task_id, self.decode(payload), state, **options)

    def count_late(self, request: Any, state: str, payload: Any) -> None:
        """Count a member of a chord that waited; raises if it could not."""
        with _as_if_it_ran(self.app, request):
            super().on_chord_part_return(request, state, self.decode(payload))
        size, claim = (self.get_key_for_group(request.group, end) for end in (".s", ".c"))
        if not any(self.mget([size, claim])):
            words = f"Redis has forgotten its chord {request.group}: the body will not run"
            self._late.lost(_task_of(request), request.id, words)


class PatientRedisBackend(PatientBackend, JobRedisBackend):
    """Celery's backend for Redis."""


class PatientSentinelBackend(PatientBackend, JobSentinelBackend):
    """Celery's backend for Redis behind Sentinel."""


def _store_late(app: Any, task_id: str, payload: Any, state: str, **options: Any) -> None:
    # Each thread has a backend of its own.
    app.backend.store_late(task_id, payload, state, **options)


def _count_late(app: Any, request: Any, state: str, payload: Any) -> None:
    app.backend.count_late(request, state, payload)


@contextmanager
def _as_if_it_ran(app: Any, request: Any) -> Iterator[None]:
    """Publish what follows as from the job itself: with its priority, waiting for room."""
    task = app.tasks.get(request.task)
    if task is None:
        yield
        return
    request.called_directly = False
    _task_stack.push(task)
    task.request_stack.push(request)
    try:
        yield
    finally:
        task.request_stack.pop()
        _task_stack.pop()


def _task_of(request: Any) -> str | None:
    name = getattr(request, "task", None)
    return name if isinstance(name, str) else None
