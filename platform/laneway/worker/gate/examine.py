"""From a message to a verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from laneway.worker.gate.body import check_content, decompressed, parts
from laneway.worker.gate.headers import UNKNOWN_HEADER, check_headers
from laneway.worker.gate.limits import Limits
from laneway.worker.gate.verdict import HandBack, Quarantine, Refused, Run, shown

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from laneway.worker.gate.verdict import Verdict


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
            raise Refused("PropertiesUnreadable", "expected properties and headers of AMQP 0-9-1")
        if type(headers) is not dict or type(headers.get("task")) is not str:
            raise Refused("NoTaskMessage", "expected a header 'task' with the name of a task")
        check_headers(headers, limits)
        check_content(properties)
        if len(body) > limits.body_bytes:
            words = f"expected {limits.body_bytes} bytes at most, got: {len(body)}"
            raise Refused("BodyTooLarge", words)
        if headers.get("compression"):
            body = decompressed(body, headers["compression"], limits)
        args, kwargs, embed = parts(body, limits)
        if headers["task"] in tasks:
            return Run(args, kwargs, embed, body)
        return _unknown(headers["task"], headers.get(UNKNOWN_HEADER) or 0, limits)
    except Refused as refused:
        return Quarantine(refused.kind, str(refused))


def _unknown(name: str, count: int, limits: Limits) -> HandBack:
    """Again after 1, 2, 4 … seconds, as long as all of it together stays within the grace."""
    count = min(max(count, 0), 27)
    seconds = 2**count
    reason = f"this worker has no task {shown(name)}"
    if 2 * seconds - 1 > limits.unknown_task_grace:
        raise Refused("UnknownTask", f"{reason}, nor had any other for {seconds - 1} s")
    return HandBack(seconds, count + 1, reason)
