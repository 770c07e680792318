"""Which jobs a message is about: its own, and those that it carries for later."""

from __future__ import annotations

import base64
import json
import re
from typing import Any, Final

#: What a message that is no job says, so that it can be found again.
MALFORMED: Final = "this is no job: {}"
_MALFORMED: Final = re.compile(rb"this is no job: (\d+)")


def numbers(body: bytes) -> set[int]:
    """The numbers of the jobs in a body: of Celery's protocol, of dramatiq, of a dead letter."""
    if found := _MALFORMED.search(body):
        return {int(found[1])}
    try:
        document = json.loads(body)
    except ValueError:
        return set()
    match document:
        case {"original": {"body": str(original)}}:
            return numbers(base64.b64decode(original))
        case {"args": _, "message_id": _}:
            return _of_dramatiq(document)
        case [args, _, {"chain": later}]:
            return _first(args) | _of_chain(later)
        case [args, _, _]:
            return _first(args)
    return set()


def _of_chain(steps: Any) -> set[int]:
    """Of signatures, which may hold others."""
    if not isinstance(steps, list):
        return set()
    found: set[int] = set()
    for step in steps:
        found |= _first(step.get("args")) | _of_chain((step.get("options") or {}).get("chain"))
    return found


def _of_dramatiq(message: Any) -> set[int]:
    later = (message.get("options") or {}).get("pipe_target")
    return _first(message["args"]) | (_of_dramatiq(later) if later else set())


def _first(args: Any) -> set[int]:
    return {args[0]} if isinstance(args, list) and args and isinstance(args[0], int) else set()
