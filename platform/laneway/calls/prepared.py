"""A call prepared: all of a job's message that does not change from one job to the next.

The message is Celery's own, protocol 2, header by header; ``tests/integration/test_prepared.py``
compares the two for every option. Here it is written in pieces, and a job adds only what is its
own: ids, arguments and times.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from celery.utils.nodenames import anon_nodename

from laneway.after_fork import start_afresh_in_child
from laneway.publish import arguments, frames
from laneway.settings import DELIVERY_MODE
from laneway.topology import JOBS_EXCHANGE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from laneway.broker import VhostKind
    from laneway.policy.router import Decision

#: Message header: seconds since 1970 when the job could start (published, or the end of its delay).
READY_AT_HEADER: Final = "laneway_ready_at"
#: Message header: the queue that the router chose; a delayed message's routing key hides it.
QUEUE_HEADER: Final = "laneway_queue"
#: Message header of a retry: seconds since 1970 when the job failed first.
FAILED_AT_HEADER: Final = "laneway_failed_at"

Value = TypeVar("Value")

_text_head = struct.Struct(">cI").pack
_double = struct.Struct(">cd").pack
_timestamp = struct.Struct(">Q").pack
_length = struct.Struct(">I").pack


class PreparedCall:
    """What the jobs of one task to one destination have in common.

    Args:
        decision: where they go and how urgent they are.
        vhost: the virtual host of their queue.
        shadow: another name of the task, for people.
        time_limit: seconds, or None.
        soft_time_limit: seconds, or None.
        ignore_result: as the call or the task says.
        text_lengths: characters of the texts of positional and of keyword arguments.
        text_levels: how deep these texts go.
        max_bytes: the largest body.
    """

    __slots__ = (
        "_after_group",
        "_after_id",
        "_after_root",
        "_before_args",
        "_before_root",
        "_ending",
        "_ends",
        "_lengths",
        "_levels",
        "_method",
        "_no_group",
        "_priority",
        "_start",
        "decision",
        "ignore_result",
        "max_bytes",
        "vhost",
    )  # fmt: skip

    def __init__(
        self,
        *,
        decision: Decision,
        vhost: VhostKind,
        shadow: str | None,
        time_limit: float | None,
        soft_time_limit: float | None,
        ignore_result: Any,
        text_lengths: tuple[int, int],
        text_levels: int,
        max_bytes: int,
    ) -> None:
        self.decision = decision
        self.vhost = vhost
        self.ignore_result = ignore_result
        self.max_bytes = max_bytes
        self._lengths, self._levels = text_lengths, text_levels
        self._method = frames.publish_method(JOBS_EXCHANGE, decision.queue)
        items = frames.table_items
        # In Celery's order: a message reads the same whoever wrote it.
        self._start = items({"lang": "py", "task": decision.task}) + _key("id")
        self._after_id = items({"shadow": shadow, "eta": None, "expires": None})
        self._no_group = items({"group": None, "group_index": None})
        self._after_group = items(
            {"retries": 0, "timelimit": [time_limit, soft_time_limit]}
        ) + _key("root_id")
        self._after_root = _key("parent_id")
        self._ending = items(
            {
                "origin": anon_nodename(),
                "ignore_result": ignore_result,
                "replaced_task_nesting": 0,
                "stamped_headers": None,
                "stamps": {},
                QUEUE_HEADER: decision.queue,
            }
        ) + _key(READY_AT_HEADER)
        # The same, joined as far as a job without group and parent allows it.
        self._before_root = self._after_id + self._no_group + self._after_group
        self._before_args = self._after_root + b"V" + _ARGSREPR
        head = struct.pack(">H", frames.PROPERTY_FLAGS)
        self._ends = head + _short(arguments.CONTENT_TYPE) + _short(arguments.CONTENT_ENCODING)
        self._priority = bytes((DELIVERY_MODE, decision.priority))

    def write(
        self,
        task_id: str,
        args: list[Any] | tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        root_id: str,
        parent_id: str | None,
        reply_to: str,
        ready_at: float,
        group: tuple[str | None, int | None] = (None, None),
        more: Mapping[str, str] | None = None,
    ) -> frames.Publish:
        """The message of one job; ``more`` are further headers.

        Raises:
            ArgumentsNotSerializable: JSON cannot carry the arguments.
            MessageTooLarge: the body is larger than the limit.
        """
        body = arguments.body(args, kwargs)
        if len(body) > self.max_bytes:
            arguments.check_size(len(body), self.max_bytes)
        longest, longest_keyword = self._lengths
        table = b"".join(
            (
                self._start,
                _text(task_id),
                self._after_id,
                self._no_group
                if group == (None, None)
                else frames.table_items({"group": group[0], "group_index": group[1]}),
                self._after_group,
                _text(root_id),
                self._after_root,
                b"V" if parent_id is None else _text(parent_id),
                _ARGSREPR,
                _text(arguments.short_text(args, longest, self._levels)),
                _KWARGSREPR,
                _text(arguments.short_text(kwargs, longest_keyword, self._levels)),
                self._ending,
                _double(b"d", ready_at),
                frames.table_items(more) if more else b"",
            )
        )
        return self._publish(table, body, task_id, reply_to, ready_at)

    def write_plain(
        self,
        task_id: str,
        args: list[Any] | tuple[Any, ...],
        kwargs: dict[str, Any],
        reply_to: str,
        ready_at: float,
        more: Mapping[str, str] | None = None,
    ) -> frames.Publish:
        """What :meth:`write` gives for a job that stands alone, and raises."""
        longest, longest_keyword = self._lengths
        body, shown = arguments.body_and_text(args, kwargs, longest, self._levels)
        if len(body) > self.max_bytes:
            arguments.check_size(len(body), self.max_bytes)
        text = _text(task_id)
        table = b"".join(
            (
                self._start,
                text,
                self._before_root,
                text,
                self._before_args,
                _text(shown),
                _KWARGSREPR,
                _text(arguments.short_text(kwargs, longest_keyword, self._levels))
                if kwargs
                else _NO_KEYWORDS,
                self._ending,
                _double(b"d", ready_at),
                frames.table_items(more) if more else b"",
            )
        )
        return self._publish(table, body, task_id, reply_to, ready_at)

    def told(self, task_id: str) -> dict[str, Any]:
        """The fields of a fact about the first attempt of a job."""
        decision = self.decision
        return {
            "task": decision.task,
            "task_id": task_id,
            "attempt": 1,
            "queue": decision.queue,
            "priority": decision.priority,
        }

    def _publish(
        self, table: bytes, body: bytes, task_id: str, reply_to: str, ready_at: float
    ) -> frames.Publish:
        properties = b"".join(
            (
                self._ends,
                _length(len(table)),
                table,
                self._priority,
                _short(task_id),
                _short(reply_to),
                _timestamp(int(ready_at)),
            )
        )
        return frames.Publish(self._method, properties, body)


class Kept(Generic[Value]):
    """What was prepared for the calls of an application, by their shape, in this process.

    Names and options come from callers, so there is a bound; a forked child begins anew, because
    the process is named in each message.
    """

    _KEPT: Final = 4096

    def __init__(self) -> None:
        self.start_afresh()
        start_afresh_in_child(self)

    def start_afresh(self) -> None:
        """Keep nothing of the parent's."""
        self._calls: dict[Any, Value] = {}

    def get(self, shape: Any) -> Value | None:
        """What was kept for calls of this shape."""
        return self._calls.get(shape)

    def keep(self, shape: Any, call: Value) -> None:
        """Keep it for the next call of this shape."""
        if len(self._calls) >= self._KEPT:
            self._calls.clear()
        self._calls[shape] = call


def _key(name: str) -> bytes:
    return bytes((len(name),)) + name.encode()


def _short(text: str) -> bytes:
    data = text.encode("utf-8", "surrogatepass")
    return bytes((len(data),)) + data


def _text(text: str) -> bytes:
    data = text.encode("utf-8", "surrogatepass")
    return _text_head(b"S", len(data)) + data


_ARGSREPR: Final = _key("argsrepr")
_KWARGSREPR: Final = _key("kwargsrepr")
_NO_KEYWORDS: Final = _text("{}")
