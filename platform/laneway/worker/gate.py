"""The gate: what every message passes, on every pool, before any code of a task.

A message on a queue of jobs can be anything: whoever may publish there wrote it. :func:`examine`
says of it, without doing anything, that it can run, that it is to come again later (a task that
this worker does not know: maybe the deploy is still rolling), or why it is no job. What passes has
the shapes that Celery, the pools and the result backends take for granted.
"""

from __future__ import annotations

import json
import reprlib
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from celery.app.task import Context
from celery.utils.time import maybe_iso8601
from kombu.utils import json as kombu_json

from laneway.calls.prepared import FAILED_AT_HEADER, QUEUE_HEADER, READY_AT_HEADER
from laneway.deadletter.letter import REPLAYS_HEADER
from laneway.worker.compressed import CompressionRefused, decompress

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from laneway.app import Laneway

#: Header that counts how often a job was handed back because its task was unknown.
UNKNOWN_HEADER: Final = "laneway_unknown"

#: What can be wrong with a message; the error type of its letter.
Kind = Literal[
    "PropertiesUnreadable",
    "NoTaskMessage",
    "HeaderRefused",
    "ContentRefused",
    "BodyTooLarge",
    "BodyUnreadable",
    "BodyRefused",
    "UnknownTask",
]


class Limits(NamedTuple):
    """What a message may be at most."""

    #: Bytes of a body, as it comes and decompressed: RabbitMQ's own limit since 4.0.
    body_bytes: int = 16 * 1024 * 1024
    #: Lists and mappings inside each other. Python's own JSON stops near a thousand, in the middle
    #: of a retry or of a result.
    depth: int = 256
    #: Seconds for which a job of an unknown task is handed back.
    unknown_task_grace: float = 300.0


class Run(NamedTuple):
    """A valid job."""

    args: list[Any]
    kwargs: dict[str, Any]
    #: Callbacks, errbacks, chain and chord.
    embed: dict[str, Any]
    #: The body, decompressed.
    body: bytes


class HandBack(NamedTuple):
    """No worker's mistake yet: the message is to come again."""

    #: Whole seconds from now.
    seconds: int
    #: How often it has been handed back then: the value of :data:`UNKNOWN_HEADER`.
    times: int
    reason: str


class Quarantine(NamedTuple):
    """No job."""

    kind: Kind
    #: For people; it can repeat words of the message.
    reason: str


Verdict = Run | HandBack | Quarantine


def limits_of(app: Laneway, queue: str) -> Limits:
    """What the messages of a queue may be at most."""
    grace = app.policy.queue(queue).worker.unknown_task_grace
    # What this application may publish it can run, too.
    largest = max(Limits().body_bytes, app.max_message_bytes)
    return Limits(body_bytes=largest, unknown_task_grace=grace)


_CONTENT_TYPE: Final = "application/json"
# None and "": kombu's producers say it, others may leave it out, and JSON is UTF-8 anyway.
_ENCODINGS: Final = frozenset({"utf-8", "UTF-8", "utf8", None, ""})
#: What kombu writes into JSON where a value is no plain one (a date, a UUID, a decimal …).
_TYPED: Final = b'"__type__"'
_EMBEDDED: Final = ("callbacks", "errbacks", "chain", "chord")
_NOTHING_EMBEDDED: Final = dict.fromkeys(_EMBEDDED)
_LONGEST_NAME: Final = 255
_MOST_RETRIES: Final = 2**31
_LONGEST_LIMIT: Final = 10 * 365 * 86_400
_NO_LIMITS: Final[tuple[list[None] | None, ...]] = (None, [None, None], [])

_NONE: Final[type] = type(None)
_TEXT: Final[frozenset[type]] = frozenset({str, _NONE})
_WHOLE: Final[frozenset[type]] = frozenset({int, _NONE})
_NUMBER: Final[frozenset[type]] = frozenset({int, float, _NONE})
_MAPPING: Final[frozenset[type]] = frozenset({dict, _NONE})
_LIST: Final[frozenset[type]] = frozenset({list, _NONE})

