"""From Celery's signals to Sentry: what the code of jobs raised for good, where it ran.

All other ends are reported by whoever writes the letter (``laneway.worker.letters``). Connected
only where a DSN is set.
"""

from __future__ import annotations

import sys
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from billiard.exceptions import TimeLimitExceeded, WorkerLostError
from celery import signals
from celery.exceptions import Ignore, Reject
from celery.utils.serialization import get_pickled_exception

from laneway.sentry.attach import attach
from laneway.sentry.config import FLUSH, read_config
from laneway.sentry.start import keep_quiet, reporter_for
from laneway.worker.letters import LetterWriter, failure_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from laneway.app import Laneway
    from laneway.sentry.reporter import Reporter
    from laneway.sentry.scopes import JobScopes
    from laneway.sentry.spans import JobSpans
    from laneway.worker.telling import Teller

_UID: Final = "laneway.reporting"
#: Ends that the parent of a pool sees, and the code of the job does not raise.
_NOT_RAISED: Final = (Reject, Ignore, TimeLimitExceeded, WorkerLostError)
#: Letters that were reported here, so that two signals of one failure are one event.
_REMEMBERED: Final = 1_000


def start(
    app: Laneway,
    queue: str,
    worker: str,
    *,
    direct: bool,
    teller: Teller,
) -> None:
    """Report the failures of the worker of a queue from now on; before anything forks.

    Args:
        app: the application; its ``reporter`` is set.
        queue: the queue served.
        worker: the node name.
        direct: whether the process that runs a job also writes its letter (the direct pool).
        teller: hears that jobs begin.

    Raises:
        SettingsError: all that is wrong with the settings, or the SDK is missing.
    """
    spec = app.policy.queue(queue)
    _disconnect()
    config = read_config(tuple(app.policy.queues))
    reporter = app.reporter = reporter_for(app, config, secure=spec.secure, worker=worker)
    if reporter is None:
        attach(app, queue, config, None)
        if spec.secure:
            keep_quiet()
            # What a task imports late must not be heard either.
            teller.at_start = lambda _task, _request: keep_quiet()
        return
    reporter.install()
    raised = _Raised(app, queue, worker, reporter, teller.began, direct=direct)
    # Only now: it needs the SDK.
    from laneway.sentry.scopes import JobScopes  # noqa: PLC0415 (see above)

    spans = attach(app, queue, config, reporter)
    teller.at_start = _at_start(JobScopes(), spans, reporter if spec.secure else None)
    receivers: dict[Any, Callable[..., None]] = {
        signals.task_failure: raised,
        signals.task_internal_error: raised.internally,
        signals.worker_process_init: lambda **_: reporter.renew(),
        signals.worker_process_shutdown: lambda **_: reporter.close(FLUSH),
    }
    for signal, receiver in receivers.items():
        signal.connect(receiver, weak=False, dispatch_uid=_UID)


def _at_start(
    scopes: JobScopes, spans: JobSpans | None, only: Reporter | None
) -> Callable[[Any, Any], None]:
    """What is done when a job begins; decided here, because every job pays for it.

    Args:
        scopes: of the SDK.
        spans: told of the job; None if none is traced.
        only: of a secure queue, beside which no other client may report.
    """

    def plain(_task: Any, _request: Any) -> None:
        scopes.begin()

    if only is not None:

        def alone(_task: Any, _request: Any) -> None:
            scopes.begin()
            only.install()

        return alone
    if spans is not None:

        def traced(task: Any, request: Any) -> None:
            scopes.begin()
            spans.started(task, vars(request))

        return traced
    return plain


def _disconnect() -> None:
    """Forget the worker before (several in one process, in tests)."""
    for signal in (
        signals.task_failure,
        signals.task_internal_error,
        signals.worker_process_init,
        signals.worker_process_shutdown,
    ):
        signal.disconnect(dispatch_uid=_UID)


class _Raised:
    """Hears what jobs raise."""

    def __init__(
        self,
        app: Laneway,
        queue: str,
        worker: str,
        reporter: Reporter,
        began: Callable[[str], float | None],
        *,
        direct: bool,
    ) -> None:
        self._reporter = reporter
        self._letters = LetterWriter(app, queue, worker)
        self._began = began
        self._direct = direct
        self._reported: OrderedDict[str, None] = OrderedDict()

    def __call__(
        self,
        sender: Any,
        task_id: str,
        exception: BaseException,
        args: Any = (),
        kwargs: Any = None,
        einfo: Any = None,
        **_: Any,
    ) -> None:
        """Celery's ``task_failure``."""
        request = sender.request
        # Else the parent of a pool tells, or Celery itself of what went wrong around the code.
        if request.id == task_id and not isinstance(exception, _NOT_RAISED):
            self._report(sender, vars(request), exception, einfo, (args, kwargs))

    def internally(
        self,
        sender: Any,
        task_id: str,
        exception: BaseException,
        args: Any = (),
        kwargs: Any = None,
        request: Any = None,
        einfo: Any = None,
        **_: Any,
    ) -> None:
        """Celery's ``task_internal_error``: what went wrong around the code of the job."""
        headers = {"id": task_id, **(request if isinstance(request, dict) else {})}
        self._report(sender, headers, exception, einfo, (args, kwargs))

    def _report(
        self,
        task: Any,
        headers: dict[str, Any],
        exception: BaseException,
        einfo: Any,
        call: tuple[Any, Any],
    ) -> None:
        # What was raised, before Celery made something of it that can be pickled. The letter of
        # Celery's pools is written by the parent, which sees only that.
        raised = sys.exc_info()[1] or exception
        failure = failure_of(
            "failed",
            raised if self._direct else get_pickled_exception(exception),
            task=task,
            where=raised.__traceback__ if self._direct else getattr(einfo, "tb", None),
        )
        if failure.event != "process":
            return
        info = headers.get("delivery_info") or {}
        letter = self._letters.write(
            {"task": task.name, **headers},
            failure,
            None,
            priority=info.get("priority"),
            redelivered=bool(info.get("redelivered")),
        )
        if self._is_first(letter.id):
            self._reporter.raised(letter, raised, task, call, self._started(headers["id"]))

    def _started(self, task_id: str) -> float | None:
        began = self._began(task_id)
        return None if began is None else time.time() - (time.perf_counter() - began)

    def _is_first(self, letter: str) -> bool:
        if letter in self._reported:
            return False
        self._reported[letter] = None
        if len(self._reported) > _REMEMBERED:
            self._reported.popitem(last=False)
        return True
