"""Traces: a span for each publish inside of a trace, a transaction for each sampled job.

What a trace is made of is the SDK's; which job is sampled is decided here, before anything of the
SDK is touched, because nearly all jobs are not. Which trace a job belongs to:
:mod:`laneway.sentry.trace`.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
import zlib
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import sentry_sdk
from celery import signals
from celery.exceptions import Ignore, Retry
from kombu import serialization
from sentry_sdk.tracing import Transaction, TransactionSource

from laneway.calls.prepared import READY_AT_HEADER
from laneway.publish.tracing import SENTRY_TRACE
from laneway.sentry.trace import PROCESS, PUBLISH, Trace, handed_on, span_id_of, trace_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sentry_sdk import Scope
    from sentry_sdk.tracing import NoOpSpan, Span

    from laneway.app import Laneway

log = logging.getLogger(__name__)

# What Sentry's Queues page asks for by name.
_SYSTEM: Final = "messaging.system"
_DESTINATION: Final = "messaging.destination.name"
_MESSAGE_ID: Final = "messaging.message.id"
_BODY_SIZE: Final = "messaging.message.body.size"
_RETRIES: Final = "messaging.message.retry.count"
_LATENCY: Final = "messaging.message.receive.latency"

_ORIGIN: Final = "auto.queue.laneway"
_EMBEDDED: Final = ("callbacks", "errbacks", "chain", "chord")
_ALL: Final = 2**32
#: By what Celery's signals know who waits for the ends of sampled jobs.
UID: Final = "laneway.sentry.spans"


class _FollowedPublish:
    """A publish inside of a trace, with its span if the trace is sampled."""

    __slots__ = ("_span", "headers")

    def __init__(self, headers: Mapping[str, str], span: Span | None = None) -> None:
        self.headers = headers
        self._span = span

    def end(self, size: int, error: BaseException | None = None) -> None:
        """The broker, or whoever takes the call, has the job; or it was refused."""
        span = self._span
        if span is None:
            return
        if size:
            span.set_data(_BODY_SIZE, size)
        span.set_status("ok" if error is None else "internal_error")
        span.finish()


class PublishSpans:
    """Follows the publishes of code that has an active trace.

    It is a :class:`laneway.publish.tracing.Tracer`.

    Code without one costs a look at the SDK's current scope. A job that is not sampled hands on the
    trace that it came with.
    """

    def __init__(self) -> None:
        self._said = False

    def follow(
        self, task: str, task_id: str, queue: str, *, retries: int = 0, parent: Any = None
    ) -> _FollowedPublish | None:
        """Begin to follow a publish; None if there is no trace."""
        try:
            return self._follow(task, task_id, queue, retries, parent)
        except Exception:  # a publish must not fail for its trace
            if not self._said:
                self._said = True
                log.exception("a publish is not traced; this is said once")
            return None

    def _follow(
        self, task: str, task_id: str, queue: str, retries: int, parent: Any
    ) -> _FollowedPublish | None:
        scope = sentry_sdk.get_current_scope()
        span = scope.span
        if span is None and scope.streamed_span is None:
            headers = handed_on(vars(parent.request)) if parent is not None else None
            return _FollowedPublish(headers) if headers else None
        client = sentry_sdk.get_client()
        if not client.is_active() or client.get_integration("celery") is not None:
            # The SDK's own Celery integration has put its headers there already.
            return None
        if span is None or not span.sampled or span.containing_transaction is None:
            headers = dict(scope.iter_trace_propagation_headers())
            return _FollowedPublish(headers) if headers else None
        child = span.start_child(op=PUBLISH, name=task, origin=_ORIGIN)
        child.update_data({_SYSTEM: "rabbitmq", _DESTINATION: queue, _MESSAGE_ID: task_id})
        if retries:
            child.set_data(_RETRIES, retries)
        return _FollowedPublish(dict(child.iter_headers()), child)


class _Running(NamedTuple):
    """A sampled job that runs."""

    transaction: Transaction
    #: Closed at its end: its scope, in which it is the span.
    left_by: contextlib.ExitStack


class JobSpans:
    """A transaction ``queue.process`` for each sampled job of a worker.

    A job whose trace was sampled, or not, where it began is treated the same here; otherwise so
    many of a hundred traces are sampled, by their id: all jobs of a workflow or none.

    Args:
        app: the application, for its settings of serialization.
        queue: the queue served; not a secure one.
        rate: share of the traces that are sampled where nobody has decided, 0 to 1.

    Raises:
        ValueError: ``rate`` is no such share, or the queue is a secure one.
    """

    def __init__(self, app: Laneway, queue: str, rate: float) -> None:
        if not 0 <= rate <= 1:
            raise ValueError(f"expected a sample rate of 0 to 1 for {queue!r}, got: {rate!r}")
        if app.policy.queue(queue).secure:
            raise ValueError(f"expected a queue whose jobs may be traced, got: {queue!r} (secure)")
        self._queue = queue
        self._rate = float(rate)
        self._limit = int(rate * _ALL)
        self._running: dict[str, _Running] = {}
        self._lock = threading.Lock()
        self._said = False

    def started(self, task: Any, request: Mapping[str, Any]) -> None:
        """A job's code begins, in this thread.

        Args:
            task: its task.
            request: what Celery knows of the job, its message's headers among it.
        """
        given = request.get(SENTRY_TRACE)
        trace: Trace | None = None
        if given is None:
            if not self._limit:
                return
            key = request.get("root_id") or request["id"]
        elif type(given) is str and given[-2:] == "-0":
            return
        else:
            trace = trace_of(request)
            key = None if trace.sampled else trace.trace_id
        if key is not None and (not self._limit or zlib.crc32(key.encode()) >= self._limit):
            return
        try:
            running = self._begin(task.name, request, trace)
        except Exception:  # a job must not fail for its trace
            running = None
            if not self._said:
                self._said = True
                log.exception("a job of %r is not traced; this is said once", self._queue)
        if running is not None:
            with self._lock:
                self._running[request["id"]] = running
                # Only now: the jobs that are not sampled need not tell of their end.
                signals.task_postrun.connect(self.ended, weak=False, dispatch_uid=UID)

    def ended(self, task_id: str, retval: Any = None, state: str | None = None, **_: Any) -> None:
        """Celery's signal after a job's code, and after the next steps were published."""
        with self._lock:
            running = self._running.pop(task_id, None)
            if not self._running:
                signals.task_postrun.disconnect(dispatch_uid=UID)
        if running is None:
            return
        well = state == "SUCCESS" or isinstance(retval, Ignore)
        if isinstance(retval, Retry):
            # One that waits for something has no error.
            well = retval.exc is None
        running.transaction.set_status("ok" if well else "internal_error")
        running.left_by.close()

    def _begin(self, task: str, request: Mapping[str, Any], trace: Trace | None) -> _Running | None:
        if request.get("is_eager"):  # run by a job's code, as a part of that job
            return None
        if sentry_sdk.get_client().get_integration("celery") is not None:
            # The project's own client, and Sentry's own transaction of the job.
            return None
        with contextlib.ExitStack() as stack:
            scope = stack.enter_context(sentry_sdk.isolation_scope())
            transaction = self._start(scope, task, request, trace or trace_of(request))
            if not isinstance(transaction, Transaction) or not transaction.sampled:
                return None
            transaction.update_data(self._data(request))
            transaction.set_tag("queue", self._queue)
            stack.enter_context(transaction)
            return _Running(transaction, stack.pop_all())

    def _start(
        self,
        scope: Scope,
        task: str,
        request: Mapping[str, Any],
        trace: Trace,
    ) -> Transaction | NoOpSpan:
        span_id = span_id_of(request)
        if trace.parent_span_id is None:
            # What logs and events of the job without a span of their own belong to.
            scope.generate_propagation_context({SENTRY_TRACE: f"{trace.trace_id}-{span_id}"})
            transaction = Transaction(
                name=task,
                op=PROCESS,
                source=TransactionSource.TASK,
                origin=_ORIGIN,
                trace_id=trace.trace_id,
            )
        else:
            transaction = scope.continue_trace(
                handed_on(request),
                op=PROCESS,
                name=task,
                source=TransactionSource.TASK,
                origin=_ORIGIN,
            )
        transaction.span_id = span_id
        if trace.sampled is not None:
            return scope.start_transaction(transaction)
        # The dice are cast: the SDK is told the decision, and the trace the rate behind it.
        transaction.sampled = True
        started = scope.start_transaction(transaction)
        transaction.sample_rate = self._rate
        return started

    def _data(self, request: Mapping[str, Any]) -> dict[str, Any]:
        data: dict[str, Any] = {
            _SYSTEM: "rabbitmq",
            _DESTINATION: self._queue,
            _MESSAGE_ID: request.get("id"),
            _RETRIES: request.get("retries") or 0,
        }
        ready_at = request.get(READY_AT_HEADER)
        if isinstance(ready_at, int | float):
            # From when the job could start: an ETA, or the wait before a retry, is no latency.
            data[_LATENCY] = max(0.0, (time.time() - ready_at) * 1000)
        if (size := _body_size(request)) is not None:
            data[_BODY_SIZE] = size
        return data


def _body_size(request: Mapping[str, Any]) -> int | None:
    """Bytes of a job's body, uncompressed: written once more, as nobody else keeps their number."""
    embedded = {name: request.get(name) for name in _EMBEDDED}
    try:
        payload = serialization.dumps((request["args"], request["kwargs"], embedded), "json")[2]
    except Exception:  # noqa: BLE001 (arguments that another serializer carried)
        return None
    return len(payload.encode() if isinstance(payload, str) else payload)