#: The types that the headers of a job may have.
_TYPES: Final[Mapping[str, frozenset[type]]] = {
    "lang": _TEXT,
    "task": frozenset({str}),
    "id": frozenset({str}),
    "shadow": _TEXT,
    "eta": _TEXT,
    "expires": _TEXT,
    "group": _TEXT,
    "group_index": _WHOLE,
    "retries": _WHOLE,
    "timelimit": _LIST,
    "root_id": _TEXT,
    "parent_id": _TEXT,
    "argsrepr": _TEXT,
    "kwargsrepr": _TEXT,
    "origin": _TEXT,
    "ignore_result": frozenset({bool, int, _NONE}),
    "replaced_task_nesting": _WHOLE,
    "stamped_headers": _LIST,
    "stamps": _MAPPING,
    "headers": _MAPPING,
    "compression": _TEXT,
    QUEUE_HEADER: _TEXT,
    READY_AT_HEADER: _NUMBER,
    FAILED_AT_HEADER: _NUMBER,
    REPLAYS_HEADER: _WHOLE,
    UNKNOWN_HEADER: _WHOLE,
}
# A header becomes an attribute of ``task.request``: these would take the place of what is there.
_TAKEN: Final = frozenset(dir(Context)) - _TYPES.keys()
# A stamp becomes an option of the job's next publish, beside these.
_OPTIONS: Final = frozenset(
    {"queue", "exchange", "exchange_type", "routing_key", "priority", "delivery_mode", "task_id"}
    | {"serializer", "compression", "countdown", "group_id", "link", "link_error"}
    | {"time_limit", "soft_time_limit"}
)
_CONTAINERS: Final = frozenset({dict, list})

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 80


class _Refused(Exception):
    def __init__(self, kind: Kind, reason: str) -> None:
        super().__init__(reason)
        self.kind: Kind = kind


def examine(
    properties: Mapping[str, Any] | None,
    headers: object,
    body: bytes,
    *,
    tasks: Container[str],
    limits: Limits = Limits(),  # noqa: B008 (a constant)
) -> Verdict:
    """What is to become of a message. Pure, and whatever the message is, it raises nothing.

    Args:
        properties: as the AMQP client decoded them; None if it could not.
        headers: the same of the headers.
        body: as it came.
        tasks: the names of the tasks that this worker knows.
        limits: what a message may be at most.
    """
    try:
        if properties is None:
            raise _Refused("PropertiesUnreadable", "expected properties and headers of AMQP 0-9-1")
        if type(headers) is not dict or type(headers.get("task")) is not str:
            raise _Refused("NoTaskMessage", "expected a header 'task' with the name of a task")
        _check_headers(headers, limits)
        if (
            properties.get("content_type") != _CONTENT_TYPE
            or properties.get("content_encoding") not in _ENCODINGS
        ):
            raise _content(properties)
        if len(body) > limits.body_bytes:
            words = f"expected {limits.body_bytes} bytes at most, got: {len(body)}"
            raise _Refused("BodyTooLarge", words)
        if headers.get("compression"):
            body = _decompressed(body, headers["compression"], limits)
        args, kwargs, embed = _parts(body, limits)
        if headers["task"] in tasks:
            return Run(args, kwargs, embed, body)
        return _unknown(headers["task"], headers.get(UNKNOWN_HEADER) or 0, limits)
    except _Refused as refused:
        return Quarantine(refused.kind, str(refused))


def _unknown(name: str, count: int, limits: Limits) -> HandBack:
    """Again after 1, 2, 4 … seconds, as long as all of it together stays within the grace."""
    count = min(max(count, 0), 27)
    seconds = 2**count
    reason = f"this worker has no task {_shown(name)}"
    if 2 * seconds - 1 > limits.unknown_task_grace:
        raise _Refused("UnknownTask", f"{reason}, nor had any other for {seconds - 1} s")
    return HandBack(seconds, count + 1, reason)


# -- headers ---------------------------------------------------------------------------------


#: Shapes (names, and types of values) that have passed: nearly all jobs have one of a few. And
#: whether what is rare in jobs is absent from them.
_passed: Final[dict[tuple[Any, ...], bool]] = {}
_MOST_SHAPES: Final = 1024
_RARE: Final = ("eta", "expires", "parent_id", "group", "shadow", "stamped_headers")


