"""Structured logs: one line an event, as text for people or JSON for machines."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal, TextIO

if TYPE_CHECKING:
    from laneway.facts import Fact

#: The logger of facts.
facts_log: Final = logging.getLogger("laneway.job")

_ERRORS: Final = frozenset({"failed", "quarantined", "refused", "result_lost"})
_WARNINGS: Final = frozenset({"retried", "rejected", "report_lost", "topology_drift", "unguarded"})
_QUIET: Final = frozenset(
    {"received", "started", "published", "deduplicated", "reported", "report_held"}
)


class FactLogger:
    """A listener that writes each fact as one log record with the fact's fields."""

    def __call__(self, fact: Fact, /) -> None:
        """Log the fact at the level of its kind."""
        facts_log.log(_level(fact.kind), "%s", fact.kind, extra={"fact": fact})


def _level(kind: str) -> int:
    if kind in _ERRORS:
        return logging.ERROR
    if kind in _WARNINGS:
        return logging.WARNING
    return logging.DEBUG if kind in _QUIET else logging.INFO


class JsonFormatter(logging.Formatter):
    """``{"fact": {…}}`` for a fact, ``{"log": {…}}`` for anything else, one line each."""

    def format(self, record: logging.LogRecord) -> str:
        """Write the record as one line of JSON."""
        fact: Fact | None = getattr(record, "fact", None)
        if fact is not None:
            return json.dumps({"fact": fact.to_dict()}, ensure_ascii=False)
        entry: dict[str, Any] = {
            "at": record.created,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps({"log": entry}, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """``12:30:05.123 failed queue=high task=… reason="…"``: a line a person can read."""

    def format(self, record: logging.LogRecord) -> str:
        """Write the record as one line, a traceback below it."""
        at = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S.%f")[:-3]
        fact: Fact | None = getattr(record, "fact", None)
        if fact is None:
            line = f"{at} {record.levelname.lower()} {record.name}: {record.getMessage()}"
            if record.exc_info:
                line = f"{line}\n{self.formatException(record.exc_info)}"
            return line
        fields = fact.to_dict()
        del fields["at"], fields["kind"]
        return " ".join(
            [at, fact.kind, *(f"{key}={_text(value)}" for key, value in fields.items())]
        )


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if " " in text or "\n" in text else text


def configure_logging(
    form: Literal["text", "json"] = "text", *, level: str = "INFO", stream: TextIO | None = None
) -> FactLogger:
    """Send all logs of this process to ``stream`` (standard error) and return the listener.

    With ``json`` every fact is written whatever the level, because the lines are read by a program
    (the live view); with ``text`` the level decides.

    Args:
        form: ``"text"`` or ``"json"``.
        level: the least level that is written, one of logging's names.
        stream: where to, instead of standard error.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    facts_log.setLevel(logging.DEBUG if form == "json" else level)
    # A line for each request: the control process asks the broker's management all the time.
    logging.getLogger("httpx").setLevel(max(logging.WARNING, root.level))
    return FactLogger()
