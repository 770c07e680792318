"""A letter as the bytes that stand in the stream, and back.

The body of the stream's message holds everything, because a stream drops headers that are tables
or lists. It is JSON, so that it can be read without Laneway; the original's bytes are in base64.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import asdict, fields
from typing import Any, Final, get_args

from laneway.deadletter.letter import Letter, Original, Outcome

#: The version that is written. A reader takes every version up to its own.
VERSION: Final = 1
#: The content type of an envelope.
CONTENT_TYPE: Final = "application/vnd.laneway.letter+json"

_KNOWN: Final = frozenset(field.name for field in fields(Letter))
_REQUIRED: Final = ("id", "queue", "outcome", "cause", "at", "by")
_OUTCOMES: Final = get_args(Outcome)


class EnvelopeUnreadable(ValueError):
    """These bytes are no envelope, or one of a newer version."""


def encode(letter: Letter) -> bytes:
    """The envelope of a letter; its texts are bounded."""
    document = {
        name: value
        for name, value in asdict(letter.bounded()).items()
        if value is not None and name != "original"
    }
    if letter.original is not None:
        original = letter.original
        document["original"] = {
            "exchange": original.exchange,
            "routing_key": original.routing_key,
            "properties": base64.b64encode(original.properties).decode(),
            "body": base64.b64encode(original.body).decode(),
        }
    return json.dumps({"v": VERSION, **document}, separators=(",", ":")).encode()


def decode(envelope: bytes) -> Letter:
    """The letter of an envelope; what a newer version added to it is left out.

    Raises:
        EnvelopeUnreadable: it is none.
    """
    document = document_of(envelope)
    document["original"] = _original(document.get("original"))
    del document["v"]
    if not document.keys() <= _KNOWN:
        document = {name: value for name, value in document.items() if name in _KNOWN}
    try:
        return Letter(**document)
    except TypeError as error:
        raise EnvelopeUnreadable(f"expected the fields of a letter: {error}") from error


def document_of(envelope: bytes) -> dict[str, Any]:
    """The fields of an envelope, the original's bytes still in base64: enough for an index.

    Raises:
        EnvelopeUnreadable: it is none.
    """
    try:
        # As text: then nobody looks first whether it is UTF-16.
        document = json.loads(str(envelope, "utf-8"))
    except (ValueError, RecursionError) as error:
        raise EnvelopeUnreadable(f"expected JSON: {error}") from error
    if not isinstance(document, dict) or not isinstance(document.get("v"), int):
        raise EnvelopeUnreadable("expected a JSON object with its version in 'v'")
    if document["v"] > VERSION:
        raise EnvelopeUnreadable(
            f"expected version {VERSION} or older, got: {document['v']}. Use a newer Laneway."
        )
    missing = [name for name in _REQUIRED if name not in document]
    if missing:
        raise EnvelopeUnreadable(f"expected also: {', '.join(missing)}")
    if document["outcome"] not in _OUTCOMES:
        raise EnvelopeUnreadable(f"expected a known outcome, got: {document['outcome']!r}")
    return document


def _original(given: Any) -> Original | None:
    if given is None:
        return None
    try:
        return Original(
            exchange=given["exchange"],
            routing_key=given["routing_key"],
            properties=base64.b64decode(given["properties"], validate=True),
            body=base64.b64decode(given["body"], validate=True),
        )
    except (TypeError, KeyError, binascii.Error) as error:
        raise EnvelopeUnreadable(f"expected the original message: {error!r}") from error