def _check_headers(headers: dict[Any, Any], limits: Limits) -> None:
    shape = (*headers, *map(type, headers.values()))
    is_plain = _passed.get(shape)
    if is_plain is None:
        is_plain = _check_types(headers, limits, shape)
    get = headers.get
    task_id = get("id")
    if not (
        is_plain
        and task_id
        and len(task_id) <= _LONGEST_NAME
        and task_id.isascii()
        and task_id.isprintable()
        and get("root_id") == task_id
        and not get("retries")
        and get("timelimit") in _NO_LIMITS
        and not get("stamps")
        and -1e11 < (get(READY_AT_HEADER) or 0) < 1e11
    ):
        _check_values(headers, limits)


def _check_types(headers: dict[Any, Any], limits: Limits, shape: tuple[Any, ...]) -> bool:
    has_containers = False
    for name, value in headers.items():
        allowed = _TYPES.get(name)
        if allowed is None:
            has_containers |= type(value) in _CONTAINERS
            _check_foreign(name, value, limits)
        elif type(value) not in allowed:
            raise _header(name, value, _expected(allowed))
    rare = (*map(headers.get, _RARE), headers.get(FAILED_AT_HEADER))
    is_plain = all(value is None for value in rare)
    # What a container holds is no part of its shape.
    if not has_containers and len(_passed) < _MOST_SHAPES:
        _passed[shape] = is_plain
    return is_plain


def _check_values(headers: dict[str, Any], limits: Limits) -> None:
    task_id = headers.get("id")
    if not task_id or not _is_name(task_id):
        raise _header("id", task_id, f"printable text of 1 to {_LONGEST_NAME} bytes")
    retries = headers.get("retries")
    if retries and not 0 < retries < _MOST_RETRIES:
        raise _header("retries", retries, "a whole number from 0")
    limit = headers.get("timelimit")
    if limit:
        _check_limits(limit)
    for name in (READY_AT_HEADER, FAILED_AT_HEADER):
        moment = headers.get(name)
        # (Not a number is in no range.)
        if moment and not -1e11 < moment < 1e11:
            raise _header(name, moment, "seconds since 1970")
    for name in ("root_id", "parent_id", "group", "shadow"):
        given = headers.get(name)
        if given and given != task_id and not _is_name(given):
            raise _header(name, given, f"printable text of at most {_LONGEST_NAME} bytes")
    for name in ("eta", "expires"):
        given = headers.get(name)
        if given is not None and not _is_time(given):
            raise _header(name, given, "an ISO 8601 time")
    _check_stamps(headers, limits)


def _check_foreign(name: object, value: object, limits: Limits) -> None:
    """A header that is not the platform's nor Celery's: anything, but not in their place."""
    if type(name) is not str:
        raise _Refused("HeaderRefused", f"expected text as the name of a header: {_shown(name)}")
    if name in _TAKEN:
        raise _Refused("HeaderRefused", f"expected no header {name!r}: it is not for the wire")
    if type(value) in _CONTAINERS and _is_deep(value, limits.depth):
        raise _header(name, None, f"at most {limits.depth} levels")


def _check_limits(limit: list[Any]) -> None:
    fits = len(limit) == 2 and all(
        one is None or (type(one) in _NUMBER and 0 <= one <= _LONGEST_LIMIT) for one in limit
    )
    if not fits:
        raise _header("timelimit", limit, "two numbers of seconds or nulls")


def _check_stamps(headers: dict[str, Any], limits: Limits) -> None:
    stamped, stamps = headers.get("stamped_headers") or [], headers.get("stamps") or {}
    if not all(type(one) is str for one in stamped):
        raise _header("stamped_headers", stamped, "a list of texts")
    taken = _TYPES.keys() | _TAKEN | _OPTIONS
    wrong = [name for name in stamps if type(name) is not str or name in taken]
    if wrong or _is_deep(stamps, limits.depth):
        raise _header("stamps", wrong or None, "names that are no header or option of Celery's")


def _is_name(text: str) -> bool:
    """Whether a text can be logged, be a key of a result, and a short string of AMQP."""
    if not 0 < len(text) <= _LONGEST_NAME or not text.isprintable():
        return False
    return text.isascii() or len(text.encode()) <= _LONGEST_NAME


