"""What is told to sentry-sdk: its options, our integration, and the last gate before the network.

Imported only where a DSN is set: the SDK is an extra, and memory in every process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import sentry_sdk
from celery import current_task
from sentry_sdk.client import get_options
from sentry_sdk.envelope import Envelope, Item, PayloadRef
from sentry_sdk.integrations import Integration
from sentry_sdk.integrations.atexit import AtexitIntegration
from sentry_sdk.integrations.dedupe import DedupeIntegration
from sentry_sdk.integrations.excepthook import ExcepthookIntegration
from sentry_sdk.transport import HttpTransport, Transport

from laneway.calls.prepared import QUEUE_HEADER
from laneway.once.around import own_of
from laneway.sentry import scrub
from laneway.sentry.config import FLUSH
from laneway.sentry.secure import reduced
from laneway.sentry_args import named

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sentry_sdk._types import Event, EventDataCategory, Hint

    from laneway.sentry.config import Config

    #: Told of what did not leave: why, and how many.
    Lost = Callable[[str, int], None]

#: The key of a hint under which :class:`laneway.sentry.scrub.Words` of the job are.
WORDS: Final = "laneway_words"
#: Error types whose text repeats the job's arguments, and what stands instead.
_REPEATING: Final = {
    "MaxRetriesExceededError": "no retry is left",
}


class LanewayIntegration(Integration):
    """Says in each event, and to whoever asks the client, that Laneway reports the jobs.

    It patches nothing: the worker hears Celery's signals (``laneway.worker.reporting``).
    """

    identifier = "laneway"

    @staticmethod
    def setup_once() -> None:
        """Nothing: see above."""


def make_client(
    dsn: str,
    config: Config,
    *,
    secure: bool,
    lost: Lost,
    transport: Transport | None = None,
) -> sentry_sdk.Client:
    """A client of the SDK that sends to ``dsn``.

    Args:
        dsn: a valid one.
        config: environment and release.
        secure: whether only type, place, task, ids and times may leave.
        lost: told of what did not leave, also from the SDK's own thread.
        transport: instead of HTTP, for tests.
    """
    options: dict[str, Any] = {
        "dsn": dsn,
        "environment": config.environment,
        "release": config.release,
        # Not the SDK's defaults: they take in every library that is installed, Celery among them,
        # and log lines, whose parameters are dumps of messages.
        "default_integrations": False,
        "integrations": [
            LanewayIntegration(),
            AtexitIntegration(callback=_be_quiet),
            DedupeIntegration(),
            ExcepthookIntegration(),
        ],
        # (Neither send_default_pii nor data_collection: the first is off and deprecated, the second
        # would turn on what is off.)
        "include_local_variables": False,
        "include_source_context": not secure,
        "in_app_exclude": ["laneway"],
        "max_breadcrumbs": 0,
        "max_request_body_size": "never",
        "auto_session_tracking": False,
        # None would turn tracing off; which job is sampled is decided in laneway.sentry.spans, and
        # what else begins a trace here is in none.
        "traces_sample_rate": None if secure else 0.0,
        # Would send everything to another place, past our gate.
        "spotlight": False,
        "shutdown_timeout": FLUSH,
        "before_send": _reduce if secure else _scrub,
        "before_send_transaction": _reduce if secure else None,
    }
    inner = transport or _Http(get_options(**options), lost)
    return sentry_sdk.Client(**options, transport=Gate(inner, secure=secure))


class Gate(Transport):
    """What everything passes that leaves, also what no ``before_send`` sees.

    Args:
        inner: sends.
        secure: whether only what :mod:`laneway.sentry.secure` allows passes.
    """

    def __init__(self, inner: Transport, *, secure: bool) -> None:
        super().__init__(inner.options)
        self._inner = inner
        self._secure = secure
        #: Whether anything was sent: else there is nothing to wait for.
        self.used = False

    def capture_envelope(self, envelope: Envelope) -> None:
        """Send what may leave of the envelope."""
        self.used = True
        passed = _reduced_envelope(envelope) if self._secure else envelope
        if passed.items:
            self._inner.capture_envelope(passed)

    def flush(self, timeout: float, callback: Any = None) -> None:
        """Wait until everything is sent, for so many seconds at most."""
        if self.used:
            self._inner.flush(timeout, callback)

    def kill(self) -> None:
        """Send nothing more."""
        self._inner.kill()

    def is_healthy(self) -> bool:
        """Whether the server takes what is sent."""
        return self._inner.is_healthy()

    def record_lost_event(
        self,
        reason: str,
        data_category: EventDataCategory | None = None,
        item: Item | None = None,
        *,
        quantity: int = 1,
    ) -> None:
        """The SDK's own account of what did not leave."""
        self._inner.record_lost_event(reason, data_category, item, quantity=quantity)


