"""The headers of a job: their names, their types and their values."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from celery.app.task import Context
from celery.utils.time import maybe_iso8601

from laneway.calls.prepared import FAILED_AT_HEADER, QUEUE_HEADER, READY_AT_HEADER
from laneway.deadletter.letter import REPLAYS_HEADER
from laneway.worker.gate.json_types import CONTAINERS, LIST, MAPPING, NONE, NUMBER, TEXT, WHOLE
from laneway.worker.gate.limits import is_deep
from laneway.worker.gate.verdict import Refused, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from laneway.worker.gate.limits import Limits

#: Header that counts how often a job was handed back because its task was unknown.
UNKNOWN_HEADER: Final = "laneway_unknown"

_LONGEST_NAME: Final = 255
_MOST_RETRIES: Final = 2**31
_LONGEST_LIMIT: Final = 10 * 365 * 86_400
_NO_LIMITS: Final[tuple[list[None] | None, ...]] = (None, [None, None], [])


#: The types that the headers of a job may have.
_TYPES: Final[Mapping[str, frozenset[type]]] = {
    "lang": TEXT,
    "task": frozenset({str}),
    "id": frozenset({str}),
    "shadow": TEXT,
    "eta": TEXT,
    "expires": TEXT,
    "group": TEXT,
    "group_index": WHOLE,
    "retries": WHOLE,
    "timelimit": LIST,
    "root_id": TEXT,
    "parent_id": TEXT,
    "argsrepr": TEXT,
    "kwargsrepr": TEXT,
    "origin": TEXT,
    "ignore_result": frozenset({bool, int, NONE}),
    "replaced_task_nesting": WHOLE,
    "stamped_headers": LIST,
    "stamps": MAPPING,
    "headers": MAPPING,
    "compression": TEXT,
    QUEUE_HEADER: TEXT,
    READY_AT_HEADER: NUMBER,
    FAILED_AT_HEADER: NUMBER,
    REPLAYS_HEADER: WHOLE,
    UNKNOWN_HEADER: WHOLE,
}
# A header becomes an attribute of ``task.request``: these would take the place of what is there.
_TAKEN: Final = frozenset(dir(Context)) - _TYPES.keys()
# A stamp becomes an option of the job's next publish, beside these.
_OPTIONS: Final = frozenset(
    {"queue", "exchange", "exchange_type", "routing_key", "priority", "delivery_mode", "task_id"}
    | {"serializer", "compression", "countdown", "group_id", "link", "link_error"}
    | {"time_limit", "soft_time_limit"}
)

#: Shapes (names, and types of values) that have passed: nearly all jobs have one of a few. And
#: whether what is rare in jobs is absent from them.
_passed: Final[dict[tuple[Any, ...], bool]] = {}
_MOST_SHAPES: Final = 1024
_RARE: Final = ("eta", "expires", "parent_id", "group", "shadow", "stamped_headers")


def check_headers(headers: dict[Any, Any], limits: Limits) -> None:
    """Refuse names, types and values that Celery, a pool or a result backend would trip over."""
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
            has_containers |= type(value) in CONTAINERS
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
        raise Refused("HeaderRefused", f"expected text as the name of a header: {shown(name)}")
    if name in _TAKEN:
        raise Refused("HeaderRefused", f"expected no header {name!r}: it is not for the wire")
    if type(value) in CONTAINERS and is_deep(value, limits.depth):
        raise _header(name, None, f"at most {limits.depth} levels")


def _check_limits(limit: list[Any]) -> None:
    fits = len(limit) == 2 and all(
        one is None or (type(one) in NUMBER and 0 <= one <= _LONGEST_LIMIT) for one in limit
    )
    if not fits:
        raise _header("timelimit", limit, "two numbers of seconds or nulls")


def _check_stamps(headers: dict[str, Any], limits: Limits) -> None:
    stamped, stamps = headers.get("stamped_headers") or [], headers.get("stamps") or {}
    if not all(type(one) is str for one in stamped):
        raise _header("stamped_headers", stamped, "a list of texts")
    taken = _TYPES.keys() | _TAKEN | _OPTIONS
    wrong = [name for name in stamps if type(name) is not str or name in taken]
    if wrong or is_deep(stamps, limits.depth):
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


def _header(name: str, value: object, expected: str) -> Refused:
    return Refused(
        "HeaderRefused", f"expected the header {name!r} to be {expected}, got: {shown(value)}"
    )


def _expected(allowed: frozenset[type]) -> str:
    words = {str: "text", int: "a whole number", float: "a number", dict: "a mapping"}
    words |= {list: "a list", bool: "true or false", NONE: "null"}
    return " or ".join(words[one] for one in words if one in allowed)