def _is_time(text: str) -> bool:
    """Whether both Python and Celery (dateutil) can read it, and convert it to any zone."""
    try:
        # At the ends of the calendar another zone may have no such time.
        return 1 < datetime.fromisoformat(text).year < 9999 and maybe_iso8601(text) is not None
    except (ValueError, OverflowError):
        return False


def _header(name: str, value: object, expected: str) -> _Refused:
    return _Refused(
        "HeaderRefused", f"expected the header {name!r} to be {expected}, got: {_shown(value)}"
    )


def _expected(allowed: frozenset[type]) -> str:
    words = {str: "text", int: "a whole number", float: "a number", dict: "a mapping"}
    words |= {list: "a list", bool: "true or false", _NONE: "null"}
    return " or ".join(words[one] for one in words if one in allowed)


def _shown(value: object) -> str:
    return _short.repr(value)


# -- the body --------------------------------------------------------------------------------


def _content(properties: Mapping[str, Any]) -> _Refused:
    kind, encoding = properties.get("content_type"), properties.get("content_encoding")
    expected = f"expected content of type {_CONTENT_TYPE!r} in 'utf-8'"
    return _Refused("ContentRefused", f"{expected}, got: {_shown(kind)} in {_shown(encoding)}")


def _decompressed(body: bytes, compression: str, limits: Limits) -> bytes:
    try:
        return decompress(body, compression, limits.body_bytes)
    except CompressionRefused as error:
        raise _Refused("ContentRefused", str(error)) from error


def _parts(body: bytes, limits: Limits) -> tuple[list[Any], dict[str, Any], dict[str, Any]]:
    try:
        # kombu's decoder builds an object for each message to bring back what is no plain value.
        decoded = (kombu_json.loads if _TYPED in body else json.loads)(body.decode())
    except Exception as error:
        # kombu's decoders of typed values raise whatever a wrong value makes them raise.
        words = f"expected JSON, got what cannot be decoded ({type(error).__name__})"
        raise _Refused("BodyUnreadable", words) from error
    if type(decoded) is not list or len(decoded) != 3:
        raise _Refused("BodyRefused", "expected a body of [args, kwargs, embed]")
    args, kwargs, embed = decoded
    if type(args) is not list or type(kwargs) is not dict:
        raise _Refused("BodyRefused", "expected args as a list and kwargs as a mapping")
    # Each level has two brackets at least.
    if (
        len(body) > 2 * limits.depth
        and body.count(b"[") + body.count(b"{") > limits.depth
        and _is_deep(decoded, limits.depth)
    ):
        raise _Refused("BodyRefused", f"expected at most {limits.depth} levels of nesting")
    if embed != _NOTHING_EMBEDDED:
        embed = {} if embed is None else embed
        _check_embedded(embed)
    return args, kwargs, embed


def _check_embedded(embed: Any) -> None:
    if type(embed) is not dict or not embed.keys() <= _NOTHING_EMBEDDED.keys():
        raise _Refused("BodyRefused", f"expected embed as a mapping of {', '.join(_EMBEDDED)}")
    for name in ("callbacks", "errbacks", "chain"):
        jobs = embed.get(name)
        if jobs is not None and (type(jobs) is not list or not all(map(_is_signature, jobs))):
            raise _Refused("BodyRefused", f"expected {name} to be a list of signatures")
    chord = embed.get("chord")
    if chord is not None and not _is_signature(chord):
        raise _Refused("BodyRefused", "expected chord to be a signature")


def _is_signature(job: Any) -> bool:
    return (
        type(job) is dict
        and type(job.get("task")) is str
        and type(job.get("args")) in _LIST
        and type(job.get("kwargs")) in _MAPPING
        and type(job.get("options")) in _MAPPING
        and type(job.get("subtask_type")) in _TEXT
    )


def _is_deep(value: Any, most: int) -> bool:
    """Whether lists and mappings are inside each other more than ``most`` times."""
    level = [value]
    for _ in range(most):
        inner: list[Any] = []
        for one in level:
            items = one.values() if type(one) is dict else one
            inner += [item for item in items if type(item) in _CONTAINERS]
        if not inner:
            return False
        level = inner
    return True
