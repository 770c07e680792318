"""Traces and check-ins, attached to a worker, a control process or a service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery import signals

from laneway.sentry.trace import UID

if TYPE_CHECKING:
    from collections.abc import Callable

    from laneway.app import Laneway
    from laneway.calls.publishing import PublishingApp
    from laneway.sentry.config import Config
    from laneway.sentry.reporter import Reporter
    from laneway.sentry.spans import JobSpans


def trace_publishes(app: PublishingApp) -> None:
    """Let the jobs that are published inside of a trace of ``sentry-sdk`` carry it.

    For services; a worker whose events go to Sentry does so unless its queue is a secure one.

    Raises:
        ModuleNotFoundError: sentry-sdk is not installed: ``pip install 'laneway[sentry]'``.
    """
    from laneway.sentry.spans import PublishSpans  # noqa: PLC0415 (the SDK is an extra, and memory)

    app.tracer = PublishSpans()


def attach(app: Laneway, queue: str, config: Config, reporter: Reporter | None) -> None:
    """Trace the jobs of a worker, and check those in that a schedule made; before anything forks.

    To be called after whatever else listens to Celery's ``task_prerun``: a job's scope is made in
    the one that stands there by then.

    Args:
        app: the application; its ``tracer`` is set, or taken away on a secure queue.
        queue: the queue served.
        config: the settings.
        reporter: of the queue; None if nothing of it goes to Sentry.
    """
    detach()
    secure = app.policy.queue(queue).secure
    if secure:
        app.tracer = None
    if reporter is None:
        return
    rate = config.traces_rate(queue)
    if rate is not None and not secure:
        from laneway.sentry.spans import JobSpans  # noqa: PLC0415 (see above)

        trace_publishes(app)
        trace_jobs(JobSpans(app, queue, rate))
    check_in(app, config, lambda asked: reporter if asked is secure else None)


def detach() -> None:
    """Forget the worker before (several in one process, in tests)."""
    for signal in (signals.task_prerun, signals.task_postrun):
        signal.disconnect(dispatch_uid=UID)


def trace_jobs(spans: JobSpans) -> None:
    """Let Celery's signals tell of jobs that begin; a sampled one lets them tell of its end."""
    signals.task_prerun.connect(spans.started, weak=False, dispatch_uid=UID)


def check_in(app: Laneway, config: Config, reporter: Callable[[bool], Reporter | None]) -> None:
    """Tell Sentry of the jobs that a schedule made, unless the settings say otherwise.

    Args:
        app: at whose door it listens.
        config: the settings.
        reporter: of secure queues (True) or of the others; None if nothing of them goes to Sentry.
    """
    if not config.crons:
        return
    from laneway.sentry.checkins import CheckIns  # noqa: PLC0415 (see above)

    def transport(secure: bool) -> Any:
        found = reporter(secure)
        return None if found is None else found.client.transport

    app.facts.listen(
        CheckIns(app, transport, environment=config.environment, release=config.release)
    )
