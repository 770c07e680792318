"""Dead letters as people see them: a list, one letter whole, and counts."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from amqp.serialization import decode_properties_basic
from rich.text import Text

from laneway.console.numbers import UNKNOWN, format_count
from laneway.console.tables import table
from laneway.deadletter.commands import replay_command

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.table import Table

    from laneway.deadletter import Count, Found, Listed

#: Characters of an error's text in a list.
_SHORT = 60
#: Digits of a Sentry event's id in a list, as Sentry itself shows it.
_EVENT = 8
#: Characters of a message's arguments.
_ARGUMENTS = 4_000
# What texts of arguments Celery puts into the headers.
_ARGUMENT_HEADERS = frozenset({"argsrepr", "kwargsrepr"})


def letter_table(letters: Sequence[Listed]) -> Table:
    """A page of letters; the beginnings of their events' ids, if any has an event."""
    has_events = any(one.event_id for one in letters)
    rows = [
        (
            one.id,
            moment(one.at),
            one.state,
            one.queue,
            one.task or UNKNOWN,
            one.outcome,
            one.cause,
            *([(one.event_id or "")[:_EVENT]] if has_events else []),
            _short(one),
        )
        for one in letters
    ]
    columns = [
        *("letter", "ended", "state", "queue", "task", "outcome", "cause"),
        *(["event"] if has_events else []),
        "error",
    ]
    return table(columns, rows)


def count_table(counts: Sequence[Count]) -> Table:
    """How many letters have what in common."""
    groups = list(counts[0].of) if counts else []
    rows = [
        (
            *(UNKNOWN if value is None else str(value) for value in count.of.values()),
            format_count(count.count),
            moment(count.first_at),
            moment(count.last_at),
        )
        for count in counts
    ]
    return table([*groups, "letters", "first", "last"], rows, numbers=["letters"])


def letter_sheet(found: Found) -> Iterator[Text]:
    """Everything of one letter, line by line."""
    listed, letter = found.listed, found.letter
    for name, value in _facts(found):
        if value is not None:
            line = Text(f"{name:<12} ", style="bold")
            line.append(str(value), style="not bold")
            yield line
    if letter.traceback:
        yield from _section("traceback", letter.traceback.rstrip())
    if letter.original is not None:
        headers = "\n".join(f"{name}: {value!r}" for name, value in headers_of(found).items())
        yield from _section("headers of the message", headers)
        if listed.vhost != "secure":
            yield from _section("arguments", _arguments(letter.original.body))
    lines = [
        f"{moment(event.at)}  {event.verb} by {event.by}"
        + (f": {event.reason}" if event.reason else "")
        for event in found.history
    ]
    lines += [f"failed again as {later}" for later in found.later]
    if lines:
        yield from _section("history", "\n".join(lines))
    if listed.state == "open":
        yield from _section(
            "replay", f"laneway dead replay {listed.id}\n{replay_command(listed.cause)}"
        )


def headers_of(found: Found) -> dict[str, Any]:
    """Properties and headers of the original; of a secure queue's none that tell of arguments."""
    original = found.letter.original
    if original is None:
        return {}
    try:
        properties: dict[str, Any] = decode_properties_basic(original.properties, 0)[0]
    except Exception as error:  # noqa: BLE001 (the decoder is py-amqp's: of any kind)
        return {"unreadable": f"{type(error).__name__}: {error}"}
    headers = properties.pop("application_headers", None) or {}
    secret = _ARGUMENT_HEADERS if found.listed.vhost == "secure" else frozenset()
    return {
        **{name: value for name, value in properties.items() if value is not None},
        **{name: value for name, value in headers.items() if name not in secret},
    }


def moment(at: float) -> str:
    """A time of this machine's zone, to the second."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
    except (ValueError, OverflowError, OSError):
        return str(at)


def _facts(found: Found) -> Iterator[tuple[str, Any]]:
    listed, letter = found.listed, found.letter
    yield "letter", listed.id
    yield "state", listed.state
    yield "queue", f"{listed.queue} (virtual host {listed.vhost})"
    yield "task", listed.task
    yield "job", listed.task_id
    yield "part of", letter.root_id if letter.root_id != listed.task_id else None
    yield "schedule", letter.schedule
    yield "priority", listed.priority
    yield "outcome", listed.outcome
    yield "cause", listed.cause
    yield "error", listed.error_type
    yield "message", listed.message
    yield "place", listed.place
    yield "failed first", moment(listed.first_at) if listed.first_at else None
    yield "ended", moment(listed.at)
    yield "attempts", listed.attempts
    yield "deliveries", listed.deliveries
    yield "replays", listed.replays or None
    yield "worker", listed.worker
    yield "host", listed.host
    yield "version", listed.version
    yield "Sentry", listed.event_id
    yield "trace", letter.trace_id
    yield "reported by", letter.by
    if letter.original is None:
        yield "message", "not there: only what happened was reported, so it cannot be replayed"


def _section(title: str, text: str) -> Iterator[Text]:
    yield Text("")
    yield Text(title, style="bold")
    for line in text.splitlines():
        yield Text(f"  {line}")


def _arguments(body: bytes) -> str:
    try:
        text = json.dumps(json.loads(body)[:2], ensure_ascii=False)
    except (ValueError, TypeError, LookupError, RecursionError):
        text = repr(body)
    return text if len(text) <= _ARGUMENTS else f"{text[:_ARGUMENTS]} …"


def _short(one: Listed) -> str:
    text = f"{one.error_type or ''}{': ' if one.error_type and one.message else ''}"
    text = " ".join(f"{text}{one.message or ''}".split())
    return text if len(text) <= _SHORT else f"{text[: _SHORT - 1]}…"
