"""What leaves of a secure queue: type, place, task, ids and times. Everything else stays.

It is an allow-list, and every value on it has a form: what is not named here, or does not look as
it must, is left out, whoever put it into an event.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: What a name in code looks like: a task, a class, ``module:function``.
_NAME: Final = re.compile(r"[A-Za-z_][\w.:<>-]{0,199}")
_ID: Final = re.compile(r"[\w.@:-]{1,200}")
_WORD: Final = re.compile(r"[a-z][a-z-]{0,31}")
_VERSION: Final = re.compile(r"[\w.@:/+-]{1,200}")
_HEX: Final = re.compile(r"[0-9a-f]{8,64}")
_TIME: Final = re.compile(r"[\dTZ:.+-]{10,40}")
_COMMAND: Final = re.compile(r"laneway dead (show [\w.-]+|replay --cause [0-9a-f]+ --first \d+)")
_DIGITS: Final = re.compile(r"\d{1,6}")


def _matching(form: re.Pattern[str]) -> Callable[[Any], Any]:
    return lambda value: value if isinstance(value, str) and form.fullmatch(value) else None


def _number(value: Any) -> Any:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _time(value: Any) -> Any:
    return _number(value) if not isinstance(value, str) else _matching(_TIME)(value)


#: Tags, and the form of each.
_TAGS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "queue": _matching(_NAME),
    "priority": _matching(_DIGITS),
    "task": _matching(_NAME),
    "task_id": _matching(_ID),
    "root_id": _matching(_ID),
    "attempt": _matching(_DIGITS),
    "deliveries": _matching(_DIGITS),
    "outcome": _matching(_WORD),
    "cause": _matching(_HEX),
    "worker": _matching(_ID),
    "host": _matching(_ID),
    "image": _matching(_VERSION),
    "release": _matching(_VERSION),
}
#: Of the context ``job``.
_JOB: Final[Mapping[str, Callable[[Any], Any]]] = {
    "letter": _matching(_ID),
    "place": _matching(_NAME),
    "error_type": _matching(_NAME),
    **dict.fromkeys(("published", "started", "failed", "failed_first"), _time),
    **dict.fromkeys(("held_since", "held_until"), _time),
    **dict.fromkeys(("wait_seconds", "runtime_seconds", "attempts", "held_back"), _number),
    **dict.fromkeys(("deliveries", "replays"), _number),
    **dict.fromkeys(("show", "replay"), _matching(_COMMAND)),
}
#: Of the context ``trace``.
_TRACE: Final[Mapping[str, Callable[[Any], Any]]] = {
    **dict.fromkeys(("trace_id", "span_id", "parent_span_id"), _matching(_HEX)),
    "op": _matching(re.compile(r"queue\.[a-z]{1,20}")),
    "status": _matching(re.compile(r"[a-z_]{1,32}")),
}
#: Of the context ``trace`` of a transaction: what Sentry's Queues page reads.
_TRACE_DATA: Final[Mapping[str, Callable[[Any], Any]]] = {
    "messaging.message.id": _matching(_ID),
    "messaging.destination.name": _matching(_NAME),
    "messaging.system": _matching(_WORD),
    "messaging.message.body.size": _number,
    "messaging.message.retry.count": _number,
    "messaging.message.receive.latency": _number,
}
#: Of the event itself.
_EVENT: Final[Mapping[str, Callable[[Any], Any]]] = {
    "event_id": _matching(_HEX),
    **dict.fromkeys(("timestamp", "start_timestamp"), _time),
    "level": _matching(_WORD),
    "platform": _matching(_WORD),
    "release": _matching(_VERSION),
    "environment": _matching(_ID),
}
#: Of a check-in.
_CHECK_IN: Final[Mapping[str, Callable[[Any], Any]]] = {
    "type": _matching(re.compile("check_in")),
    "check_in_id": _matching(_HEX),
    "monitor_slug": _matching(_ID),
    "status": _matching(re.compile(r"in_progress|ok|error")),
    "duration": _number,
    "release": _matching(_VERSION),
    "environment": _matching(_ID),
    "monitor_config": lambda value: value if isinstance(value, dict) else None,
}
#: What stands for the SDK's own account of itself.
_SDK: Final = {"name": "sentry.python", "version": "0"}
#: Exceptions of a chain, and frames of each, that leave.
_MOST: Final = 50


def reduced(event: Mapping[str, Any]) -> dict[str, Any]:
    """The event, the transaction or the check-in with nothing in it that the list does not name."""
    if event.get("type") == "check_in":
        return _picked(event, _CHECK_IN)
    kept = _picked(event, _EVENT)
    tags = event.get("tags")
    kept["tags"] = _picked(tags if isinstance(tags, dict) else {}, _TAGS)
    if task := kept["tags"].get("task"):
        kept["transaction"] = task
    contexts = event.get("contexts")
    kept["contexts"] = _contexts(contexts if isinstance(contexts, dict) else {})
    if event.get("type") == "transaction":
        return {**kept, "type": "transaction", "spans": [], "sdk": _SDK}
    if values := _exceptions(event.get("exception")):
        kept["exception"] = {"values": values}
    fingerprint = event.get("fingerprint")
    if isinstance(fingerprint, list):
        kept["fingerprint"] = [
            part
            for part in fingerprint
            if part == "{{ default }}" or _matching(_NAME)(part) or _matching(_WORD)(part)
        ]
    return kept


def _contexts(contexts: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, allowed in (("job", _JOB), ("trace", _TRACE)):
        given = contexts.get(name)
        if isinstance(given, dict):
            kept[name] = _picked(given, allowed)
            if name == "trace" and isinstance(given.get("data"), dict):
                kept[name]["data"] = _picked(given["data"], _TRACE_DATA)
    return kept


def _exceptions(exception: Any) -> list[dict[str, Any]]:
    """Types, and the functions and lines of their tracebacks."""
    values = exception.get("values") if isinstance(exception, dict) else None
    return [
        {
            **_picked(one, {"type": _matching(_NAME), "module": _matching(_NAME)}),
            "stacktrace": {"frames": _frames(one.get("stacktrace"))},
        }
        for one in (values if isinstance(values, list) else [])[-_MOST:]
        if isinstance(one, dict)
    ]


def _frames(stacktrace: Any) -> list[dict[str, Any]]:
    frames = stacktrace.get("frames") if isinstance(stacktrace, dict) else None
    return [
        {
            **_picked(frame, {"module": _matching(_NAME), "function": _matching(_NAME)}),
            **_picked(frame, {"lineno": _number}),
            "in_app": bool(frame.get("in_app")),
        }
        for frame in (frames if isinstance(frames, list) else [])[-_MOST:]
        if isinstance(frame, dict)
    ]


def _picked(
    given: Mapping[str, Any], allowed: Mapping[str, Callable[[Any], Any]]
) -> dict[str, Any]:
    found = ((name, form(given.get(name))) for name, form in allowed.items())
    return {name: value for name, value in found if value is not None}
