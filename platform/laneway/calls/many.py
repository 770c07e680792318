"""Publishing the jobs of many signatures, streamed: nothing is kept of a job that was accepted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery.canvas import Signature, chain, chord, group, maybe_signature
from celery.utils import uuid

from laneway.errors import BatchIncomplete, LanewayError, OptionRefused
from laneway.publish import tracing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from laneway.account import BatchAccount
    from laneway.calls.publishing import PublishingApp
    from laneway.calls.sender import Sender
    from laneway.publish.batch import Batch


def publish(
    app: PublishingApp, sender: Sender, batch: Batch, signatures: Iterable[Signature]
) -> BatchAccount:
    """Publish each signature as one job of the batch.

    Raises:
        BatchIncomplete: not every signature was accepted, or the iterable raised.
    """
    try:
        eager = app.conf.task_always_eager
        with batch.as_current():
            for signature in signatures:
                try:
                    _take(app, sender, batch, signature, eager=eager)
                except BatchIncomplete:
                    raise
                except Exception as error:
                    batch.refuse(getattr(error, "task_id", None), error)
                    raise
    except BaseException as error:  # noqa: BLE001 (finish raises it again, with the account)
        return batch.finish(error)
    return batch.finish()


def _take(app: PublishingApp, sender: Sender, batch: Batch, signature: Any, *, eager: bool) -> None:
    if not isinstance(signature, Signature):
        raise OptionRefused(
            f"expected a signature (task.s(...), app.signature(...)), got: {signature!r}. Nothing "
            "was published of it."
        )
    if type(signature) is Signature and not eager and _take_short(app, sender, batch, signature):
        return
    first = signature.tasks[0] if isinstance(signature, chain) and signature.tasks else signature
    if isinstance(first, group | chord):
        raise OptionRefused(
            f"expected a signature of one job, got: {signature!r}, which publishes several. Give "
            "its members, or call it in 'with app.batch()'. Nothing was published of it."
        )
    maybe_signature(signature.clone(), app=app).apply_async()
    if eager:
        batch.count_eager()


def _take_short(app: PublishingApp, sender: Sender, batch: Batch, signature: Signature) -> bool:
    """Take what a plain signature would publish, without a result that nobody asked for."""
    name, args, kwargs = signature["task"], signature["args"], signature["kwargs"]
    options: dict[str, Any] = dict(signature["options"])
    if "redelivered" in options:
        return False
    task_id = options.pop("task_id", None) or uuid()
    if options.get("eta") is not None or options.get("countdown") is not None:
        return False
    task = app.tasks.get(name)
    if task is not None:
        merged = sender.options_of(task, args, kwargs, options)
        if merged is None:
            return False
        options = merged
    try:
        written = sender.write(name, args, kwargs, task_id, options)
    except LanewayError as error:
        error.task_id = task_id
        app.facts.tell(
            "refused", task=name, task_id=task_id, attempt=1,
            error_type=type(error).__name__, reason=str(error),
        )  # fmt: skip
        raise
    if written is None:
        return False
    decision, message = written.call.decision, written.message
    with tracing.to_its_end(written.followed, lambda: len(message.body)):
        batch.add(written.call.vhost, task_id, name, decision.queue, decision.priority, message)
    return True
