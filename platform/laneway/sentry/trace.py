"""Which trace a job belongs to, by its message's headers alone.

A job goes on with the trace that its message carries. One without begins a trace of its own whose
id is the job's ``root_id``, so that all jobs of a workflow are in one trace, and whoever knows a
message's headers knows the trace, in any process and whether it was sampled or not.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from laneway.deadletter.letter import REPLAYS_HEADER
from laneway.publish.tracing import BAGGAGE, SENTRY_TRACE

if TYPE_CHECKING:
    from collections.abc import Mapping

#: The operations of spans, by which Sentry's Queues page finds them.
PUBLISH: Final = "queue.publish"
PROCESS: Final = "queue.process"

_TRACE: Final = re.compile(r"([0-9a-f]{32})-([0-9a-f]{16})(?:-([01]))?")
#: Characters of a baggage header that are handed on.
_LONGEST_BAGGAGE: Final = 8192


class Trace(NamedTuple):
    """The trace that a job belongs to."""

    trace_id: str
    #: The span that published the job; None if the job begins its trace.
    parent_span_id: str | None
    #: Whether whoever began the trace has sampled it; None if that was left to others.
    sampled: bool | None


def trace_of(headers: Mapping[str, Any]) -> Trace:
    """The trace of a job, by its message's headers, whatever these are."""
    if match := _carried(headers):
        return Trace(match[1], match[2], None if match[3] is None else match[3] == "1")
    return Trace(hex_of(str(headers.get("root_id") or headers.get("id"))), None, None)


def carried_trace_id(headers: Mapping[str, Any]) -> str | None:
    """The id of the trace that a message carries, whatever its headers are; None if none."""
    match = _carried(headers)
    return match[1] if match else None


def _carried(headers: Mapping[str, Any]) -> re.Match[str] | None:
    given = headers.get(SENTRY_TRACE)
    return _TRACE.fullmatch(given) if isinstance(given, str) else None


def hex_of(job_id: str) -> str:
    """What Sentry calls a job: its id's own 32 digits if it is a UUID, else as many of its hash.

    So are called the trace that the jobs of one root begin, and the check-in of a job.
    """
    try:
        return uuid.UUID(job_id).hex
    except ValueError:
        return hashlib.blake2b(job_id.encode("utf-8", "replace"), digest_size=16).hexdigest()


def span_id_of(headers: Mapping[str, Any]) -> str:
    """The id of the span of one run of a job: of this replay, attempt and delivery."""
    run = [headers.get(name) for name in ("id", "retries", "x-delivery-count", REPLAYS_HEADER)]
    return hashlib.blake2b(repr(run).encode(), digest_size=8).hexdigest()


def handed_on(headers: Mapping[str, Any]) -> dict[str, str]:
    """The headers by which the trace goes on as it came; empty if it came without one."""
    match, baggage = _carried(headers), headers.get(BAGGAGE)
    if match is None:
        return {}
    trace = match[0]
    if isinstance(baggage, str) and len(baggage) <= _LONGEST_BAGGAGE:
        return {SENTRY_TRACE: trace, BAGGAGE: baggage}
    return {SENTRY_TRACE: trace}
