"""Submitting a flow: the plan's jobs as Celery's chains, links and chords."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any

from celery import chain, chord

from shop.workload import Chain, Chord, Flow, Job, Linked

if TYPE_CHECKING:
    from celery import Celery


def submit(app: Celery, flow: Flow) -> None:
    """Publish what of ``flow`` starts now; the workers publish what follows.

    Raises:
        laneway.errors.PublishError: the broker did not accept a job.
    """
    signature_of(app, flow).apply_async()


def signature_of(app: Celery, flow: Flow) -> Any:
    """The Celery canvas of ``flow``, each job with its planned id."""
    match flow:
        case Chain(steps):
            signatures = [_signature(app, step) for step in steps]
            return chain(*signatures, app=app) if len(signatures) > 1 else signatures[0]
        case Linked(steps):
            return _linked(app, steps)
        case Chord(parts, body):
            return chord([_signature(app, part) for part in parts], _linked(app, body.steps))


def _linked(app: Celery, steps: tuple[Job, ...]) -> Any:
    signatures = [_signature(app, step) for step in steps]

    def link(later: Any, earlier: Any) -> Any:
        earlier.link(later)
        return earlier

    return reduce(link, reversed(signatures))


def _signature(app: Celery, job: Job) -> Any:
    options = {"priority": job.priority, "countdown": job.countdown}
    return app.signature(
        job.task,
        args=job.args,
        task_id=job.id,
        **{name: value for name, value in options.items() if value is not None},
    )
