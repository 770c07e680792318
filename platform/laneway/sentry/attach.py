"""Traces and check-ins, attached to a worker, a control process or a service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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


def attach(app: Laneway, queue: str, config: Config, reporter: Reporter | None) -> JobSpans | None:
    """Trace the publishes of a worker, and check its scheduled jobs in; before anything forks.

    Args:
        app: the application; its ``tracer`` is set, or taken away on a secure queue.
        queue: the queue served.
        config: the settings.
        reporter: of the queue; None if nothing of it goes to Sentry.

    Returns:
        What is to be told of each job that begins, or None if none is traced.
    """
    secure = app.policy.queue(queue).secure
    if secure:
        app.tracer = None
    if reporter is None:
        return None
    spans = None
    rate = config.traces_rate(queue)
    if rate is not None and not secure:
        from laneway.sentry.spans import JobSpans  # noqa: PLC0415 (see above)

        trace_publishes(app)
        spans = JobSpans(app, queue, rate)
    check_in(app, config, lambda asked: reporter if asked is secure else None)
    return spans


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
