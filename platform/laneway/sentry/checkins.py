"""Check-ins of scheduled jobs: in progress when one starts, ok or error at its final outcome.

A listener at the door for facts. A check-in's id is the job's, so whoever sees the end closes what
another process opened: the worker, the parent that ended the job at its hard limit, or the keeper
when the broker gave the job up. A retry closes nothing, and its start tells Sentry that the job is
still on its way.
"""

from __future__ import annotations

import logging
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from sentry_sdk.envelope import Envelope

from laneway.errors import SettingsError
from laneway.sentry.monitor import Monitor, Unwatched, monitor_of
from laneway.sentry.trace import hex_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from laneway.app import Laneway
    from laneway.facts import Fact

log = logging.getLogger(__name__)

Status = Literal["in_progress", "ok", "error"]

#: Entries of which something is kept: names come from messages.
_MOST: Final = 10_000


class Transport(Protocol):
    """Sends envelopes; the SDK's clients have one."""

    def capture_envelope(self, envelope: Envelope) -> None:
        """Send it, at some time."""


class CheckIns:
    """Tells Sentry of the jobs that a schedule made.

    Args:
        app: whose schedule it is.
        transport: by what check-ins of a queue are sent; None: they are not. Asked with the
            queue's name, and whether it is a secure one.
        environment: of the check-ins, as Sentry calls it.
        release: of the application; None if unknown. Not said of secure queues.
    """

    def __init__(
        self,
        app: Laneway,
        transport: Callable[[bool], Transport | None],
        *,
        environment: str,
        release: str | None = None,
    ) -> None:
        self._app = app
        self._transport = transport
        self._environment = environment
        self._release = release
        self._monitors: dict[str, Monitor | None] = {}

    def __call__(self, fact: Fact, /) -> None:
        """Take note of a fact."""
        if fact.schedule is None:
            return
        status = _status(fact)
        if status is not None:
            self._send(fact, fact.schedule, status)

    def _send(self, fact: Fact, entry: str, status: Status) -> None:
        queue = self._app.policy.queues.get(fact.queue or "")
        # Unknown is not open.
        secure = queue is None or queue.secure
        transport = self._transport(secure)
        if transport is None or (monitor := self._monitor(entry)) is None:
            return
        check_in: dict[str, Any] = {
            "type": "check_in",
            "check_in_id": hex_of(str(fact.task_id)),
            "monitor_slug": monitor.slug,
            "status": status,
            "environment": self._environment,
        }
        if fact.runtime is not None and status != "in_progress":
            check_in["duration"] = round(fact.runtime, 3)
        if monitor.config is not None:
            check_in["monitor_config"] = dict(monitor.config)
        if secure:
            check_in.get("monitor_config", {}).pop("owner", None)
        elif self._release is not None:
            check_in["release"] = self._release
        # Not as an event: to those the SDK adds the host, its modules, and more.
        envelope = Envelope(
            headers={"event_id": uuid.uuid4().hex, "sent_at": datetime.now(UTC).isoformat()}
        )
        envelope.add_checkin(check_in)
        transport.capture_envelope(envelope)

    def _monitor(self, entry: str) -> Monitor | None:
        """How an entry is watched, looked up once; why it is not is said once."""
        if entry not in self._monitors:
            if len(self._monitors) >= _MOST:
                self._monitors.clear()
            try:
                self._monitors[entry] = monitor_of(self._app, entry)
            except (Unwatched, SettingsError) as why:
                log.warning("Sentry's monitors: %s", why)
                self._monitors[entry] = None
        return self._monitors.get(entry)


def _status(fact: Fact) -> Status | None:
    """What a fact says of a check-in; None if nothing."""
    match fact.kind:
        case "started":
            return "in_progress"
        case "succeeded":
            return "ok"
        case "dead_lettered":
            return "error"
        case "rejected" if fact.outcome == "ignored":
            # It ended as its own code wished.
            return "ok"
        case "rejected" if fact.outcome == "revoked":
            return "error"
        case _:
            # A failure's letter is told too, and a rejected job may come again.
            return None
