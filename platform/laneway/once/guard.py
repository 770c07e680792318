"""``@app.task(once=…)``: at-least-once delivery becomes effectively-once, where it is asked for.

A lease keeps a second delivery of a job from running beside the first, and what the code returned
is kept, so that a delivery that comes later need not run it again::

    nothing ──lease──> runs ──the code returned──> ended ──result stored, links published──> done
       ^                 │
       └── it failed, is retried, or its process died (the lease's end)

A delivery that finds ``done`` does nothing. One that finds ``ended`` goes on with what was
returned: the process died before it stored the result or published the next step of a chain.
"""

from __future__ import annotations

import logging
import math
import secrets
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

from celery.exceptions import Ignore, Reject
from kombu.utils.json import dumps, loads

from laneway.errors import PublishError
from laneway.once.around import own_of, put_around
from laneway.once.job_key import JobKey
from laneway.once.lease import Lease
from laneway.once.marks import MarksUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable

    from laneway.once.marks import Standing
    from laneway.once.once import Once

log = logging.getLogger(__name__)

#: Message header: deliveries that ended badly and were counted before the job was put off.
COUNTED_HEADER: Final = "laneway_counted"
#: Bytes of JSON up to which what a job returned is kept.
LARGEST_VALUE: Final = 65_536
#: Seconds after which a job that needs Redis looks again whether it is there.
_AWAY_WAIT: Final = 10
#: Seconds to hold a job that could not be put off, before the broker has it back.
_REFUSED_PAUSE: Final = 1.0
# The first letter of a mark.
_LEASE, _ENDED, _DONE = "L", "E", "D"


class AlreadyDone(Ignore):
    """The job has been done: this delivery does nothing."""


class PutOff(Ignore):
    """The job was published again and will be looked at later; nothing ran."""


def bind_once(task: type, once: Once) -> None:
    """Make the jobs of a class of tasks run effectively once.

    Raises:
        ValueError: ``key`` names no argument of the task.
    """
    run, signature = own_of(task, "run")
    key = JobKey(task.name, once.key, signature) if once.key is not None else None  # type: ignore[attr-defined]
    guard = _Guard(once, key)

    def guarded(self: Any, *args: Any, **kwargs: Any) -> Any:
        """The task's own code, unless it ran before."""
        return guard.run(self, run.__get__(self, type(self)), args, kwargs)

    success, _ = own_of(task, "on_success")

    def on_success(self: Any, retval: Any, task_id: Any, args: Any, kwargs: Any) -> None:
        """Celery's hook: the result is stored, and what follows is published."""
        try:
            success.__get__(self, type(self))(retval, task_id, args, kwargs)
        except Reject:
            raise
        except Exception:
            guard.finish(self)
            raise
        guard.finish(self)

    put_around(task, "run", run, guarded)
    put_around(task, "on_success", success, on_success)


class _Ended(NamedTuple):
    """What is known of a job whose code returned."""

    key: str
    task_id: str
    #: The JSON of what it returned; None if that is not kept.
    text: str | None
    #: Held until nothing is left to do, so that no other delivery does it as well.
    lease: Lease


