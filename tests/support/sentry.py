"""A Sentry in memory: what would have left the process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sentry_sdk.transport import Transport

from laneway.sentry.config import Config
from laneway.sentry.reporter import Reporter
from laneway.sentry.storm import Storm

if TYPE_CHECKING:
    from sentry_sdk.envelope import Envelope

    from laneway import Laneway

#: A server that nobody asks.
DSN = "http://0123456789abcdef@sentry.invalid/7"


class Outbox(Transport):
    """Keeps envelopes instead of sending them."""

    def __init__(self) -> None:
        super().__init__()
        self.envelopes: list[Envelope] = []
        self.flushed = 0

    def capture_envelope(self, envelope: Envelope) -> None:
        self.envelopes.append(envelope)

    def flush(self, timeout: float, callback: Any = None) -> None:
        self.flushed += 1

    @property
    def events(self) -> list[Any]:
        """The events, as they would be on the wire."""
        return [item.payload.json for one in self.envelopes for item in one if item.type == "event"]

    @property
    def bytes(self) -> bytes:
        """Everything that left."""
        return b"".join(one.serialize() for one in self.envelopes)


def make_reporter(
    app: Laneway, outbox: Outbox, *, secure: bool = False, storm: Storm | None = None
) -> Reporter:
    """A reporter that sends into ``outbox``; the application's own from now on."""
    reporter = Reporter(
        app,
        Config(dsn=DSN, secure_dsn=DSN, release="4.2", image="registry/shop@sha256:77"),
        secure=secure,
        worker="low@here",
        storm=storm or Storm(),
        transport=lambda: outbox,
    )
    app.reporter = reporter
    return reporter
