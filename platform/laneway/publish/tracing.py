"""The seam for tracing: who follows a publish, and the headers by which a trace goes on.

Publishing knows no tracing library. Whoever follows publishes (:mod:`laneway.sentry.spans`) sets
``app.tracer``; while it is None a publish costs one look at that attribute. Jobs of a secure queue
are never followed, and what a library that wraps Celery put into their headers is taken out: it
tells a reader of the broker which request of which release made the job.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

#: The headers of Sentry's trace.
SENTRY_TRACE: Final = "sentry-trace"
BAGGAGE: Final = "baggage"

_TELLING: Final = frozenset({BAGGAGE, "traceparent", "tracestate", "b3"})
_TELLING_BEGINS: Final = ("sentry-", "x-datadog-", "x-b3-")
_NOBODY: Final = contextlib.nullcontext()


class Followed(Protocol):
    """One publish that a tracer follows."""

    #: What its message carries, so that the trace goes on in the worker.
    headers: Mapping[str, str]

    def end(self, size: int, error: BaseException | None = None) -> None:
        """The broker, or whoever takes the call, has the job; or it was refused.

        Args:
            size: bytes of the message's body, uncompressed.
            error: why it was refused.
        """


class Tracer(Protocol):
    """Follows publishes."""

    def follow(
        self, task: str, task_id: str, queue: str, *, retries: int = 0, parent: Any = None
    ) -> Followed | None:
        """Begin to follow a publish; None if nothing is to be traced. Never raises.

        Args:
            task: the task's name.
            task_id: the job's id.
            queue: where it goes; never a secure one.
            retries: runs of the job before the one that is published.
            parent: the task whose job publishes it, if any.
        """


def to_its_end(
    followed: Followed | None, size: Callable[[], int]
) -> contextlib.AbstractContextManager[None]:
    """Follow a publish to its end; where nobody follows it costs next to nothing.

    Args:
        followed: it; None if nobody follows.
        size: asked at the end for the bytes of the body.
    """
    return _NOBODY if followed is None else _to_its_end(followed, size)


@contextlib.contextmanager
def _to_its_end(followed: Followed, size: Callable[[], int]) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        followed.end(size(), error)
        raise
    followed.end(size())


def without_traces(headers: Mapping[str, Any]) -> dict[str, Any]:
    """Headers without what traces, at both places where libraries that wrap Celery put it."""
    kept = {key: value for key, value in headers.items() if not _tells(key)}
    if isinstance(inner := kept.get("headers"), dict):
        kept["headers"] = {key: value for key, value in inner.items() if not _tells(key)}
    return kept


def _tells(name: object) -> bool:
    if not isinstance(name, str):
        return False
    return name.lower() in _TELLING or name.lower().startswith(_TELLING_BEGINS)