class _Guard:
    """Stands before the code of one task."""

    def __init__(self, once: Once, key: JobKey | None) -> None:
        self._once = once
        self._key = key

    def run(
        self, task: Any, code: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        request = task.request
        if request.called_directly or request.is_eager:
            return code(*args, **kwargs)
        request.laneway_once = None
        counted = _counted(request)
        if counted and counted > task.app.policy.queue(task.app.serving).broker.delivery_limit:
            raise Reject(f"its process died {counted} times", requeue=False)
        key = self._key_of(task, args, kwargs)
        lease = Lease(
            f"lease:{key}", f"{_LEASE}{secrets.token_hex(8)} {request.id}", self._once.lease
        )
        try:
            found = task.app.marks.enter(key, lease.key, lease.text, lease.seconds, final=_DONE)
        except MarksUnreachable as error:
            if self._once.strict:
                _put_off(task, counted, _AWAY_WAIT, f"Redis does not answer: {error}")
            _tell_unguarded(task, f"ran without a lease: {error}")
            return code(*args, **kwargs)
        if found is not None:
            return self._what_was(task, key, lease, found, counted)
        return self._with_lease(task, key, lease, code, args, kwargs)

    def _key_of(self, task: Any, args: Any, kwargs: Any) -> str:
        if self._key is None:
            return f"once:{task.request.id}"
        secure = task.app.policy.queue(task.app.serving).secure
        return f"once:{task.name}:{self._key.of(args, kwargs, secure=secure)}"

    def _with_lease(
        self,
        task: Any,
        key: str,
        lease: Lease,
        code: Callable[..., Any],
        args: Any,
        kwargs: Any,
    ) -> Any:
        renewal = task.app.lease_renewal
        renewal.begin(lease)
        try:
            value = code(*args, **kwargs)
            text = _text_of(task, value)
        except BaseException:
            # Failed, to be retried, rejected, stopped: the next run must not wait.
            renewal.end(lease)
            _release(task, lease)
            raise
        # From here it lasts for what is left of its time at most, whatever becomes of the process.
        renewal.end(lease)
        ended = _Ended(key, task.request.id, text, lease)
        if _nothing_follows(task):
            self._note(task, _DONE, ended)
        else:
            if text is not None:
                self._note(task, _ENDED, ended)
            task.request.laneway_once = ended
        return value

    def _what_was(self, task: Any, key: str, lease: Lease, found: Standing, counted: int) -> Any:
        kind, text = found.text[:1], found.text[1:]
        if kind == _LEASE:
            _put_off(task, counted, found.seconds, "another process holds its lease")
        task_id, _, value = text.partition(" ")
        is_same = task_id == task.request.id
        if kind == _ENDED and is_same:
            task.request.laneway_once = _Ended(key, task_id, value, lease)
        elif kind == _ENDED:
            _release(task, lease)
        elif is_same or not value:
            raise AlreadyDone("done already" if is_same else f"done already by {task_id}")
        return loads(value)

    def finish(self, task: Any) -> None:
        """Nothing of the job is left to do."""
        ended = getattr(task.request, "laneway_once", None)
        if isinstance(ended, _Ended):
            self._note(task, _DONE, ended)

    def _note(self, task: Any, kind: str, ended: _Ended) -> None:
        text = f"{kind}{ended.task_id} {ended.text or ''}"
        try:
            task.app.marks.put(ended.key, text, self._once.keep)
        except MarksUnreachable as error:
            _tell_unguarded(task, f"its end could not be noted: {error}")
            return
        if kind == _DONE:
            _release(task, ended.lease)


def _release(task: Any, lease: Lease) -> None:
    try:
        task.app.marks.drop(lease.key, lease.text)
    except MarksUnreachable as error:
        log.warning("a lease ends only with its time (%g s): %s", lease.seconds, error)


def _put_off(task: Any, counted: int, seconds: float, why: str) -> NoReturn:
    """Publish the job again, as it is, for later."""
    signature = task.signature_from_request(
        task.request,
        countdown=math.ceil(seconds) + 1,
        retries=task.request.retries,
        headers={COUNTED_HEADER: counted},
    )
    try:
        signature.apply_async()
    except PublishError as error:
        time.sleep(_REFUSED_PAUSE)
        raise Reject(f"{why}, and it could not be put off: {error}", requeue=True) from error
    raise PutOff(why)


def _counted(request: Any) -> int:
    """How often the broker counted that a delivery of this job ended badly, in all."""
    before = getattr(request, COUNTED_HEADER, None)
    now = getattr(request, "x-delivery-count", None)
    return sum(number for number in (before, now) if isinstance(number, int))


def _text_of(task: Any, value: Any) -> str | None:
    """What is kept of what the code returned."""
    if task.app.policy.queue(task.app.serving).secure:
        return None
    try:
        text = dumps(value)
    except Exception:  # noqa: BLE001 (the tracer tells, when it stores the result)
        return None
    return text if len(text) <= LARGEST_VALUE else None


def _nothing_follows(task: Any) -> bool:
    """Whether there is neither a result to store nor another job to publish."""
    request = task.request
    ignored = task.ignore_result if request.ignore_result is None else request.ignore_result
    return bool(ignored) and not (
        request.callbacks or request.chain or request.chord or request.group
    )


def _tell_unguarded(task: Any, why: str) -> None:
    task.app.facts.tell(
        "unguarded",
        queue=task.app.serving,
        task=task.name,
        task_id=task.request.id,
        worker=task.request.hostname,
        reason=why,
    )