class _Http(HttpTransport):
    """The SDK's own transport, which says what it loses."""

    def __init__(self, options: dict[str, Any], lost: Lost) -> None:
        self._lost = lost
        super().__init__(options)

    def on_dropped_event(self, _reason: str) -> None:
        # The server says that it was sent too much; the SDK leaves the account to the server.
        if _reason == "status_429":
            self._lost(_reason, 1)

    def record_lost_event(
        self,
        reason: str,
        data_category: EventDataCategory | None = None,
        item: Item | None = None,
        *,
        quantity: int = 1,
    ) -> None:
        if (data_category if item is None else item.data_category) == "error":
            self._lost(reason, quantity)
        super().record_lost_event(reason, data_category, item, quantity=quantity)


def _be_quiet(pending: int, timeout: float) -> None:
    """The SDK's atexit hook prints otherwise that it waits."""


def _scrub(event: Event, hint: Hint) -> Event:
    """The SDK's ``before_send`` of ordinary queues: texts without the values of the job."""
    words: scrub.Words = hint.get(WORDS) or words_of_current_job()
    given: Any = event
    _name_the_job(given)
    exception = given.get("exception")
    for one in (exception.get("values") if isinstance(exception, dict) else None) or ():
        if isinstance(one, dict) and isinstance(one.get("value"), str):
            instead = _REPEATING.get(one.get("type") or "")
            one["value"] = words.clean(one["value"]) if instead is None else instead
    if isinstance(given.get("message"), str):
        given["message"] = words.clean(given["message"])
    log = given.get("logentry")
    if isinstance(log, dict):
        log.pop("params", None)
        for name in ("message", "formatted"):
            if isinstance(log.get(name), str):
                log[name] = words.clean(log[name])
    return event


def _reduce(event: Event, _hint: Hint) -> Event:
    """The SDK's ``before_send`` of secure queues; the gate does it once more."""
    _name_the_job(event)
    kept: Any = reduced(event)
    return kept  # type: ignore[no-any-return]


def _reduced_envelope(envelope: Envelope) -> Envelope:
    """Events, transactions and check-ins with what may leave; of all else nothing."""
    items = []
    for item in envelope.items:
        if item.type == "client_report":
            # The SDK's numbers of what was lost.
            items.append(item)
        elif item.type in {"event", "transaction", "check_in"} and isinstance(
            item.payload.json, dict
        ):
            items.append(Item(PayloadRef(json=reduced(item.payload.json)), type=item.type))
    # Not its header "trace": it repeats names that anybody can choose.
    given = envelope.headers
    kept: dict[str, Any] = {name: given[name] for name in ("event_id", "sent_at") if name in given}
    return Envelope(headers=kept, items=items)


def words_of_current_job() -> scrub.Words:
    """What takes the values of the job that runs here out of texts."""
    if not current_task:
        return scrub.NO_JOB
    request = current_task.request
    args, kwargs = request.args or (), request.kwargs or {}
    return scrub.Words(args, kwargs, list(allowed_values(current_task, args, kwargs).values()))


def allowed_values(task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that ``@app.task(sentry_args=…)`` allows to be seen, by name."""
    allowed = getattr(task, "sentry_args", None)
    if not allowed:
        return {}
    # (Its class, also where it is Celery's proxy of the task that runs.)
    _, signature = own_of(task.__class__, "run")
    given = named(signature, args, kwargs)
    return {name: given[name] for name in allowed if name in given}


def _name_the_job(event: Any) -> None:
    """Say on what a task's own code captured which job it was."""
    if current_task and current_task.request.id:
        request = current_task.request
        said = {
            "queue": getattr(request, QUEUE_HEADER, None),
            "task": current_task.name,
            "task_id": request.id,
            "root_id": request.root_id,
        }
        tags = event.setdefault("tags", {})
        for name, value in said.items():
            if value:
                tags.setdefault(name, str(value)[:200])
