"""The SDK's scopes: whose client is asked, and what one job leaves to the next (nothing).

What a task's code says to Sentry (tags, breadcrumbs, a user) is kept in a scope of the thread, and
would be on the events of all later jobs. The SDK's ``isolation_scope()`` forks two scopes for each
job and gives them back, which costs twice as much as what is done here: each job begins with a fork
of the scope that the process began with, or with none if nothing was said there, and makes another
only if it asks for one.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import sentry_sdk
from sentry_sdk import scope as sdk_scope
from sentry_sdk.integrations.dedupe import DedupeIntegration
from sentry_sdk.utils import event_from_exception

from laneway.after_fork import start_afresh_in_child

if TYPE_CHECKING:
    from laneway.sentry.scrub import Words

log = logging.getLogger(__name__)

# Asking the SDK for a scope makes one; these say whether there is one.
_ISOLATION: Final = sdk_scope._isolation_scope  # noqa: SLF001 (see test_sentry_contract.py)
_CURRENT: Final = sdk_scope._current_scope  # noqa: SLF001 (the same)
#: What no two scopes share, whatever was said.
_OF_EACH_SCOPE: Final = frozenset({"client", "_propagation_context", "_name"})
_MECHANISM: Final = {"type": "laneway", "handled": False}


def install(client: sentry_sdk.Client, *, secure: bool) -> bool:
    """Make ``client`` the process's own, and say whether it is.

    A client that the project has set up before stays, with a warning if it would report jobs as
    well; but nothing stays beside the client of a secure queue.
    """
    present = sentry_sdk.get_client()
    if present is client:
        return True
    if present.is_active():
        if not secure:
            _warn_of_celerys(present)
            return False
        log.warning(
            "the project's own sentry_sdk.init() has no effect here: of a secure queue only the "
            "platform reports. Call it where it is not imported by this worker."
        )
    sentry_sdk.get_global_scope().set_client(client)
    return True


def replace(client: sentry_sdk.Client) -> None:
    """Make ``client`` the process's own in the place of that of the process it was forked from."""
    sentry_sdk.get_global_scope().set_client(client)


def silence() -> None:
    """Let no client of this process send anything."""
    if sentry_sdk.get_client().is_active():
        log.warning(
            "the project's own sentry_sdk.init() has no effect here: nothing of a secure queue "
            "goes to Sentry, because LANEWAY_SENTRY_SECURE_DSN is not set"
        )
        sentry_sdk.get_global_scope().set_client(None)


def _warn_of_celerys(client: Any) -> None:
    if client.get_integration("celery") is not None:
        log.warning(
            "jobs that fail are reported twice: the project's own sentry_sdk.init() turns on the "
            "CeleryIntegration, which knows neither letters nor storms. Add to that call: "
            "disabled_integrations=[sentry_sdk.integrations.celery.CeleryIntegration]"
        )


class JobScopes:
    """Lets each job begin with the scope that the process began with."""

    def __init__(self) -> None:
        self.start_afresh()
        start_afresh_in_child(self)

    def start_afresh(self) -> None:
        """Look anew at what the process begins with."""
        self._is_known = False
        self._first: sdk_scope.Scope | None = None

    def begin(self) -> None:
        """A job begins in this thread."""
        isolation = _ISOLATION.get()
        if not self._is_known:
            # What was said before the first job, at import for example, is for all of them.
            is_new = isolation is None or _says_nothing(isolation)
            self._first, self._is_known = None if is_new else isolation, True
        fork = None if self._first is None else self._first.fork()
        sdk_scope.Scope.set_isolation_scope(fork)  # type: ignore[arg-type]
        if _CURRENT.get() is not None:
            sdk_scope.Scope.set_current_scope(None)  # type: ignore[arg-type]


def _says_nothing(scope: sdk_scope.Scope) -> bool:
    """Whether a scope is as a new one, which the SDK makes where there is none.

    Importing the SDK makes one, and a copy of it for each job takes 7 us.
    """
    new = sdk_scope.Scope(ty=scope._type)  # noqa: SLF001 (see test_sentry_contract.py)
    return not scope.client.is_active() and all(
        getattr(scope, name) == getattr(new, name)
        for name in sdk_scope.Scope.__slots__
        if name not in _OF_EACH_SCOPE
    )


def exception_of(
    client: sentry_sdk.Client, error: BaseException, words: Words
) -> tuple[dict[str, Any], dict[str, Any]]:
    """An error with its chain and tracebacks as an event has it, and the SDK's hint to it."""
    made, hint = event_from_exception(
        error, client_options=client.options, mechanism=dict(_MECHANISM)
    )
    exception: dict[str, Any] = made["exception"]  # type: ignore[assignment]
    for one in exception["values"]:
        # Here too, before the SDK copies a text of any length.
        one["value"] = words.clean(one["value"] or "")
    return exception, hint


def capture(
    client: sentry_sdk.Client, event: dict[str, Any], hint: dict[str, Any], trace: dict[str, str]
) -> None:
    """Send an event with what the job's code said to Sentry; what the event says comes first.

    Args:
        client: sends it.
        event: with tags and contexts.
        hint: the SDK's, to the error.
        trace: the context ``trace``, unless the job is traced.
    """
    with sentry_sdk.new_scope() as scope:
        if sentry_sdk.get_client() is not client:
            scope.set_client(client)
        scope.set_tags(event["tags"])
        for name, context in event["contexts"].items():
            scope.set_context(name, context)
        if scope.span is None:
            # Else all events of this process would seem to be parts of one trace.
            scope.set_context("trace", trace)
        # The job's code may have sent the same error itself, and has another event then.
        DedupeIntegration.reset_last_seen()
        scope.capture_event(event, hint=hint)  # type: ignore[arg-type]
