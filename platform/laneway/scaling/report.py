"""What a worker reports of itself every few seconds, as one small message.

Counts are totals since the worker began, so a report that is lost loses nothing: the next one says
it too. It holds counts and names, nothing of any job.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Final

from laneway.types import short_text

#: Bytes of a report that are read; one is about half a KiB.
_LONGEST: Final = 4096
#: More than any of its numbers can be.
_TOO_MUCH: Final = 2.0**53
_MOST_BUCKETS: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The load of one worker, which is a group of processes with one name."""

    #: The queue that it serves.
    queue: str
    #: Its name.
    worker: str
    #: Another one for each start, for a container's name and process id are the same again.
    run: str
    #: Seconds since it began.
    up: float
    #: Seconds until its next report.
    every: float
    #: Jobs that it runs at a time at most.
    concurrency: int
    #: How many consumers the broker has of it now; 0 while it is paused.
    consumers: int
    #: Jobs that run now.
    busy: int
    #: Seconds that these have run so far, together.
    running_for: float
    #: Jobs whose code ended, and the seconds that it ran, together.
    ended: int
    runtime: float
    #: Jobs that began after a wait that is known, and these waits in seconds, together.
    started: int
    wait: float
    #: The same by the upper bound of their wait in seconds (the last: None), where there are any.
    waits: tuple[tuple[float | None, int], ...]
    #: Whether it takes no jobs any more: what it runs it will finish or hand back.
    leaving: bool

    def encode(self) -> bytes:
        """As it is sent."""
        return json.dumps(asdict(self), separators=(",", ":")).encode()


def read_report(body: bytes) -> Report | None:
    """A report as it came; None if it is none. Whoever may publish may send anything."""
    if len(body) > _LONGEST:
        return None
    try:
        said = json.loads(body)
        waits = tuple((_bound(bound), _count(count)) for bound, count in said["waits"])
        report = Report(
            queue=_name(said["queue"]),
            worker=_name(said["worker"]),
            run=_name(said["run"]),
            up=_seconds(said["up"]),
            every=_seconds(said["every"]),
            concurrency=_count(said["concurrency"]),
            consumers=_count(said["consumers"]),
            busy=_count(said["busy"]),
            running_for=_seconds(said["running_for"]),
            ended=_count(said["ended"]),
            runtime=_seconds(said["runtime"]),
            started=_count(said["started"]),
            wait=_seconds(said["wait"]),
            waits=waits,
            leaving=said["leaving"] is True,
        )
    except (ValueError, TypeError, LookupError, RecursionError):
        return None
    return report if len(waits) <= _MOST_BUCKETS else None


def _name(value: Any) -> str:
    name = short_text(value)
    if name is None:
        raise ValueError("a name")
    return name


def _seconds(value: Any) -> float:
    # (No number is below and not above: that of JSON's NaN too.)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _TOO_MUCH:
        raise ValueError("seconds")
    return float(value)


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < _TOO_MUCH:
        raise ValueError("a count")
    return value


def _bound(value: Any) -> float | None:
    return None if value is None else _seconds(value)
